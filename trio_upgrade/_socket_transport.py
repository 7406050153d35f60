"""A socket as the transport of a connection: every socket call that moves bytes is made here.

It knows nothing of TLS or HTTP.
"""

from __future__ import annotations

import contextlib
import math
import operator
import socket as stdlib_socket
from collections.abc import Iterator
from typing import Any, TypeAlias

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
    wait_writable,
)

from ._exceptions import ConnectionBroken

__all__ = [
    "RECEIVE_SIZE",
    "Buffer",
    "SocketTransport",
    "deadline_in",
    "has_options",
    "patience",
    "quiet",
    "set_options",
]

RECEIVE_SIZE = 96 * 1024  # a frame of 64 KiB in one call, and less than malloc would have to map

Buffer: TypeAlias = bytes | bytearray | memoryview


@contextlib.contextmanager
def patience(transport: object, timeout: float | None) -> Iterator[None]:
    """Give the peer `timeout` seconds to take the next bytes of what is sent inside."""
    with trio.CancelScope(deadline=deadline_in(timeout)) as scope:
        yield
    if scope.cancelled_caught:
        raise ConnectionBroken(f"the peer took no byte of what we sent for {timeout} seconds", transport)


def deadline_in(timeout: float | None) -> float:
    return math.inf if timeout is None else trio.current_time() + timeout


def set_options(socket: stdlib_socket.socket | trio.socket.SocketType) -> None:
    """Send small messages at once, and find out about vanished peers; on TCP, that is."""
    with contextlib.suppress(OSError):
        socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE, 1)
        socket.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)


def has_options(socket: stdlib_socket.socket) -> bool:
    """Whether a connection has those options already."""
    with contextlib.suppress(OSError):
        keeps_alive = socket.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE)
        return bool(keeps_alive and socket.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY))
    return False


def quiet() -> contextlib.suppress:
    """While a connection ends, its failures are nobody's news."""
    return contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)


