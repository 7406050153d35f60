"""Any trio stream as a transport: a stream in memory, trio's own TLS, or one that a user made.

It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
from typing import Any

import trio

from ._close_notify import send_close_notify
from ._exceptions import ConnectionBroken
from ._peer_state import AnySocket, Peer, peer_state, unacknowledged
from ._socket_options import end_both_ways, reset_on_close, set_options
from ._tls_info import TlsState
from ._transport import Buffer, Transport, close_at_once, deadline_in, discard_until_end, quiet

__all__ = ["StreamTransport", "as_transport", "socket_below"]

SEND_SIZE = 16 * 1024


class StreamTransport(Transport):
    """A transport that calls the methods of a stream.

    Args:
      stream: it is owned from now on.
      peername: the address of the peer, if it has one.
    """

    __slots__ = ("_has_ended", "_stream", "_waiting")

    def __init__(self, stream: trio.abc.Stream, peername: Any = None) -> None:
        super().__init__(peername)
        self._stream = stream
        self._waiting: trio.CancelScope | None = None
        self._has_ended = False  # we have sent our end of data

    @property
    def stream(self) -> trio.abc.Stream:
        """The stream itself."""
        return self._stream

    @property
    def socket(self) -> AnySocket | None:
        """See `Transport.socket`."""
        return socket_below(self._stream)

    def peer_state(self) -> Peer:
        """See `Transport.peer_state`."""
        socket = self.socket
        if socket is None:
            return Peer.UNKNOWN
        return Peer.GONE if socket.fileno() == -1 else peer_state(socket, self._has_ended)

    def unacknowledged(self) -> int | None:
        """See `Transport.unacknowledged`."""
        socket = self.socket
        return None if socket is None or socket.fileno() == -1 else unacknowledged(socket)

    @property
    def carrier(self) -> Transport | None:
        """See `Transport.carrier`."""
        carrier = getattr(_below_tls(self._stream), "_transport", None)  # an `UpgradedStream` has it
        return carrier if isinstance(carrier, Transport) else None

    @property
    def tls_state(self) -> TlsState | None:
        """The stream itself, if it is trio's TLS."""
        return self._stream if isinstance(self._stream, trio.SSLStream) else None

    async def start(self, timeout: float | None) -> None:
        """See `Transport.start`."""
        if not isinstance(self._stream, trio.SSLStream):
            return
        with trio.CancelScope(deadline=deadline_in(timeout)) as scope:
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError as exc:
                raise self._error_for(exc) from exc
        if scope.cancelled_caught:
            raise ConnectionBroken(f"the TLS handshake took more than {timeout} seconds", self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Calls `receive_some` of the stream."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            raise self._error_for(exc) from exc
        self.bytes_received += len(data)
        self.sent_when_heard = self.bytes_sent
        return data

    async def receive_interruptibly(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `Transport.receive_interruptibly`."""
        with trio.CancelScope() as self._waiting:
            return await self.receive_some(max_bytes)
        raise trio.WouldBlock("the wait for bytes was interrupted")

    def interrupt(self) -> None:
        """See `Transport.interrupt`."""
        if self._waiting is not None:
            self._waiting.cancel()

    def clear_interrupt(self) -> None:
        """See `Transport.clear_interrupt`."""
        self._waiting = None

    async def send_all(self, data: Buffer) -> None:
        """Calls `send_all` of the stream: with a `send_timeout`, for 16 KiB at a time."""
        if self.send_timeout is None:
            return await self._send(data)
        with memoryview(data) as view, view.cast("B") as octets:
            for start in range(0, len(octets), SEND_SIZE):
                with octets[start : start + SEND_SIZE] as piece:
                    await self._send_within(self.send_timeout, piece)

    async def _send_within(self, timeout: float, piece: memoryview) -> None:
        with trio.CancelScope(deadline=trio.current_time() + timeout):
            return await self._send(piece)
        raise ConnectionBroken(f"the peer took no byte of what we sent for {timeout} seconds", self)

    async def _send(self, data: Buffer) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            raise self._error_for(exc) from exc
        self.bytes_sent += memoryview(data).nbytes

    def send_nowait(self, data: Buffer) -> int:
        """A trio stream has no such method."""
        raise NotImplementedError(f"a {type(self._stream).__name__} cannot send without waiting")

    async def wait_send_all_might_not_block(self) -> None:
        """Calls `wait_send_all_might_not_block` of the stream."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as exc:
            raise self._error_for(exc) from exc

    async def send_eof(self) -> None:
        """Calls `send_eof` of the stream.

        Raises:
          NotImplementedError: the stream cannot end one direction alone, as a `trio.SSLStream`.
        """
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            raise NotImplementedError(f"a {type(self._stream).__name__} cannot end one direction and keep the other")
        self._has_ended = True
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as exc:
            raise self._error_for(exc) from exc

    async def linger(self, seconds: float) -> None:
        """See `Transport.linger`.

        Over TLS our side ends with close_notify, and the rest happens on the stream below. Another
        stream that cannot end one direction alone is closed by its own `aclose`.
        """
        stream, below = self._stream, None
        try:
            with quiet():
                with trio.CancelScope(deadline=self.patience(seconds).deadline) as scope:
                    if isinstance(stream, trio.SSLStream):
                        await send_close_notify(stream)
                        below = self._transport_below(stream)
                    elif isinstance(stream, trio.abc.HalfCloseableStream):
                        await self.send_eof()
                    else:
                        await self.aclose()
                if below is not None:
                    await below.linger(seconds)
                elif not scope.cancelled_caught and isinstance(stream, trio.abc.HalfCloseableStream):
                    await discard_until_end(self, seconds)
        finally:
            await self.abort()

    def _transport_below(self, stream: trio.SSLStream[trio.abc.Stream]) -> Transport:
        """The transport below TLS, for the end of the connection: it gives the peer as much time."""
        below = as_transport(stream.transport_stream)
        below.send_timeout = self.send_timeout
        below.bytes_sent, below.sent_when_heard = self.bytes_sent, self.sent_when_heard
        below.on_close = self._before_close
        return below

    async def abort(self) -> None:
        """See `Transport.abort`."""
        if (socket := self.socket) is not None:
            end_both_ways(socket)
        await self._close()

    async def reset(self) -> None:
        """See `Transport.reset`."""
        if self.carrier is not None:
            await self.carrier.reset()
        if (socket := self.socket) is not None:
            reset_on_close(socket)
        await self._close()

    def _before_close(self, below: Transport | None = None) -> None:
        """Tell whoever asked that the connection is about to be closed. The transport below TLS calls this, too."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close(self)

    async def _close(self) -> None:
        self._before_close()
        below = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else None
        await close_at_once(self._stream)
        if below is not None:  # a TLS layer that has unwrapped itself no longer closes it
            await close_at_once(below)

    async def aclose(self) -> None:
        """Calls `aclose` of the stream: over TLS, it sends close_notify."""
        self._before_close()
        await self._stream.aclose()

    def _error_for(self, exc: trio.BrokenResourceError) -> ConnectionBroken:
        return ConnectionBroken(f"the connection to the peer is broken: {exc.__cause__ or exc}", self)


def as_transport(stream: trio.abc.Stream) -> Transport:
    """`stream` as a transport, unless it is one."""
    return stream if isinstance(stream, Transport) else StreamTransport(stream, _prepare(stream))


def socket_below(stream: trio.abc.Stream) -> AnySocket | None:
    """The socket of a stream, also below TLS; None for a stream that has no socket."""
    found: AnySocket | None = getattr(_below_tls(stream), "socket", None)
    return found


def _below_tls(stream: trio.abc.Stream) -> trio.abc.Stream:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream


def _prepare(stream: trio.abc.Stream) -> Any:
    """Set the options of the socket below, if there is one; returns the address of the peer."""
    if isinstance(stream, trio.SSLStream):
        return _prepare(stream.transport_stream)
    if isinstance(stream, trio.SocketStream):
        set_options(stream.socket)
        with contextlib.suppress(OSError):
            return stream.socket.getpeername()
    return getattr(stream, "peername", None)
