"""How long a peer may take to read what was sent to it: the arithmetic, without I/O.

A peer that reads slowly looks like one that has vanished. Three facts decide.

- While the peer's host has not acknowledged everything, it is alive as long as it acknowledges something
  now and then. A steady reader of 20 KB a second makes its host acknowledge nothing for up to 29 seconds,
  and then a lot at once.
- Once everything is acknowledged, nothing shows how much of it the peer has read: its host may hold
  megabytes. So whoever waits for the peer's next word gives it extra time for what it may still have to
  read, at `FLOOR_RATE`.
- No time is given for ever: the extra time is at most `MOST_EXTRA`.
"""

from __future__ import annotations

__all__ = [
    "FLOOR_RATE",
    "LEAST_SEND_TIMEOUT",
    "LINGERING_SEND_TIMEOUT",
    "MOST_EXTRA",
    "Patience",
    "Progress",
    "extra_time",
]

FLOOR_RATE = 16 * 1024  # bytes a second: who reads more slowly may be taken for gone
MOST_EXTRA = 300.0  # seconds
LEAST_SEND_TIMEOUT = 30.0  # seconds: less would drop readers that are slow and steady
LINGERING_SEND_TIMEOUT = 60.0  # seconds, where there is no send timeout


def extra_time(unheard: int) -> float:
    """The seconds that a peer gets to read `unheard` bytes: those sent since it was last heard."""
    return min(unheard / FLOOR_RATE, MOST_EXTRA)


class Progress:
    """Whether the peer's host still acknowledges what was sent.

    Args:
      timeout: so many seconds may pass in which it acknowledges nothing; at least `LEAST_SEND_TIMEOUT`.
      unacknowledged: how many bytes it has not acknowledged; None if nobody knows.
      now: the time, in seconds.
    """

    __slots__ = ("_since", "_timeout", "_unacknowledged")

    def __init__(self, timeout: float, unacknowledged: int | None, now: float) -> None:
        self._timeout = timeout if unacknowledged is None else max(timeout, LEAST_SEND_TIMEOUT)
        self._unacknowledged = unacknowledged
        self._since = now

    @property
    def deadline(self) -> float:
        """When the time is up, if nothing more is acknowledged."""
        return self._since + self._timeout

    def has_stalled(self, unacknowledged: int | None, now: float) -> bool:
        """Whether nothing was acknowledged for as long as is allowed."""
        if unacknowledged is not None and self._unacknowledged is not None:
            if unacknowledged < self._unacknowledged:
                self._since = now
            self._unacknowledged = unacknowledged
        return now >= self.deadline


class Patience:
    """Whether to go on waiting for the peer's next word: its end of the connection, or a pong.

    Args:
      timeout: seconds that it gets once it has read everything.
      send_timeout: see `Progress`; None for 60 seconds.
      unheard: how many bytes were sent since the peer was last heard.
      unacknowledged: how many bytes its host has not acknowledged; None if nobody knows.
      now: the time, in seconds.
    """

    __slots__ = ("_deadline", "_extra", "_progress", "_timeout")

    def __init__(
        self, timeout: float, send_timeout: float | None, unheard: int, unacknowledged: int | None, now: float
    ) -> None:
        self._timeout = timeout
        self._extra = extra_time(unheard)
        self._progress = Progress(send_timeout or LINGERING_SEND_TIMEOUT, unacknowledged, now)
        self._deadline: float | None = None  # once everything is acknowledged
        if not unacknowledged:
            self._deadline = now + timeout + self._extra

    @property
    def deadline(self) -> float:
        """When the time is up, as far as is known now."""
        return self._progress.deadline if self._deadline is None else self._deadline

    def is_over(self, unacknowledged: int | None, now: float) -> bool:
        """Whether the peer has had its time."""
        if self._deadline is None and not unacknowledged:
            self._deadline = now + self._timeout + self._extra
        if self._deadline is None:
            return self._progress.has_stalled(unacknowledged, now)
        return now >= self._deadline
