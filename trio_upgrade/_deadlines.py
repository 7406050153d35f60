"""The waits for a request's head, timed by one task for all connections.

A cancel scope for each wait would cost every small request. So a connection only notes when
its wait ends, and one task of the serving looks at those notes when the earliest of them is due.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

__all__ = ["Deadlines"]

GRAIN = 0.1  # seconds that a wait may be late: so the notes are looked at ten times a second at most


class Waiter(Protocol):
    """Something that waits until its `deadline`, a time of `trio.current_time`."""

    deadline: float

    def expire(self) -> None:
        """End the wait, now that its deadline has passed. Must not block."""
        ...


class Deadlines:
    """Expires the waiters whose deadline has passed, while `run` runs."""

    def __init__(self) -> None:
        self.waiters: set[Waiter] = set()
        self._wakeup = math.inf
        self._scope = trio.CancelScope()

    def note(self, waiter: Waiter, deadline: float) -> None:
        """Let `waiter` wait until `deadline`; math.inf means that it does not wait."""
        waiter.deadline = deadline
        if deadline < self._wakeup:
            self._wakeup = self._scope.deadline = deadline

    async def run(self) -> None:
        """Expire waiters until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._wakeup) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            for waiter in [waiter for waiter in self.waiters if waiter.deadline <= now]:
                waiter.deadline = math.inf
                waiter.expire()
            earliest = min((waiter.deadline for waiter in self.waiters), default=math.inf)
            self._wakeup = max(earliest, now + GRAIN)
