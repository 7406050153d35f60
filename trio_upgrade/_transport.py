"""Moving bytes: our own socket, or any trio stream, as the transport of one connection.

A transport is a `trio.abc.Stream` with a little more, the same for both kinds:

- its failures are `ConnectionBroken`, so that they can be told from anybody else's;
- `interrupt()` ends a wait for bytes without losing one, which a cancellation of TLS or of a
  socket whose bytes have just arrived could not promise;
- `send_within()` bounds the wait for a peer that does not read;
- `finish()` ends the connection without destroying what was sent; `abort()` ends it at once.

It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
from typing import Any, TypeAlias

import trio
from trio.lowlevel import checkpoint

from ._exceptions import ConnectionBroken
from ._socket_transport import RECEIVE_SIZE, Buffer, SocketTransport, deadline_in, patience, quiet, set_options
from ._tls import send_close_notify

__all__ = ["RECEIVE_SIZE", "Buffer", "SocketTransport", "StreamTransport", "Transport", "as_transport"]

SEND_SIZE = 16 * 1024
TURNS = 20  # of the scheduler; trio's streams need fewer to hand over what is there


class StreamTransport(trio.abc.Stream):
    """Any `trio.abc.Stream` as a transport: TLS, a stream in memory, or one that a user made.

    Args:
      stream: owned from now on.
      peername: the peer's address, if there is one.

    Attributes:
      bytes_received, bytes_sent: so far, over TLS what is inside of it.
    """

    __slots__ = ("_interrupted", "_waiting", "bytes_received", "bytes_sent", "peername", "stream")

    def __init__(self, stream: trio.abc.Stream, peername: Any = None) -> None:
        self.stream = stream
        self.peername = peername
        self.bytes_received = 0
        self.bytes_sent = 0
        self._waiting: trio.CancelScope | None = None
        self._interrupted = False

    @property
    def _socket(self) -> SocketTransport | None:
        """Our own socket below TLS: interrupting that one keeps every byte TLS has seen."""
        below = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else None
        return below if isinstance(below, SocketTransport) else None

    async def start(self, timeout: float | None) -> None:
        """Do the TLS handshake, if there is one to be done.

        Raises:
          ConnectionBroken: it failed, or took longer than `timeout` seconds.
        """
        if not isinstance(self.stream, trio.SSLStream):
            return await checkpoint()
        with trio.CancelScope(deadline=deadline_in(timeout)) as scope:
            try:
                await self.stream.do_handshake()
            except trio.BrokenResourceError as exc:
                raise self._failure(exc) from exc
        if scope.cancelled_caught:
            raise ConnectionBroken(f"the TLS handshake took more than {timeout} seconds", self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Calls `receive_some` of the stream."""
        try:
            data = await self.stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            raise self._failure(exc) from exc
        self.bytes_received += len(data)
        return data

    async def receive_interruptibly(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Like `receive_some`, and raises `trio.WouldBlock` when interrupted."""
        if self._socket is not None:
            return await self.receive_some(max_bytes)
        if not self._interrupted:
            with trio.CancelScope() as self._waiting:
                return await self.receive_some(max_bytes)
        self.clear_interrupt()
        return await self._receive_without_waiting(max_bytes)

    async def _receive_without_waiting(self, max_bytes: int | None) -> bytes | bytearray:
        """For streams that know no such thing: a read that has a few turns of the scheduler."""
        data: bytes | bytearray | None = None
        failure: trio.BrokenResourceError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_soon, nursery.cancel_scope)
            try:
                data = await self.receive_some(max_bytes)
            except trio.BrokenResourceError as exc:
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if data is None:
            raise trio.WouldBlock("the wait for bytes was interrupted")
        return data

    def interrupt(self) -> None:
        """End the wait for bytes, now or the next one."""
        if self._socket is not None:
            return self._socket.interrupt()
        self._interrupted = True
        if self._waiting is not None:
            self._waiting.cancel()

    def clear_interrupt(self) -> None:
        """Forget an interrupt that came too late to end a wait."""
        self._interrupted = False
        self._waiting = None
        if self._socket is not None:
            self._socket.clear_interrupt()

    async def send_all(self, data: Buffer) -> None:
        """Calls `send_all` of the stream."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError as exc:
            raise self._failure(exc) from exc
        self.bytes_sent += memoryview(data).nbytes

    async def send_within(self, data: bytes, timeout: float | None) -> None:
        """Send all of `data`, waiting at most `timeout` seconds for the peer to take any part of it.

        Where the socket is not ours, that is each piece of 16 KiB.
        """
        if self._socket is not None:
            self._socket.send_timeout = timeout
            try:
                return await self.send_all(data)
            finally:
                self._socket.send_timeout = None
        with memoryview(data) as view:
            for start in range(0, len(view), SEND_SIZE):
                with view[start : start + SEND_SIZE] as piece, patience(self, timeout):
                    await self.send_all(piece)

    async def wait_send_all_might_not_block(self) -> None:
        """Calls `wait_send_all_might_not_block` of the stream."""
        try:
            await self.stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as exc:
            raise self._failure(exc) from exc

    async def send_eof(self) -> None:
        """Calls `send_eof` of the stream, which must be a `trio.abc.HalfCloseableStream`."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        try:
            await self.stream.send_eof()
        except trio.BrokenResourceError as exc:
            raise self._failure(exc) from exc

    async def finish(self, linger: float) -> None:
        """End our side, read and discard until the peer's end, for at most `linger` seconds; close.

        Over TLS our side ends with close_notify, and the rest happens on the transport below. Another
        stream that cannot half-close ends as it does itself. Cancelled, it closes at once.
        """
        stream = self.stream
        try:
            with trio.move_on_after(linger), quiet():
                if isinstance(stream, trio.SSLStream):
                    below = as_transport(stream.transport_stream)
                    if isinstance(below, SocketTransport):
                        await below.evict()
                    await send_close_notify(stream)
                    await below.finish(linger)
                elif isinstance(stream, trio.abc.HalfCloseableStream):
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass
                else:
                    await stream.aclose()
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Close at once, without waiting for anything."""
        below = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else None
        with trio.CancelScope(shield=True):  # it does not block, and its Cancelled would hide what ends us
            await trio.aclose_forcefully(self.stream)
            if below is not None:  # a TLS layer that has unwrapped itself no longer closes it
                await trio.aclose_forcefully(below)

    async def aclose(self) -> None:
        """Calls `aclose` of the stream."""
        await self.stream.aclose()

    def _failure(self, exc: trio.BrokenResourceError) -> ConnectionBroken:
        return ConnectionBroken(f"the connection to the peer is broken: {exc.__cause__ or exc}", self)


Transport: TypeAlias = SocketTransport | StreamTransport


def as_transport(stream: trio.abc.Stream) -> Transport:
    """`stream` as a transport, unless it is one."""
    return stream if isinstance(stream, SocketTransport) else StreamTransport(stream, _meet_peer(stream))


def _meet_peer(stream: trio.abc.Stream) -> Any:
    """The address of whoever is at the other end of a stream, on a socket set up as ours are."""
    if isinstance(stream, trio.SSLStream):
        return _meet_peer(stream.transport_stream)
    if isinstance(stream, trio.SocketStream):
        set_options(stream.socket)
        with contextlib.suppress(OSError):
            return stream.socket.getpeername()
    return getattr(stream, "peername", None)


async def _cancel_soon(scope: trio.CancelScope) -> None:
    for _ in range(TURNS):
        await checkpoint()
    scope.cancel()
