"""The states of a request's body: how much has arrived, and whether the handler may read it."""

from __future__ import annotations

from enum import Enum

__all__ = ["ARRIVING", "BROKEN", "CLOSED", "DISCARDED", "ENDED", "OPEN", "Access", "Stage"]


class Stage(Enum):
    """How much of a body has arrived."""

    ARRIVING = "ARRIVING"
    ENDED = "ENDED"  # all of it was read, or there is no body
    BROKEN = "BROKEN"  # it is malformed, cut off, too large or too late: nothing after it can be trusted


ARRIVING, ENDED, BROKEN = Stage


class Access(Enum):
    """Whether the handler may read the body; if not, what it is told."""

    OPEN = "the handler may read it"
    DISCARDED = "the body was discarded when the upgraded stream was first read"
    CLOSED = "this body was already closed"


OPEN, DISCARDED, CLOSED = Access
