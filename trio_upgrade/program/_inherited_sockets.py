"""Listening sockets that another process has opened: named by their number, or passed by systemd."""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from collections.abc import MutableMapping

import trio

__all__ = ["inherited_listener", "systemd_descriptors"]

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def systemd_descriptors(environ: MutableMapping[str, str]) -> range:
    """Return the descriptors that systemd has passed to this process: an empty range if it has passed no socket.

    They are meant for this process alone. So the variables are removed, as sd_listen_fds(3) does.
    """
    values = [environ.get(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")]
    if not all(value.isdecimal() for value in values) or int(values[0]) != os.getpid():
        return range(0)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    return range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(values[1]))


def inherited_listener(descriptor: int) -> trio.SocketListener:
    """Return a listener on a socket that is listening already.

    The listener owns the descriptor. Processes that are started from here do not inherit it.

    Raises:
      OSError: there is no such descriptor, or it is not a listening stream socket.
    """
    socket = stdlib_socket.socket(fileno=descriptor)
    socket.set_inheritable(False)
    try:
        return trio.SocketListener(trio.socket.from_stdlib_socket(socket))
    except ValueError as exc:
        socket.close()
        raise OSError(errno.EINVAL, "It is not a listening stream socket") from exc
