"""The states of a TLS connection, and what follows what."""

from __future__ import annotations

from enum import Enum

__all__ = ["BROKEN", "CLOSED", "ENDED", "HANDSHAKE", "OPEN", "Tls", "follow"]


class Tls(Enum):
    """How far a connection is, and so what can be done with it."""

    HANDSHAKE = "HANDSHAKE"  # nothing can be sent or received yet
    OPEN = "OPEN"  # data can be sent and received
    ENDED = "ENDED"  # data can be received; our close_notify was encrypted
    BROKEN = "BROKEN"  # the peer broke TLS, or its end came without close_notify
    CLOSED = "CLOSED"  # it is closed, or is being closed


HANDSHAKE, OPEN, ENDED, BROKEN, CLOSED = Tls

# What may follow what.
NEXT: dict[Tls, tuple[Tls, ...]] = {
    HANDSHAKE: (OPEN, BROKEN, CLOSED),
    OPEN: (ENDED, BROKEN, CLOSED),
    ENDED: (BROKEN, CLOSED),
    BROKEN: (CLOSED,),
    CLOSED: (),
}


def follow(before: Tls, after: Tls) -> Tls:
    """The state `after`, if it may follow `before`."""
    if after not in NEXT[before]:
        raise AssertionError(f"{before.name} cannot become {after.name}")
    return after
