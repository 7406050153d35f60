"""From an upgrade request to a WebSocket, and to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack, overload

import trio

from .._handlers import UpgradeHandler
from .._headers import FieldsArgument
from .._request import Request
from .._upgraded_stream import UpgradedStream, take_over
from ._channel import WebSocket
from ._handshake import Agreement, negotiate
from ._keepalive import Keepalive, keepalive_of
from ._options import Compression, Options, Origins

__all__ = ["accept", "handler"]

T = TypeVar("T", str, bytes, str | bytes)


class Arguments(TypedDict, total=False):
    """The options of `accept`, besides the type of the messages."""

    subprotocols: tuple[str, ...] | list[str]
    origins: Origins
    compression: Compression
    headers: FieldsArgument
    max_message_size: int
    receive_buffer: int
    send_buffer: int
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float


class Accepting(AbstractAsyncContextManager[WebSocket[T]]):
    """What `accept` returns: a handshake, a WebSocket, and its end."""

    __slots__ = ("_keepalive", "_options", "_request", "_stream", "_websocket")

    def __init__(self, request: Request, stream: trio.abc.Stream, options: Options) -> None:
        self._request = request
        self._stream = stream
        self._options = options

    async def __aenter__(self) -> WebSocket[T]:
        request, stream = self._request, self._stream
        options: Options = self._options
        agreement: Agreement = negotiate(request, options)
        await request.accept("websocket", [*agreement.headers, *options.headers])
        if isinstance(stream, UpgradedStream):
            stream = self._stream = take_over(stream)
        nursery = request.server.nursery
        self._keepalive: Keepalive = keepalive_of(request.server, nursery)
        self._websocket: WebSocket[T] = WebSocket(
            request, stream, nursery, options, agreement.subprotocol, agreement.deflate
        )
        self._keepalive.add(self._websocket)
        return self._websocket

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._websocket.leave(exc)
        finally:
            self._keepalive.members.discard(self._websocket)


@overload
def accept(
    request: Request, stream: trio.abc.Stream, *, message_type: None = None, **options: Unpack[Arguments]
) -> AbstractAsyncContextManager[WebSocket[str | bytes]]: ...
@overload
def accept(
    request: Request, stream: trio.abc.Stream, *, message_type: type[str], **options: Unpack[Arguments]
) -> AbstractAsyncContextManager[WebSocket[str]]: ...
@overload
def accept(
    request: Request, stream: trio.abc.Stream, *, message_type: type[bytes], **options: Unpack[Arguments]
) -> AbstractAsyncContextManager[WebSocket[bytes]]: ...
def accept(request: Request, stream: trio.abc.Stream, **options: Any) -> AbstractAsyncContextManager[Any]:
    """Do the handshake of a WebSocket in an upgrade handler, and close it at the end of the block.

    Use it as `async with accept(request, stream) as ws`. The stream is taken over: using it
    afterwards raises `trio.ClosedResourceError`. Leaving the block closes the WebSocket with 1000; an
    exception closes it with 1011 and goes on; a cancellation drops the connection at once. When the
    server shuts down, it is closed with 1001.

    Pings are answered and a close is completed within half a second also while the block is busy
    elsewhere, until the receive buffer is full. Then reading stops, which makes the peer wait.

    Args:
      request, stream: as the upgrade handler got them.
      message_type: str or bytes, where only messages of this kind are taken: the other kind closes
        the WebSocket with 1003. By default both are.
      subprotocols: those that are spoken, the preferred one first; a client that offers none of
        them is refused. By default none is agreed on.
      origins: which pages may connect, as browsers tell: "same", those whose Origin has the host
        and port of the Host field, and clients without an Origin; "*", all; or those listed, such
        as "https://example.com".
      compression: "deflate" compresses each message by itself; "deflate-takeover" with what came
        before in mind, which is smaller and takes some 50 KB a connection. By default none.
      headers: further fields of the 101.
      max_message_size: bytes that a message may have, inflated; a larger one closes with 1009.
      receive_buffer: bytes read ahead while nobody receives, counted with 64 more a message. One
        message or one read of 96 KiB may exceed it.
      send_buffer: bytes buffered by `send_nowait` and `broadcast` for a peer that is slow, counted
        likewise. One message may exceed it.
      ping_interval: seconds of silence after which the peer is pinged; None for no pings.
      ping_timeout: seconds after a ping in which something must be heard, or the connection is
        dropped; None to wait for ever.
      close_timeout: seconds that the peer has to answer a close.

    Raises:
      HandshakeError: the request is no WebSocket's, or one that may not be opened. Unhandled, the
        server answers it.
      TypeError, ValueError: an option is none of its kind.
      trio.BrokenResourceError: the connection broke.
    """
    return Accepting(request, stream, Options(**options))


@overload
def handler(
    func: Callable[[WebSocket[str | bytes]], Awaitable[object]],
    *,
    message_type: None = None,
    **options: Unpack[Arguments],
) -> UpgradeHandler: ...
@overload
def handler(
    func: Callable[[WebSocket[str]], Awaitable[object]], *, message_type: type[str], **options: Unpack[Arguments]
) -> UpgradeHandler: ...
@overload
def handler(
    func: Callable[[WebSocket[bytes]], Awaitable[object]], *, message_type: type[bytes], **options: Unpack[Arguments]
) -> UpgradeHandler: ...
def handler(func: Callable[[WebSocket[Any]], Awaitable[object]], **options: Any) -> UpgradeHandler:
    """An upgrade handler that runs `func` with each WebSocket.

    Args:
      func: `async (ws) -> None`. Its return and its exceptions end the WebSocket as `accept` says.
      options: those of `accept`.

    Raises:
      TypeError, ValueError: an option is none of its kind.
    """
    if not callable(func):
        raise TypeError(f"handler takes an async function, not {func!r}")
    checked = Options(**options)

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        accepting: Accepting[Any] = Accepting(request, stream, checked)
        async with accepting as ws:
            await func(ws)

    return on_upgrade
