"""What is asked of a connected socket besides moving bytes: its options, and how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import socket as stdlib_socket
import struct
import sys
import termios

from ._peer_state import AnySocket

__all__ = ["acknowledge_now", "end_both_ways", "reset_on_close", "set_options"]

# A client that has closed, and not only half-closed, answers a keep-alive probe with a reset once its own system has
# forgotten the connection: on Linux after 60 seconds. So the probes begin then.
TCP_OPTIONS = [
    (getattr(stdlib_socket, name), value)
    for name, value in [("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)]
    if hasattr(stdlib_socket, name)
]

QUICK_ACK = getattr(stdlib_socket, "TCP_QUICKACK", None)  # Linux

RESETS = struct.pack("ii", 1, 0)  # as SO_LINGER: a close resets the connection


def set_options(socket: AnySocket) -> None:
    """On TCP, send small messages at once, and find out when a peer has vanished, or has closed long ago."""
    with contextlib.suppress(OSError):
        socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE, 1)
        for option, value in TCP_OPTIONS:
            socket.setsockopt(stdlib_socket.IPPROTO_TCP, option, value)


def acknowledge_now(socket: AnySocket) -> None:
    """On TCP, acknowledge what has arrived, and do not wait for bytes that the acknowledgement could go out with.

    A client with Nagle's algorithm sends nothing more before that, and Linux may take 40 ms. Elsewhere it does nothing.
    """
    if QUICK_ACK is not None:
        with contextlib.suppress(OSError):
            socket.setsockopt(stdlib_socket.IPPROTO_TCP, QUICK_ACK, 1)


def end_both_ways(socket: AnySocket) -> None:
    """Tell the peer our end, before a close that it may not notice: a forked child may have the socket, too.

    If there is data that nobody has received, the close itself tells it, by a reset; an end before that would hide
    the reset from the peer. The same if whoever uses the socket has asked for a reset, by SO_LINGER.
    """
    with contextlib.suppress(OSError, ValueError):  # it is closed already
        if socket.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, len(RESETS)) == RESETS:
            return
        if not int.from_bytes(fcntl.ioctl(socket.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder):
            socket.shutdown(stdlib_socket.SHUT_RDWR)


def reset_on_close(socket: AnySocket) -> None:
    """On TCP, let `close` reset the connection. A `shutdown` before it would make an ordinary end of that."""
    with contextlib.suppress(OSError):
        socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, RESETS)
