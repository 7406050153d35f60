"""The one task that all WebSockets of a serving share.

Four times a second it looks at each of them: it sends the pings that are due, drops the peers that are gone, and sees
to those that no handler attends to. A task or a timer for each would cost more memory than all the rest of an idle
connection.
"""

from __future__ import annotations

import math

import trio

from .._exceptions import log_bug
from ._unattended import Attendant

__all__ = ["Keepalive"]


class Keepalive:
    """Looks after WebSockets, through their attendants, while `run` runs.

    Args:
      shutting_down: set when the server begins to shut down: then they are all closed.
    """

    def __init__(self, shutting_down: trio.Event) -> None:
        self._attendants: set[Attendant] = set()
        self._shutting_down = shutting_down
        self._tick = math.inf  # the shortest of theirs
        self._pause = trio.CancelScope()
        self._added = trio.Event()

    def add(self, attendant: Attendant) -> None:
        """Look after one more."""
        self._attendants.add(attendant)
        self._added.set()
        if attendant.tick < self._tick:
            self._tick = attendant.tick
            self._pause.deadline = min(self._pause.deadline, trio.current_time() + self._tick)
        if self._shutting_down.is_set():
            attendant.close_for_shutdown()

    def discard(self, attendant: Attendant) -> None:
        """Look after this one no longer."""
        self._attendants.discard(attendant)

    async def run(self) -> None:
        """Look after them until cancelled."""
        await self._look_until(self._shutting_down)
        for attendant in self._attendants:
            attendant.close_for_shutdown()
        await self._look_until(trio.Event())

    async def _look_until(self, end: trio.Event) -> None:
        while True:
            if not self._attendants:
                self._added = trio.Event()
                await self._added.wait()
            with trio.CancelScope(deadline=trio.current_time() + self._tick) as self._pause:
                return await end.wait()
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