class SocketTransport(trio.abc.HalfCloseableStream):
    """A connected stream socket, with every socket call made right here.

    `trio.SocketStream` does the same through three more layers of calls; for small messages they
    cost more than the system call itself.

    Each operation tries its call first and waits only if it would block. Around a call that
    succeeds at once stand the two halves of a checkpoint, as in trio's own sockets: a plain
    checkpoint after `recv` would lose the bytes when it is cancelled.

    Args:
      sock: connected, of type SOCK_STREAM. It is made non-blocking and is owned from now on.
      peername: the peer's address, as `socket.accept` gave it.

    Attributes:
      bytes_received, bytes_sent: so far.
    """

    __slots__ = (
        "_broken",
        "_closed",
        "_eof_received",
        "_eof_sent",
        "_evicting",
        "_interrupted",
        "_receiving",
        "_sending",
        "bytes_received",
        "bytes_sent",
        "peername",
        "send_timeout",
        "socket",
    )

    def __init__(self, sock: stdlib_socket.socket, peername: Any = None) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.peername = peername
        self._receiving = False
        self._sending = False
        self._closed = False
        self._broken = False  # the kernel has said so: there is nobody to linger for
        self._evicting = False
        self._eof_received = False
        self._eof_sent = False
        self._interrupted = False
        self.bytes_received = 0
        self.bytes_sent = 0
        self.send_timeout: float | None = None  # how long the peer may take no byte of what is sent

    def __repr__(self) -> str:
        return f"<SocketTransport {self.peername!r}{' closed' if self._closed else ''}>"

    @property
    def stream(self) -> trio.abc.Stream:
        """The stream that a handler may know: this one."""
        return self

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`. A cancelled call has taken no byte."""
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._closed:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving on this connection")
        self._receiving = True
        try:
            await checkpoint_if_cancelled()
            data: bytes | None
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                data = None
            else:
                await cancel_shielded_checkpoint()
            while data is None:
                if self._interrupted:  # and the last call to recv found nothing
                    self._interrupted = False
                    await checkpoint()
                    raise trio.WouldBlock("the wait for bytes was interrupted")
                try:
                    await wait_readable(self.socket)
                except trio.ClosedResourceError:
                    # notify_closing wakes a waiter for an interrupt, too: then the socket stays open.
                    if self._closed or self._evicting:
                        raise trio.ClosedResourceError("this connection was closed by another task") from None
                try:
                    data = self.socket.recv(max_bytes)
                except BlockingIOError:
                    pass
            if not data:
                self._eof_received = True
            self.bytes_received += len(data)
            return data
        except OSError as exc:
            raise self._failure(exc) from exc
        finally:
            self._receiving = False

    receive_interruptibly = receive_some

    def interrupt(self) -> None:
        """End the wait for bytes, now or the next one: if none are there, it raises `trio.WouldBlock`."""
        self._interrupted = True
        if not self._closed and self._receiving:
            notify_closing(self.socket)

    def clear_interrupt(self) -> None:
        """Forget an interrupt that came too late to end a wait."""
        self._interrupted = False

    async def send_all(self, data: Buffer) -> None:
        """See `trio.abc.SendStream.send_all`. A cancelled call may have sent a part."""
        self._check_sending()
        self._sending = True
        try:
            await checkpoint_if_cancelled()
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            self.bytes_sent += sent
            if type(data) is bytes and sent == len(data):
                await cancel_shielded_checkpoint()
            else:
                await self._send_rest(data, sent)
        except OSError as exc:
            raise self._failure(exc) from exc
        finally:
            self._sending = False

    async def _send_rest(self, data: Buffer, sent: int) -> None:
        with memoryview(data) as view, view.cast("B") as octets:
            if sent == octets.nbytes:
                await cancel_shielded_checkpoint()
            while sent < octets.nbytes:
                with patience(self, self.send_timeout):
                    await self._wait_writable()
                with contextlib.suppress(BlockingIOError), octets[sent:] as rest:
                    more = self.socket.send(rest)
                    sent += more
                    self.bytes_sent += more

    async def _wait_writable(self) -> None:
        try:
            await wait_writable(self.socket)
        except trio.ClosedResourceError:
            raise trio.ClosedResourceError("this connection was closed by another task") from None

    def send_nowait(self, data: Buffer) -> int:
        """Hand the kernel what it takes at once.

        Returns:
          How many bytes it took, from the front of `data`; 0 when it would block.
        """
        self._check_sending()
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._failure(exc) from exc
        self.bytes_sent += sent
        return sent

    async def send_within(self, data: bytes, timeout: float | None) -> None:
        """Send all of `data`, waiting at most `timeout` seconds for the peer to take any part of it.

        Raises:
          ConnectionBroken: the peer took no byte in that time.
        """
        self.send_timeout = timeout
        try:
            await self.send_all(data)
        finally:
            self.send_timeout = None

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_sending()
        self._sending = True
        try:
            await self._wait_writable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        if self._closed:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")
        await checkpoint()
        if self._closed or self._eof_sent:
            return
        self._eof_sent = True
        try:
            self.socket.shutdown(stdlib_socket.SHUT_WR)
        except OSError as exc:
            raise self._failure(exc) from exc

    async def finish(self, linger: float) -> None:
        """Half-close, read and discard until the peer's end, for at most `linger` seconds; close.

        A task that waits to receive or send here wakes with `trio.ClosedResourceError`. Cancelled,
        it closes at once.
        """
        try:
            await self.evict()
            if not (self._eof_received or self._broken):
                with trio.move_on_after(linger), quiet():
                    await self.send_eof()
                    while await self.receive_some():
                        pass
        finally:
            self.close()

    async def evict(self) -> None:
        """Wake the tasks that wait on this socket, as its closing would, but leave it open."""
        if self._closed or not (self._receiving or self._sending):
            return
        self._evicting = True
        notify_closing(self.socket)
        try:
            while self._receiving or self._sending:
                await checkpoint()
        finally:
            self._evicting = False

    async def abort(self) -> None:
        """Close at once. Not a checkpoint."""
        self.close()

    def close(self) -> None:
        """Close at once; tasks that wait here wake with `trio.ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            notify_closing(self.socket)
            self.socket.close()

    async def aclose(self) -> None:
        """Close at once."""
        self.close()
        await checkpoint()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """See `socket.socket.setsockopt`."""
        self.socket.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """See `socket.socket.getsockopt`."""
        if buffersize == 0:
            return self.socket.getsockopt(level, option)
        return self.socket.getsockopt(level, option, buffersize)

    def _check_sending(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._eof_sent:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")

    def _failure(self, exc: OSError) -> Exception:
        if self._closed:
            return trio.ClosedResourceError("this connection was closed by another task")
        self._broken = self._broken or isinstance(exc, ConnectionError | TimeoutError)
        return ConnectionBroken(f"the connection to the peer is broken: {exc}", self)
