"""The tasks that all WebSockets of a serving share.

Four times a second, one looks at each of them: it sends the pings that are due, drops the peers that are gone, and sees
to those that no handler attends to. Another closes them when the server shuts down. A task or a timer for each
WebSocket would cost more memory than all the rest of an idle connection.
"""

from __future__ import annotations

import math

import trio

from .._exceptions import log_bug
from .._shutdown import Shutdown
from ._unattended import Attendant

__all__ = ["Keepalive"]


class Keepalive:
    """Looks after WebSockets, through their attendants, while `run` runs.

    Args:
      shutdown: the server's. Once it has begun, each of them is closed when its options say.
    """

    def __init__(self, shutdown: Shutdown) -> None:
        self._attendants: set[Attendant] = set()
        self._shutdown = shutdown
        self._tick = math.inf  # the shortest of theirs
        self._pause = trio.CancelScope()  # until the next look
        self._until_due = trio.CancelScope()  # until the next of them is to be closed, in a shutdown
        self._added = trio.Event()

    def add(self, attendant: Attendant) -> None:
        """Look after one more."""
        self._attendants.add(attendant)
        self._added.set()
        if attendant.tick < self._tick:
            self._tick = attendant.tick
            self._pause.deadline = min(self._pause.deadline, trio.current_time() + self._tick)
        if self._shutdown.has_begun:
            due = attendant.close_for_shutdown(self._shutdown, trio.current_time())
            self._until_due.deadline = min(self._until_due.deadline, due)

    def discard(self, attendant: Attendant) -> None:
        """Look after this one no longer."""
        self._attendants.discard(attendant)

    async def run(self) -> None:
        """Look after them until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_in_shutdown)
            await self._keep_looking()

    async def _close_in_shutdown(self) -> None:
        await self._shutdown.begun.wait()
        while True:
            with trio.CancelScope(deadline=self._close_those_due()) as self._until_due:
                await self._shutdown.wait_shortened()

    def _close_those_due(self) -> float:
        """Close those whose time has come in the shutdown; return when the next of them is due."""
        now, next_due = trio.current_time(), math.inf
        for attendant in list(self._attendants):
            try:
                next_due = min(next_due, attendant.close_for_shutdown(self._shutdown, now))
            except Exception:
                self._attendants.discard(attendant)
                log_bug("closing %r for the shutdown failed inside the server", attendant)
        return next_due

    async def _keep_looking(self) -> None:
        while True:
            if not self._attendants:
                self._added = trio.Event()
                await self._added.wait()
            with trio.CancelScope(deadline=trio.current_time() + self._tick) as self._pause:
                await trio.sleep_forever()
            self._look(trio.current_time())

    def _look(self, now: float) -> None:
        """Look at each of them once, and find out how soon to look again."""
        self._tick = math.inf
        for attendant in list(self._attendants):
            try:
                self._tick = min(self._tick, attendant.tick)
                attendant.look(now)
            except Exception:
                self._attendants.discard(attendant)
                log_bug("keeping %r alive failed inside the server", attendant)
