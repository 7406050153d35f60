"""Numbered events for all who follow them; for trio and for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from ..answers import event

__all__ = ["Events"]


class Event(Protocol):
    """`trio.Event` or `asyncio.Event`."""

    def set(self) -> None: ...

    async def wait(self) -> Any: ...


class Events:
    """The events.

    Args:
      make: `trio.Event` or `asyncio.Event`.
    """

    def __init__(self, make: Callable[[], Event]) -> None:
        self._make = make
        self._number = 0
        self._audience = object()  # of those who have begun to follow since the last end
        self._changed = make()

    def tell_next(self) -> None:
        """Make the next event."""
        self._number += 1
        self._wake()

    def end(self) -> None:
        """End every stream."""
        self._audience = object()
        self._wake()

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """The last event, and each that comes."""
        audience, seen = self._audience, -1
        while self._audience is audience:
            if seen == self._number:
                await self._changed.wait()
            else:
                seen = self._number
                yield event(seen)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = self._make()
