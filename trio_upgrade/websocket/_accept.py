"""From an upgrade request to a WebSocket, and to its end.

What a WebSocket needs of the serving that it belongs to is looked up here: the nursery and the keepalive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import EllipsisType, TracebackType
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

import trio

from .._exceptions import flatten
from .._headers import FieldsArgument
from .._request import Request, serving_of
from .._serving_state import ServingState
from .._settings import UpgradeHandler
from .._upgraded_stream import UpgradedStream, take_over
from ._channel import WebSocket
from ._endpoint import Endpoint
from ._handshake import negotiate
from ._keepalive import Keepalive
from ._options import Compression, Options
from ._origin import Origins
from ._unattended import Attendant

__all__ = ["accept", "handler"]

T = TypeVar("T", str, bytes, str | bytes)

Func: TypeAlias = Callable[[WebSocket[T]], Awaitable[object]]


class Arguments(TypedDict, total=False):
    """The options of `accept` for type checkers, but for `message_type`, which chooses an overload."""

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
    send_timeout: float | None
    message_timeout: float | None


class Accepting:
    """What `accept` returns: the handshake, the WebSocket, and its end."""

    __slots__ = ("_attendant", "_keepalive", "_options", "_request", "_stream", "_websocket")

    def __init__(self, request: Request, stream: trio.abc.Stream, options: Options) -> None:
        self._request = request
        self._stream = stream
        self._options = options

    async def __aenter__(self) -> WebSocket[Any]:
        request = self._request
        options = self._options
        agreement = negotiate(request, options)
        await request.accept("websocket", [*agreement.headers, *options.headers])
        if isinstance(self._stream, UpgradedStream):
            self._stream = take_over(self._stream)
        serving = serving_of(request)
        nursery = serving.nursery
        assert nursery is not None
        endpoint: Endpoint[Any] = Endpoint(request, self._stream, nursery, options, agreement.deflate)
        self._websocket: WebSocket[Any] = WebSocket(endpoint, agreement.subprotocol)
        self._attendant = Attendant(endpoint, nursery)
        self._keepalive = keepalive_of(serving, nursery)
        self._keepalive.add(self._attendant)
        return self._websocket

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc is None:
                await self._websocket.aclose()
            elif all(isinstance(leaf, Exception) for leaf in flatten(exc)):
                await self._websocket.aclose(1011)
            else:
                await self._websocket._drop()
        finally:
            self._keepalive.discard(self._attendant)


def keepalive_of(serving: ServingState, nursery: trio.Nursery) -> Keepalive:
    """Return the keepalive of a serving. The first WebSocket of the serving starts it."""
    if serving.keepalive is None:
        serving.keepalive = Keepalive(serving.shutdown.begun)
        nursery.start_soon(serving.keepalive.run)
    keepalive: Keepalive = serving.keepalive
    return keepalive


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
def accept(
    request: Request,
    stream: trio.abc.Stream,
    *,
    message_type: type[str] | type[bytes] | None = None,
    subprotocols: Iterable[str] = (),
    origins: Literal["same", "*"] | Iterable[str] = "same",
    compression: Literal["deflate", "deflate-takeover"] | None = None,
    headers: FieldsArgument = (),
    max_message_size: int = 2**20,
    receive_buffer: int = 2**16,
    send_buffer: int = 2**20,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float = 10,
    send_timeout: float | None = 60,
    message_timeout: float | None = 300,
) -> AbstractAsyncContextManager[WebSocket[Any]]:
    """Accept an upgrade request as a WebSocket, which is open inside the block.

    For use in an upgrade handler::

        async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
            async with websocket.accept(request, stream) as ws:
                async for message in ws:
                    await ws.send(message)

    Entering the block checks the request and sends the 101. It takes the stream over: whatever else uses the stream
    gets `trio.ClosedResourceError` from then on.

    **While the block is busy elsewhere,** pings are still answered, a close is still completed, and the end of the
    connection is still noticed, within half a second; `WebSocket.wait_closed` tells. What arrives is read ahead until
    the receive buffer is full. Then reading stops, and the peer has to wait. Frames come in order, so a close frame
    after the unread messages is seen when these are received. Meanwhile pings go out and no pong is awaited: the peer
    stays as long as its host acknowledges what is sent. Its end or a reset is seen; then the block has `close_timeout`
    seconds to receive the next message, and again after each. What it doesn't receive is discarded.

    **A peer that reads slowly** is not taken for gone. As long as its host has not acknowledged everything that was
    sent, it stays, unless `send_timeout` passes in which nothing is acknowledged. Once everything is, `ping_timeout`
    and `close_timeout` begin. They are longer by a second for each 16 KiB that were sent since the peer was last heard,
    since its host may hold them unread; by at most five minutes.

    **On leaving the block,** the WebSocket is closed as by `WebSocket.aclose`: with 1000 at the end of the block, and
    with 1011 after an exception, which goes on. The peer is told nothing else of the exception.

    **On a shutdown of the server,** the WebSocket is closed with 1001 at once. The block goes on: `receive` gives what
    the peer still sends, then raises `trio.EndOfChannel`, and `send` raises `ConnectionClosed`.

    **On a cancellation** that reaches the end of the block, the connection is dropped at once, without a close frame.
    If entering the block is cancelled, either nothing was sent, or the connection is broken.

    Args:
      request: the request that the upgrade handler got.
      stream: the stream that the upgrade handler got, or one that wraps it.
      message_type: `str` or `bytes`: a message of the other kind closes the WebSocket with 1003. By default None: both
        are received.
      subprotocols: names of the subprotocols that the handler speaks, a list of str, the preferred one first. The
        client must offer at least one of them, or the handshake is refused. By default (): no subprotocol is agreed on.
      origins: which web pages may connect, as their browsers tell in the Origin field. By default "same": pages from
        the host and port that the Host field names, and clients without an Origin, which are not browsers. "*": all.
        A list of str, such as `["https://example.com"]`: pages with one of these origins, and no other client.
      compression: "deflate" compresses each message by itself. "deflate-takeover" compresses each message using
        the earlier ones: that is smaller, and takes some 50 KB of memory a connection. By default None: no
        compression. A client that does not offer compression gets none.
      headers: further fields of the 101, a mapping or pairs of str. By default none. `Connection`, `Upgrade` and
        fields that frame a message cannot be given.
      max_message_size: how many bytes a message that arrives may have, after inflating; a larger one closes the
        WebSocket with 1009. By default 2**20 (1 MiB).
      receive_buffer: how many bytes are read ahead while nobody receives. Messages count as they arrive, compressed and
        not complete, and 64 bytes more for each; one read of 96 KiB may exceed the limit. By default 2**16 (64 KiB).
      send_buffer: how many bytes `send_nowait` and `broadcast` buffer for a peer that is slow. Each message counts 64
        bytes more than it has; one message may exceed the limit. By default 2**20 (1 MiB).
      ping_interval: the seconds of silence after which the peer gets a ping, and again after each ping. By default 20.
        None: no pings.
      ping_timeout: the seconds after a ping in which something must arrive; if nothing does, the connection is
        dropped. A peer that reads slowly has longer, as above. By default 20. None: no limit.
      close_timeout: the seconds in which the peer must answer a close; if it does not, the connection is dropped. A
        peer that reads slowly has longer, as above. By default 10.
      send_timeout: the seconds in which the peer's host must acknowledge some of what is being sent; if it does not,
        the connection is dropped, and `send` raises `ConnectionClosed` with 1006. On a socket, less than 30 counts as
        30, since the host of a slow reader may acknowledge nothing for so long. By default 60. None: no limit.
      message_timeout: the seconds in which a message must be complete, from its first byte, and one more for each 16
        KiB of it that have arrived; later ones close the WebSocket with 1008. Only time counts in which somebody
        receives, or it is read ahead. By default 300. None: no limit.

    Returns:
      An async context manager that gives the `WebSocket`: of str or of bytes where `message_type` says so, else of
      both.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an option has an invalid value.

    Entering the block raises:
      HandshakeError: the request is not a WebSocket's, or it may not open one. If you don't catch it, the client gets
        a 400, 403 or 426.
      RuntimeError: the request was already accepted or answered.
      trio.BrokenResourceError: the connection broke.
    """
    if not isinstance(request, Request):
        raise TypeError(f"request is the Request that the upgrade handler got, not {request!r}")
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream is the trio.abc.Stream that the upgrade handler got, not {stream!r}")
    options = Options(
        message_type=message_type,
        subprotocols=subprotocols,
        origins=origins,
        compression=compression,
        headers=headers,
        max_message_size=max_message_size,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        send_timeout=send_timeout,
        message_timeout=message_timeout,
    )
    return Accepting(request, stream, options)


@overload
def handler(func: Func[str | bytes], *, message_type: None = None, **options: Unpack[Arguments]) -> UpgradeHandler: ...
@overload
def handler(func: Func[str], *, message_type: type[str], **options: Unpack[Arguments]) -> UpgradeHandler: ...
@overload
def handler(func: Func[bytes], *, message_type: type[bytes], **options: Unpack[Arguments]) -> UpgradeHandler: ...
@overload
def handler(
    *, message_type: None = None, **options: Unpack[Arguments]
) -> Callable[[Func[str | bytes]], UpgradeHandler]: ...
@overload
def handler(*, message_type: type[str], **options: Unpack[Arguments]) -> Callable[[Func[str]], UpgradeHandler]: ...
@overload
def handler(*, message_type: type[bytes], **options: Unpack[Arguments]) -> Callable[[Func[bytes]], UpgradeHandler]: ...
def handler(
    func: Func[Any] | EllipsisType = ...,
    *,
    message_type: type[str] | type[bytes] | None = None,
    subprotocols: Iterable[str] = (),
    origins: Literal["same", "*"] | Iterable[str] = "same",
    compression: Literal["deflate", "deflate-takeover"] | None = None,
    headers: FieldsArgument = (),
    max_message_size: int = 2**20,
    receive_buffer: int = 2**16,
    send_buffer: int = 2**20,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float = 10,
    send_timeout: float | None = 60,
    message_timeout: float | None = 300,
) -> UpgradeHandler | Callable[[Func[Any]], UpgradeHandler]:
    """Make an upgrade handler of a function that takes a WebSocket.

    Either call it, or use it as a decorator, with or without options::

        server = Server(on_upgrade=websocket.handler(chat, message_type=str))

        @websocket.handler(message_type=str)
        async def chat(ws: websocket.WebSocket[str]) -> None: ...

    The handler accepts every request that it gets, as `accept` does, and runs the function inside the block. So the
    return of the function closes the WebSocket with 1000, and an exception closes it with 1011.

    Args:
      func: `async (ws) -> None`. Without it, the result is a decorator.
      message_type, subprotocols, origins, compression, headers, max_message_size, receive_buffer, send_buffer,
        ping_interval, ping_timeout, close_timeout, send_timeout, message_timeout: the options of `accept`, with the
        same defaults.

    Returns:
      `async (request, stream) -> None`, for `Server(on_upgrade=...)`; or a decorator that makes one.

    Raises:
      TypeError: `func` is not a function, or an option has the wrong type.
      ValueError: an option has an invalid value.
    """
    options = Options(
        message_type=message_type,
        subprotocols=subprotocols,
        origins=origins,
        compression=compression,
        headers=headers,
        max_message_size=max_message_size,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        send_timeout=send_timeout,
        message_timeout=message_timeout,
    )

    def decorate(func: Func[Any]) -> UpgradeHandler:
        if not callable(func):
            raise TypeError(f"handler takes an async function, not {func!r}")

        async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
            async with Accepting(request, stream, options) as ws:
                await func(ws)

        return on_upgrade

    return decorate if isinstance(func, EllipsisType) else decorate(func)
