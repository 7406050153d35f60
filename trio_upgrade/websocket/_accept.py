"""From an upgrade request to a WebSocket, and to its end.

What a WebSocket needs of the serving that it belongs to is looked up here: the nursery and the keepalive.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import EllipsisType, TracebackType
from typing import Any, NoReturn, TypeAlias, TypeVar, Unpack, overload

import trio
from websockets.frames import CloseCode

from .._exceptions import flatten
from .._request import Request, serving_of
from .._serving_state import ServingState
from .._settings import UpgradeHandler
from .._upgraded_stream import UpgradedStream, take_over
from ._channel import WebSocket
from ._endpoint import Endpoint
from ._handshake import negotiate
from ._keepalive import Keepalive
from ._options import Arguments, Options
from ._signatures import make_options, with_options
from ._unattended import Attendant

__all__ = ["accept", "handler"]

T = TypeVar("T", str, bytes, str | bytes)

USAGE = "write `async with websocket.accept(request, stream) as ws:`"

Func: TypeAlias = Callable[[WebSocket[T]], Awaitable[object]]


class Accepting:
    """What `accept` returns: the handshake, the WebSocket, and its end.

    Used in any other way than with `async with`, it says how it is used.
    """

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
                shuts_down = serving_of(self._request).shutdown.has_begun
                await self._websocket.aclose(self._options.code_in_shutdown if shuts_down else CloseCode.NORMAL_CLOSURE)
            elif all(isinstance(leaf, Exception) for leaf in flatten(exc)):
                await self._websocket.aclose(CloseCode.INTERNAL_ERROR)
            else:
                await self._websocket._drop()
        finally:
            self._keepalive.discard(self._attendant)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # Python and its tools look for these, and take the answer for a no
        raise AttributeError(f"there is no WebSocket yet, and so no {name!r}: {USAGE}")

    def __await__(self) -> NoReturn:
        raise TypeError(f"accept cannot be awaited: {USAGE}")

    def __aiter__(self) -> NoReturn:
        raise TypeError(f"there is no WebSocket yet to receive from: {USAGE}")

    def __enter__(self) -> NoReturn:
        raise TypeError(f"`with` is not enough: {USAGE}")

    def __exit__(self, *exc_info: object) -> None:
        """For `with`, which looks for it first."""


def keepalive_of(serving: ServingState, nursery: trio.Nursery) -> Keepalive:
    """Return the keepalive of a serving. The first WebSocket of the serving starts it."""
    if serving.keepalive is None:
        serving.keepalive = Keepalive(serving.shutdown)
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
@with_options
def accept(request: Request, stream: trio.abc.Stream, **options: Any) -> AbstractAsyncContextManager[WebSocket[Any]]:
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

    **On a close,** whoever began it, an iteration over the WebSocket ends, and `send` raises `ConnectionClosed`. So
    another task may throw somebody out by `WebSocket.aclose`. A close of the peer with a code that means a failure
    raises `ConnectionClosed` in `receive`, too.

    **On leaving the block,** the WebSocket is closed as by `WebSocket.aclose`: with 1000 at the end of the block, and
    with 1011 after an exception, which goes on. The peer is told nothing else of the exception.

    **On a shutdown of the server,** the WebSocket is closed with `shutdown_code` at once. The block goes on: `receive`
    gives what the peer still sends, then raises `trio.EndOfChannel`, and `send` raises `ConnectionClosed`. With
    `shutdown_code=None`, the WebSocket stays open, so that the block can say goodbye::

        with request.server.cancel_on_shutdown():
            async for message in ws: ...
        await ws.send("goodbye")

    The end of the block then closes it with 1001. If the block goes on for too long, the server closes it, so that the
    peer is told: `close_timeout` seconds before the grace of the shutdown ends, or half of the grace if that is less.

    **On a cancellation** that reaches the end of the block, the connection is dropped at once, without a close frame.
    If entering the block is cancelled, either nothing was sent, or the connection is broken.

    Args:
      request: the request that the upgrade handler got.
      stream: the stream that the upgrade handler got, or one that wraps it.
      message_type: `str` or `bytes`: a message of the other kind closes the WebSocket with 1003. By default None: both
        are received.
      subprotocols: names of the subprotocols that the handler speaks, a list of str, the preferred one first. The
        client must offer at least one of them, or the handshake is refused; unless None is in the list, too. Or a
        function `(offered: list[str]) -> str | None`, which chooses one of those that the client offers, or none. By
        default (): no subprotocol is agreed on.
      origins: which web pages may connect, as their browsers tell in the Origin field (RFC 6454): a scheme, a host and
        a port. By default "same": pages from the host and port that `Request.host` names, and clients without an
        Origin, which are not browsers. If the request came over https, so must the page. "*": all. A list of str, such
        as `["https://example.com", "https://*.example.org", "same"]`: pages with one of these origins, and no other
        client. The second of them is all subdomains of `example.org`; the third adds what "same" lets in. Or a
        plain function `(request) -> bool`. A client that is refused gets a 403 that names its Origin and what that was
        compared with, and the same is logged at INFO.
      compression: "deflate" compresses each message by itself. "deflate-takeover" compresses each message using
        the earlier ones: that is smaller, and takes some 40 KB of memory a connection. By default None: no
        compression. A client that does not offer compression gets none. What it sends may refer to its earlier
        messages unless it offers `client_no_context_takeover`. The end of these is kept for that: up to 4 KB a
        connection, or 32 KB for a client that does not offer `client_max_window_bits`.
      headers: further fields of the 101, a mapping or pairs of str. By default none. Fields that the handshake sets
        (`Connection`, `Upgrade`, `Sec-WebSocket-...`) or that frame a message cannot be given.
      max_message_size: how many bytes a message that arrives may have, after inflating; a larger one closes the
        WebSocket with 1009. By default 2**20 (1 MiB).
      receive_buffer: how many bytes are read ahead while nobody receives. Messages count as they arrive, compressed and
        not complete, and 64 bytes more for each; one read of 96 KiB may exceed the limit. By default 2**16 (64 KiB).
      send_buffer: how many bytes `send_nowait` and `broadcast` buffer for a peer that is slow. Each message counts 64
        bytes more than it has; one message may exceed the limit. By default 2**20 (1 MiB).
      ping_interval: the seconds of silence after which the peer gets a ping, and again after each ping. By default 20.
        None: no pings.
      ping_timeout: the seconds that the peer has to answer a ping, from when its host has acknowledged it; a peer that
        does not is dropped. One that reads slowly has longer, as above. A host that acknowledges nothing is dropped
        after `send_timeout`. By default 20. None: no limit.
      close_timeout: the seconds in which the peer must answer a close; if it does not, the connection is dropped. A
        peer that reads slowly has longer, as above. By default 10.
      send_timeout: the seconds in which the peer's host must acknowledge some of what is being sent; if it does not,
        the connection is dropped, and `send` raises `ConnectionClosed` with 1006. On a socket, less than 30 counts as
        30, since the host of a slow reader may acknowledge nothing for so long. By default 60. None: no limit.
      message_timeout: the seconds in which a message must be complete, from its first byte, and one more for each 16
        KiB of it that have arrived; later ones close the WebSocket with 1008. Only time counts in which somebody
        receives, or it is read ahead. By default 300. None: no limit.
      shutdown_code: the close code in a shutdown of the server, such as 1012 (Service Restart). By default 1001 (Going
        Away). None: the handler closes, as above.

    Returns:
      An async context manager that gives the `WebSocket`: of str or of bytes where `message_type` says so, else of
      both.

    Raises:
      TypeError: an argument has the wrong type, or there is no such option.
      ValueError: an option has an invalid value.

    Entering the block raises:
      HandshakeError: the request is not a WebSocket's, or it may not open one. If you don't catch it, the client gets
        a 400, 403 or 426.
      RuntimeError: the request was already accepted or answered.
      ValueError, TypeError: the function that is given as `subprotocols` or `origins` gave no valid answer.
      trio.BrokenResourceError: the connection broke.
    """
    if not isinstance(request, Request):
        raise TypeError(f"request is the Request that the upgrade handler got, not {request!r}")
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream is the trio.abc.Stream that the upgrade handler got, not {stream!r}")
    return Accepting(request, stream, make_options("accept", options))


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
@with_options
def handler(
    func: Func[Any] | EllipsisType = ..., **options: Any
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
        ping_interval, ping_timeout, close_timeout, send_timeout, message_timeout, shutdown_code: the options of
        `accept`, with the same defaults.

    Returns:
      `async (request, stream) -> None`, for `Server(on_upgrade=...)`; or a decorator that makes one.

    Raises:
      TypeError: `func` is not an async function, or an option has the wrong type or does not exist.
      ValueError: an option has an invalid value.
    """
    checked = make_options("handler", options)

    def decorate(func: Func[Any]) -> UpgradeHandler:
        check_func(func)

        async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
            async with Accepting(request, stream, checked) as ws:
                done = func(ws)
                if not inspect.isawaitable(done):
                    raise TypeError(f"{name_of(func)} must be an `async def`, but its call returned {done!r}")
                await done

        return on_upgrade

    return decorate if isinstance(func, EllipsisType) else decorate(func)


def check_func(func: object) -> None:
    """Check what `handler` got, as far as that can be told without calling it.

    Raises:
      TypeError: it is not an async function.
    """
    if inspect.iscoroutine(func):
        func.close()  # nobody is going to await it
        raise TypeError(f"handler takes the function itself, not its call: {func.__name__}, without `(...)`")
    if not callable(func):
        raise TypeError(f"handler takes an async function, not {func!r}")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise TypeError(f"{name_of(func)} has a `yield`; messages are sent by `await ws.send(message)`")


def name_of(func: object) -> str:
    return getattr(func, "__qualname__", repr(func))
