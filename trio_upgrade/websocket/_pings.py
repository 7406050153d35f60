"""Whether a silent peer is still there (RFC 6455 section 5.5.2). Times only: no I/O here."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ._options import Options

__all__ = ["Pings"]

Due: TypeAlias = Literal["ping", "listen", "drop"] | None


class Pings:
    """Says when a peer is to be pinged, and when it is gone.

    Attributes:
      heard: something has come since the last look.
    """

    __slots__ = ("_options", "_ping_at", "_pong_by", "heard")

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ping_at = math.inf
        self._pong_by = math.inf
        self.heard = True

    def due(self, now: float) -> Due:
        """What is due at `now`, looked at once a tick: so it is due a tick early rather than late.

        "listen" comes before "drop": let somebody read until the next look. Where the whole program was
        held up for longer than the timeout, the answer has arrived, and nobody has had a turn to read it.
        """
        interval, timeout, tick = self._options.ping_interval, self._options.ping_timeout, self._options.tick
        if interval is None:
            return None
        if self.heard:
            self.heard = False
            self._ping_at = now + interval - tick
            self._pong_by = math.inf
        elif now >= self._pong_by > -math.inf:
            self._pong_by = -math.inf
            return "listen"
        elif now >= self._pong_by:
            return "drop"
        elif now >= self._ping_at:
            self._ping_at = math.inf
            if timeout is not None:
                self._pong_by = now + timeout - 2 * tick
            return "ping"
        return None
