"""Whether a silent peer is still there (RFC 6455 section 5.5.2). It knows times, and nothing of I/O."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ._options import Options

__all__ = ["Pings"]

Due: TypeAlias = Literal["ping", "listen", "drop"] | None


class Pings:
    """Says when to ping a peer, and when to take it for gone."""

    __slots__ = ("_ping_at", "_pong_by")

    def __init__(self) -> None:
        self._ping_at = math.inf
        self._pong_by = math.inf

    def due(self, now: float, was_heard: bool, options: Options) -> Due:
        """Return what to do now; to be asked once a tick.

        A look may come a tick late. So what is due in less than a tick is due now.

        "listen" comes before "drop": it lets somebody read until the next look. Where the whole program was held up
        for longer than the timeout, the peer's answer has arrived, but nobody has had a turn to read it.

        Args:
          now: the time, in seconds.
          was_heard: something has come from the peer since the last look.
          options: the interval and the timeout.
        """
        interval, timeout, tick = options.ping_interval, options.ping_timeout, options.tick
        if interval is None:
            return None
        if was_heard:
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
