"""The states of a socket's connection: our side, the peer's, and why a task that waits was woken."""

from __future__ import annotations

from enum import Enum

__all__ = ["CLOSED", "ENDED", "EVICTION", "INTERRUPT", "OPEN", "Ours", "Theirs", "Wake"]


class Ours(Enum):
    """Our side of the connection."""

    OPEN = "OPEN"
    ENDED = "ENDED"  # we have sent our end of data, and may still receive
    CLOSED = "CLOSED"


OPEN, ENDED, CLOSED = Ours  # as names of the module: Python 3.11 looks an enum's member up ten times as slowly


class Theirs(Enum):
    """The peer's side of the connection, as far as the kernel has told us."""

    OPEN = "OPEN"
    ENDED = "ENDED"  # the peer has sent its end of data
    BROKEN = "BROKEN"  # the connection is reset or lost: there is nobody to linger for


class Wake(Enum):
    """Why `notify_closing` has woken a task that waits on the socket, although the socket is still open."""

    INTERRUPT = "INTERRUPT"  # the receive raises WouldBlock, if no bytes have arrived
    EVICTION = "EVICTION"  # the task has to leave, as if the socket was closed


INTERRUPT, EVICTION = Wake
