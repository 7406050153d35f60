"""What clients do wrong that no handler hears of: a line for each at DEBUG, but not too many in a flood."""

from __future__ import annotations

import logging

import trio

__all__ = ["ClientFailures"]

logger = logging.getLogger("trio_upgrade")

LINES = 100  # in each period
PERIOD = 60.0  # seconds


class ClientFailures:
    """The log of the failures of one serving's clients."""

    __slots__ = ("_end", "_left_out", "_lines")

    def __init__(self) -> None:
        self._end = 0.0  # of the period, in `trio.current_time`
        self._lines = 0  # that were logged in it
        self._left_out = 0

    def log(self, who: object, what: object) -> None:
        """Log a failure, unless there were many already in this minute.

        Args:
          who: the request, or the name of the peer.
          what: a text, or the error. Neither is kept, as a handler of logs may keep what it gets.
        """
        if not logger.isEnabledFor(logging.DEBUG):
            return
        now = trio.current_time()
        if now >= self._end:
            if self._left_out:
                logger.debug("%d more failures of clients were not logged", self._left_out)
            self._end = now + PERIOD
            self._lines = self._left_out = 0
        if self._lines < LINES:
            self._lines += 1
            logger.debug("%s: %s", str(who), str(what))
        else:
            self._left_out += 1
