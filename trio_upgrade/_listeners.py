"""Taking connections from listeners, in batches, and opening a Unix one, which trio does not."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket as stdlib_socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import trio
from trio.lowlevel import checkpoint

from ._socket_transport import SocketTransport, has_options, set_options

__all__ = ["Take", "accept_from", "open_tcp_listeners", "open_unix_listener"]

Take: TypeAlias = Callable[[trio.abc.Stream], None]

logger = logging.getLogger("trio_upgrade")

BATCH = 64  # connections taken in one go; then the others get a turn

# accept fails with these when a limit of the system is hit: wait until something is given back
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
PATIENCE = 0.1  # seconds

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
    """Take connections from a listener until `until` is cancelled; then those still queued; close it.

    Args:
      take: called with each connection's stream; must not block or raise.

    Raises:
      OSError: the listener failed. Running out of descriptors or memory is waited out instead.
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
        for _ in range(0xFFFF):  # as many as a queue can hold; later comers are not waited for
            if not _has_queued(listener):
                break
            # Another process that listens here may be faster.
            with exhausted, trio.move_on_after(PATIENCE):
                await accept()
            await exhausted.wait()


class _Exhausted:
    """Catches that the system has run out of what a new connection needs, and says so once."""

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
        """Give somebody time to give something back, if that is needed."""
        if self._now:
            await trio.sleep(PATIENCE)


def _accepting(listener: trio.abc.Listener[Any], take: Take) -> Callable[[], Awaitable[None]]:
    """What takes at least one connection: from a plain socket, all that are there, up to a batch."""
    if isinstance(listener, trio.SocketListener):
        return _Queue(listener.socket, take).accept

    async def accept() -> None:
        take(await listener.accept())

    return accept


class _Queue:
    """The connections that are queued on a listening socket.

    Most systems give a connection the options that its listener had when it was queued; then it
    saves two system calls to set them there. Those that had been queued before are out once the
    queue was empty, and the next one shows whether the system does so.
    """

    def __init__(self, socket: trio.socket.SocketType, take: Take) -> None:
        self._socket = socket
        self._take = take
        self._was_empty = False
        self._inherits = False
        set_options(socket)

    async def accept(self) -> None:
        # The descriptor in a second object, since trio's own accepts one by one, each with a checkpoint.
        # It never closes it, and is used only while trio's is open.
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
                if not self._inherits:
                    self._inherits = self._was_empty and has_options(connection)
                    set_options(connection)
                self._take(SocketTransport(connection, address))
        except BlockingIOError:
            self._was_empty = True


def _has_queued(listener: trio.abc.Listener[Any]) -> bool:
    below = getattr(listener, "transport_listener", listener)
    return isinstance(below, trio.SocketListener) and below.socket.is_readable()


async def open_tcp_listeners(port: int, host: str | bytes | None, backlog: int | None) -> list[trio.SocketListener]:
    """Like trio's; says which address an error is about, and refuses ports that the system would wrap around.

    Raises:
      OSError: the port is taken, or the address is not this machine's.
      ValueError: no port has this number.
    """
    if isinstance(port, int) and not 0 <= port <= 65535:
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
    """Listen at `path`; afterwards remove the socket file, unless it is another server's by now.

    Raises:
      OSError: a live server listens there (EADDRINUSE), or something that is no socket is there
        (EEXIST).
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
        raise OSError(errno.EEXIST, "there is a file that is no socket", path)
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as probe:
        try:
            await probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:
            pass  # a full queue, say: somebody is there
    raise OSError(errno.EADDRINUSE, "another server is listening there", path)
