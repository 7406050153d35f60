"""The room for a server's connections: who gets in, whose idle connection makes room, and who is refused."""

from __future__ import annotations

import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

import trio

from ._head_timeout import HeadWait

__all__ = ["Capacity", "Newcomer"]

logger = logging.getLogger("trio_upgrade")

AT_ONCE = 64  # connections over the limit may wait for a place at once, and as many may get their 503
IDLE = 1.0  # seconds without a request, after which a connection may be closed to make room
LOOK = 0.1  # seconds from one look at all connections to the next: where there are many, it takes milliseconds
PATIENCE = 1.0  # seconds that an idle connection may take to close
PERIOD = 60.0  # seconds between two warnings


class Place(Enum):
    """What has become of a connection that waits for a place."""

    WAITED_FOR = "WAITED_FOR"
    PROMISED = "PROMISED"  # an idle connection was told to close
    GRANTED = "GRANTED"
    REFUSED = "REFUSED"


WAITED_FOR, PROMISED, GRANTED, REFUSED = Place


class Newcomer:
    """A connection that waits for a place."""

    __slots__ = ("decided", "place")

    def __init__(self) -> None:
        self.place = WAITED_FOR
        self.decided = trio.Event()

    def decide(self, place: Place) -> None:
        self.place = place
        self.decided.set()


class Capacity:
    """The room for the connections of one server.

    Args:
      limit: how many may be open at once; None for any number.
      waits: gives the waits of its connections for a request.
    """

    def __init__(self, limit: int | None, waits: Callable[[], Iterable[HeadWait]]) -> None:
        self._limit = limit
        self._waits = waits
        self._taken = 0
        self._newcomers: deque[Newcomer] = deque()
        self._next_look = -math.inf  # in `trio.current_time`
        self._found_all = True  # the last look has found as many idle connections as it looked for
        self._turned_away = 0
        self._is_reporting = False
        self._refused = 0  # since the last warning

    # ---- who gets in

    def admit(self) -> bool:
        """Count one more connection, if there is room for it."""
        if self._limit is not None and self._taken >= self._limit:
            return False
        self._taken += 1
        return True

    def release(self) -> None:
        """Count one connection less: it is over. Who waits longest gets its place."""
        if self._newcomers:
            self._newcomers.popleft().decide(GRANTED)
        else:
            self._taken -= 1

    def queue(self) -> Newcomer | None:
        """Let one more connection wait for the place of an idle one; None if there is no hope. Call `wait` then."""
        if not (self._found_all or self._may_look()) or len(self._newcomers) >= AT_ONCE:
            return None
        newcomer = Newcomer()
        self._newcomers.append(newcomer)
        return newcomer

    async def wait(self, newcomer: Newcomer) -> bool:
        """Wait until an idle connection has made room; False if none does. If it is cancelled, the place is free."""
        try:
            with trio.move_on_after(PATIENCE):
                while not newcomer.decided.is_set():
                    if self._may_look():
                        self._close_idle()
                    with trio.move_on_at(self._next_look):
                        await newcomer.decided.wait()
        except BaseException:
            if newcomer.place is GRANTED:
                self.release()
            raise
        finally:
            if not newcomer.decided.is_set():
                self._newcomers.remove(newcomer)
        return newcomer.place is GRANTED

    def _may_look(self) -> bool:
        return not 0 < self._next_look - trio.current_time() <= LOOK  # another `trio.run` has another clock

    def _close_idle(self) -> None:
        """Close idle connections, those that are idle for longest first, for the newcomers; refuse those left over."""
        now = trio.current_time()
        self._next_look = now + LOOK
        wanting = [newcomer for newcomer in self._newcomers if newcomer.place is WAITED_FOR]
        idle = (wait for wait in self._waits() if now - wait.idle_since >= IDLE)
        found = heapq.nsmallest(len(wanting), idle, key=lambda wait: wait.idle_since)
        self._found_all = len(found) == len(wanting)
        for newcomer, wait in zip(wanting, found, strict=False):
            newcomer.place = PROMISED
            wait.interrupt()
        for newcomer in wanting[len(found) :]:
            self._newcomers.remove(newcomer)
            newcomer.decide(REFUSED)

    # ---- who is refused

    def start_turning_away(self) -> bool:
        """Whether one more connection can be told that there is no room for it."""
        if self._turned_away >= AT_ONCE:
            return False
        self._turned_away += 1
        return True

    def finish_turning_away(self) -> None:
        """Call this once it was told."""
        self._turned_away -= 1

    def count_refusal(self) -> bool:
        """Count a connection that is refused. If it returns True, start `report`."""
        self._refused += 1
        is_first, self._is_reporting = not self._is_reporting, True
        return is_first

    async def report(self) -> None:
        """Warn that connections are refused; then each minute of how many, until there are no more."""
        logger.warning("%d connections are open, as many as max_connections allows; more are refused", self._limit)
        try:
            while True:
                self._refused = 0
                await trio.sleep(PERIOD)
                if not self._refused:
                    return
                logger.warning(
                    "%d more connections were refused in the last minute: max_connections allows %d",
                    self._refused,
                    self._limit,
                )
        finally:
            self._is_reporting = False
