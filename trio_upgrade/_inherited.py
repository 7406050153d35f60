"""Listening sockets that another process has opened: by their number, or in systemd's way."""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from collections.abc import MutableMapping

import trio

__all__ = ["inherited_listener", "systemd_descriptors"]

FIRST = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def systemd_descriptors(environ: MutableMapping[str, str]) -> range:
    """The descriptors that systemd has passed to this process; none where it was not activated by a socket.

    They are meant for this process alone: as by sd_listen_fds(3), the variables are removed.
    """
    values = [environ.get(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")]
    if not all(value.isdecimal() for value in values) or int(values[0]) != os.getpid():
        return range(0)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    return range(FIRST, FIRST + int(values[1]))


def inherited_listener(descriptor: int) -> trio.SocketListener:
    """A listener on a socket that listens already. It owns the descriptor, which processes started here do not inherit.

    Raises:
      OSError: there is no such descriptor, or it is no listening stream socket.
    """
    socket = stdlib_socket.socket(fileno=descriptor)
    socket.set_inheritable(False)
    try:
        return trio.SocketListener(trio.socket.from_stdlib_socket(socket))
    except ValueError as exc:
        socket.close()
        raise OSError(errno.EINVAL, "It is not a listening stream socket") from exc
