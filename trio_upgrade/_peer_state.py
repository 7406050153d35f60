"""What the kernel knows of a peer, asked without reading from its socket.

A read would take bytes that are somebody else's. `SO_ERROR`, or a read that fails, would clear the error:
whoever reads next would take a reset for an ordinary end.
"""

from __future__ import annotations

import select
import socket as stdlib_socket
import sys
from enum import Enum

import trio

__all__ = ["END_OR_RESET", "RESET_ONLY", "AnySocket", "Peer", "peer_state", "state_of_events", "unacknowledged"]

AnySocket = stdlib_socket.socket | trio.socket.SocketType

RESET_ONLY = 0  # events to ask `poll` for; it always reports an error and a hang-up
END_OR_RESET = getattr(select, "POLLRDHUP", 0)  # Linux; elsewhere an end is not seen


class Peer(Enum):
    """Whether the peer is still there."""

    HERE = "as far as the kernel knows, it still sends and receives"
    ENDED = "it has ended its side: it has closed, or only half-closed (RFC 9112 section 9.6)"
    GONE = "it has reset the connection, or it cannot receive any more"
    UNKNOWN = "there is no socket to ask"


def peer_state(socket: AnySocket, we_ended: bool) -> Peer:
    """Ask the kernel about a peer.

    An end is seen once everything before it has arrived. If more bytes are unread than the kernel holds for
    a connection, the end is not seen.

    Args:
      socket: of the connection.
      we_ended: we have sent our own end of data.
    """
    poll = select.poll()
    poll.register(socket.fileno(), END_OR_RESET)
    events = poll.poll(0)
    return state_of_events(events[0][1], we_ended) if events else Peer.HERE


def state_of_events(events: int, we_ended: bool) -> Peer:
    """What the events that `poll` reports say."""
    if events & (select.POLLERR | select.POLLNVAL):
        return Peer.GONE
    if events & select.POLLHUP:  # both sides have ended; or a Unix socket's peer has closed
        return Peer.ENDED if we_ended else Peer.GONE
    return Peer.ENDED if events & END_OR_RESET else Peer.HERE


if sys.platform == "linux":
    import fcntl
    import struct
    import termios

    def unacknowledged(socket: AnySocket) -> int | None:
        """How many of the bytes that were sent the peer's host has not acknowledged; None if nobody knows.

        Of a Unix socket it is the memory of what the peer has not read.
        """
        try:
            answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return None
        size: int = struct.unpack("i", answer)[0]
        return size

else:

    def unacknowledged(socket: AnySocket) -> int | None:
        """How many of the bytes that were sent the peer's host has not acknowledged: not known here."""
        return None
