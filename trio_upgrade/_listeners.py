"""Listeners: opening them, and accepting connections from them, in batches."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket as stdlib_socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import trio
from trio.lowlevel import checkpoint

from ._socket_options import set_options
from ._socket_transport import SocketTransport

__all__ = ["Take", "accept_from", "open_tcp_listeners", "open_unix_listener"]

Take: TypeAlias = Callable[[trio.abc.Stream], None]

logger = logging.getLogger("trio_upgrade")

BATCH = 64  # connections taken in one go; then the others get a turn

# accept fails with these when a limit of the system is hit: wait until something is given back
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
PATIENCE = 0.1  # seconds

# An accepted connection has the options that its listener had when the connection was queued. That saves two
# system calls for each. The tests show that Linux does it; other systems are not relied on.
INHERITS_OPTIONS = sys.platform == "linux"

# accept fails with these when the connection it would have given is gone already; the list is
# longest on Linux, which hands over any error of the new socket (accept(2), "Error handling")
GONE = {
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENONET"),
        *("ENOPROTOOPT", "ENOSR", "EOPNOTSUPP", "EPERM", "EPROTO", "ESOCKTNOSUPPORT", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
}


async def accept_from(listener: trio.abc.Listener[Any], take: Take, until: trio.CancelScope) -> None:
    """Accept connections until `until` is cancelled. Then accept those that are queued, and close the listener.

    Args:
      take: is called with the stream of each connection. It must not block or raise.

    Raises:
      OSError: the listener failed. If only descriptors or memory ran out, accepting is tried again instead.
      trio.ClosedResourceError: another task closed the listener.
    """
    exhausted = _Exhausted()
    async with listener:
        accept = _accepting(listener, take)
        with until:
            while True:
                with exhausted:
                    await accept()
                await exhausted.wait()
        for _ in range(0xFFFF):  # a queue cannot hold more, and connections that come later are not waited for
            if not _has_queued(listener):
                break
            # Another process that listens here may be faster.
            with exhausted, trio.move_on_after(PATIENCE):
                await accept()
            await exhausted.wait()


class _Exhausted:
    """Catches the errors of `accept` that pass, and logs once that the system has run out of something."""

    def __init__(self) -> None:
        self._now = False
        self._said = False

    def __enter__(self) -> None:
        self._now = False

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        if isinstance(exc, OSError):
            self._now = exc.errno in EXHAUSTED
            if self._now and not self._said:
                logger.error("cannot accept connections: %s; trying again until it works", exc.strerror)
                self._said = True
            return self._now or exc.errno in GONE
        self._said = self._said and exc is not None
        return False

    async def wait(self) -> None:
        """If the system has run out of something, wait a moment: other connections may give it back."""
        if self._now:
            await trio.sleep(PATIENCE)


def _accepting(listener: trio.abc.Listener[Any], take: Take) -> Callable[[], Awaitable[None]]:
    """A function that accepts at least one connection; from a socket, all that are queued, up to a batch."""
    if isinstance(listener, trio.SocketListener):
        return _Queue(listener.socket, take).accept

    async def accept() -> None:
        take(await listener.accept())

    return accept


class _Queue:
    """The connections that are queued on a listening socket."""

    def __init__(self, socket: trio.socket.SocketType, take: Take) -> None:
        self._socket = socket
        self._take = take
        self._was_empty = False  # since the options were set: before, connections may be queued without them
        set_options(socket)

    async def accept(self) -> None:
        # trio's own object accepts one connection at a time, each with a checkpoint. So the descriptor is used
        # through a second object, which never closes it, while trio's is open.
        socket = self._socket
        if socket.fileno() == -1:
            raise trio.ClosedResourceError("the listener is closed")
        alias = stdlib_socket.socket(socket.family, socket.type, socket.proto, fileno=socket.fileno())
        try:
            alias.setblocking(False)
            await trio.lowlevel.wait_readable(alias)
            if socket.fileno() == -1:
                raise trio.ClosedResourceError("the listener was closed by another task")
            self._accept_batch(alias)
        finally:
            alias.detach()

    def _accept_batch(self, socket: stdlib_socket.socket) -> None:
        try:
            for _ in range(BATCH):
                connection, address = socket.accept()
                if not (INHERITS_OPTIONS and self._was_empty):
                    set_options(connection)
                self._take(SocketTransport(connection, address))
        except BlockingIOError:
            self._was_empty = True


def _has_queued(listener: trio.abc.Listener[Any]) -> bool:
    below = getattr(listener, "transport_listener", listener)
    return isinstance(below, trio.SocketListener) and below.socket.is_readable()


async def open_tcp_listeners(port: int, host: str | bytes | None, backlog: int | None) -> list[trio.SocketListener]:
    """Like `trio.open_tcp_listeners`, but an error names its address, and the port must be valid.

    Raises:
      OSError: the port is taken, or the address is not this machine's.
      TypeError: the port is not an int.
      ValueError: the port is not from 0 to 65535.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"a port is an int, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as exc:
        exc.add_note(f"(while opening port {port} of {'every address' if host is None else repr(host)} to listen)")
        raise


@contextlib.asynccontextmanager
async def open_unix_listener(
    path: str | os.PathLike[str], mode: int | None, backlog: int | None
) -> AsyncIterator[trio.SocketListener]:
    """Listen at `path`; afterwards remove the socket file, unless another server has replaced it.

    Raises:
      OSError: another server listens there (EADDRINUSE), or the file there is not a socket (EEXIST).
    """
    path = os.fspath(path)
    await _remove_stale(path)
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    with socket:
        await socket.bind(path)
        mine = os.stat(path)
        try:
            if mode is not None:
                os.chmod(path, mode)  # nobody can connect before `listen`
            socket.listen(min(0xFFFF if backlog is None else backlog, 0xFFFF))
            yield trio.SocketListener(socket)
        finally:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), mine):
                    os.unlink(path)


async def _remove_stale(path: str) -> None:
    """Remove the file of a server that ended without doing so."""
    await checkpoint()
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise OSError(errno.EEXIST, "the file there is not a socket", path)
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as probe:
        try:
            await probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:
            pass  # a full queue, say: a server is there
    raise OSError(errno.EADDRINUSE, "another server is listening there", path)
