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

    @property
    def pace(self) -> float:
        """At least once in so many seconds."""
        ...

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
        self._pace = math.inf
        self._pause = trio.CancelScope()
        self._added = trio.Event()

    def add(self, member: Member) -> None:
        """Look after `member` from now on."""
        self.members.add(member)
        self._added.set()
        if member.pace < self._pace:
            self._pace = member.pace
            self._pause.deadline = min(self._pause.deadline, trio.current_time() + self._pace)
        if self._server.shutting_down.is_set():
            member.go_away()

    async def run(self) -> None:
        """Look after the members until cancelled."""
        told = False
        while True:
            if not self.members:
                self._added = trio.Event()
                await self._added.wait()
            if told:
                await trio.sleep(self._pace)
            else:
                told = await self._sleep_until_shutdown()
            self._look(trio.current_time())

    async def _sleep_until_shutdown(self) -> bool:
        """Sleep for a while; a shutdown that begins meanwhile is told to the members at once."""
        with self._server.cancel_on_shutdown() as self._pause:
            self._pause.deadline = trio.current_time() + self._pace
            await trio.sleep_forever()
        if not self._server.shutting_down.is_set():
            return False
        for member in self.members:
            member.go_away()
        return True

    def _look(self, now: float) -> None:
        """Look at each member once, and find out how soon again."""
        self._pace = math.inf
        for member in list(self.members):
            try:
                self._pace = min(self._pace, member.pace)
                member.tick(now)
            except Exception:
                self.members.discard(member)
                logger.exception("keeping %r alive failed inside the server; please report this", member)


_keepalives: WeakKeyDictionary[trio.Nursery, Keepalive] = WeakKeyDictionary()


def keepalive_of(server: Server, nursery: trio.Nursery) -> Keepalive:
    """The one of the serving that `nursery` belongs to."""
    keepalive = _keepalives.get(nursery)
    if keepalive is None:
        keepalive = _keepalives[nursery] = Keepalive(server)
        nursery.start_soon(keepalive.run)
    return keepalive
