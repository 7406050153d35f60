"""How many connections a server may have open, and how many it tells that there are too many."""

from __future__ import annotations

import logging

__all__ = ["Capacity"]

logger = logging.getLogger("trio_upgrade")

TURNED_AWAY = 64  # connections at once that get a 503; more are closed without a word


class Capacity:
    """The room for the connections of one server.

    Args:
      limit: how many may be open at once; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        self._turned_away = 0
        self._was_full = False

    def admit(self) -> bool:
        """Count one more connection, if there is room for it. It logs each time that the server becomes full."""
        full = self._limit is not None and self._taken >= self._limit
        if full and not self._was_full:
            logger.warning("%d connections are open, as many as max_connections allows; more are refused", self._limit)
        self._was_full = full
        self._taken += not full
        return not full

    def release(self) -> None:
        """Count one connection less: it is over."""
        self._taken -= 1

    def start_turning_away(self) -> bool:
        """Whether one more connection can be told that there is no room for it."""
        if self._turned_away >= TURNED_AWAY:
            return False
        self._turned_away += 1
        return True

    def finish_turning_away(self) -> None:
        """Call this once it was told."""
        self._turned_away -= 1
