"""The one task that all WebSockets of a serving share.

Four times a second it looks at each of them: sends the pings that are due, drops the peers that
are gone, and sees to those that no handler attends to. A task or a timer for each would cost more
memory than all the rest of an idle connection.
"""

from __future__ import annotations

import logging
import math
from typing import Protocol
from weakref import WeakKeyDictionary

import trio

from .._server import Server

__all__ = ["Keepalive", "keepalive_of"]

logger = logging.getLogger("trio_upgrade")


class Member(Protocol):
    """What is looked at."""

    def tick(self, now: float) -> None:
        """Do what is due at `now`, a time of `trio.current_time`. Must not block."""
        ...

    def go_away(self) -> None:
        """Begin to close, as the server shuts down. Must not block."""
        ...


class Keepalive:
    """Looks after its `members`, while `run` runs."""

    def __init__(self, server: Server) -> None:
        self.members: set[Member] = set()
        self._server = server
        self._tick = math.inf
        self._added = trio.Event()

    def add(self, member: Member, tick: float) -> None:
        """Look after `member` from now on, at least every `tick` seconds."""
        self._tick = min(self._tick, tick)
        self.members.add(member)
        self._added.set()
        if self._server.shutting_down.is_set():
            member.go_away()

    async def run(self) -> None:
        """Look after the members until cancelled."""
        while True:
            if not self.members:
                self._added = trio.Event()
                await self._added.wait()
            await self._pause()
            now = trio.current_time()
            for member in list(self.members):
                try:
                    member.tick(now)
                except Exception:
                    self.members.discard(member)
                    logger.exception("keeping %r alive failed inside the server; please report this", member)

    async def _pause(self) -> None:
        """Sleep for a tick; a shutdown that begins meanwhile is told to the members at once."""
        if self._server.shutting_down.is_set():
            return await trio.sleep(self._tick)
        with self._server.cancel_on_shutdown():
            return await trio.sleep(self._tick)
        for member in list(self.members):
            member.go_away()


_keepalives: WeakKeyDictionary[trio.Nursery, Keepalive] = WeakKeyDictionary()


def keepalive_of(server: Server, nursery: trio.Nursery) -> Keepalive:
    """The one of the serving that `nursery` belongs to."""
    keepalive = _keepalives.get(nursery)
    if keepalive is None:
        keepalive = _keepalives[nursery] = Keepalive(server)
        nursery.start_soon(keepalive.run)
    return keepalive
