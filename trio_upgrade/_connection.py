"""One connection's life: request, handler, response, and again; or an upgrade, and the end.

It decides what becomes of the connection after each request and after each error. How requests are
parsed, responses encoded and bytes moved is known further down; listeners and shutdown, further up.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import trio

from . import _access
from ._deadlines import Deadlines
from ._exceptions import BodyTooLarge, ConnectionBroken, ProtocolError, flatten
from ._head import Head
from ._http11 import Http11
from ._limits import Limits
from ._proxies import TrustedProxies
from ._request import Body, Request
from ._response import Response, open_content
from ._statistics import Counters
from ._transport import StreamTransport, Transport
from ._upgrade import UpgradedStream, upgraded_stream

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Connection", "Handlers", "RequestHandler", "ShouldUpgrade", "UpgradeHandler"]

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
UpgradeHandler: TypeAlias = Callable[[Request, trio.abc.Stream], Awaitable[Response | None]]
ShouldUpgrade: TypeAlias = Callable[[Request], bool | Awaitable[bool]]

T = TypeVar("T")

logger = logging.getLogger("trio_upgrade")

QUIET = 1.0  # seconds without a request, after which a shutdown closes a connection


@dataclass(frozen=True, slots=True)
class Handlers:
    """What a server was told to do with requests."""

    on_request: RequestHandler
    on_upgrade: UpgradeHandler | None
    should_upgrade: ShouldUpgrade | None
    on_connect: UpgradeHandler | None
    limits: Limits
    proxies: TrustedProxies


class Serving(Protocol):
    """What a connection may know of the serving that it belongs to."""

    @property
    def server(self) -> Server:
        """The server whose connections these are."""
        ...

    @property
    def deadlines(self) -> Deadlines:
        """Times the waits of these connections."""
        ...

    @property
    def counters(self) -> Counters:
        """Counts what these connections do."""
        ...

    @property
    def shutting_down(self) -> bool:
        """The server takes no new requests."""
        ...


class Connection:
    """A connection, from its first byte to its close.

    Attributes:
      deadline: when the wait for a request's head ends; `Deadlines` watches it.
      idle: it waits for the first byte of a request.
      upgraded: an upgrade or connect handler has it.
      transport: what it is on.
    """

    __slots__ = (
        "_drain_scope",
        "_expired",
        "_failure",
        "_first",
        "_handlers",
        "_head_deadline",
        "_http",
        "_quiet_since",
        "_serving",
        "deadline",
        "idle",
        "transport",
        "upgraded",
    )

    def __init__(self, transport: Transport, handlers: Handlers, serving: Serving) -> None:
        self.transport = transport
        self._handlers = handlers
        self._serving = serving
        self._http = Http11(transport, handlers.limits)
        self._failure: BaseException | None = None
        self._drain_scope: trio.CancelScope | None = None
        self._first = True
        self._expired = False
        self._head_deadline = math.inf
        self._quiet_since = math.inf
        self.deadline = math.inf
        self.idle = False
        self.upgraded = False

    async def run(self) -> BaseException | None:
        """Serve the connection until it ends, and close it.

        Returns:
          What a handler raised, once it is logged. What must end the task (Cancelled,
          KeyboardInterrupt, SystemExit) is raised instead, without the rest of its group.
        """
        self._serving.deadlines.waiters.add(self)
        try:
            if isinstance(self.transport, StreamTransport):
                await self.transport.start(self._handlers.limits.tls_handshake_timeout)
            # Not one call for both: nothing of the first is kept while an exchange lasts, maybe for hours.
            while (exchange := await self._next_exchange()) is not None and await exchange:
                del exchange  # nor of that, until the next request comes
        except ConnectionBroken:
            pass  # nobody is left to talk to, and no handler was running
        finally:
            self._serving.deadlines.waiters.discard(self)
            await self.transport.abort()
        failure, self._failure = self._failure, None  # its traceback leads back here
        return failure

    async def turn_away(self) -> None:
        """Tell the client that there is no room for it, and close."""
        try:
            if isinstance(self.transport, StreamTransport):
                await self.transport.start(self._handlers.limits.tls_handshake_timeout)
            await self._end(None, plain(503, "There are too many connections", [("Retry-After", "1")]))
        except ConnectionBroken:
            pass
        finally:
            await self.transport.abort()

    def expire(self) -> None:
        """End the wait for a head: its time is up."""
        self._expired = True
        self.transport.interrupt()

    def close_if_idle(self) -> None:
        """End the wait for a request that has not begun, as the server shuts down."""
        if self.idle:
            self._shorten_wait()
        if self._drain_scope is not None:
            self._drain_scope.cancel()

    async def _next_exchange(self) -> Coroutine[Any, Any, bool] | None:
        """Wait for the next request, and decide what becomes of it.

        Returns:
          What does it, and tells whether another request may follow; None at the connection's end.
        """
        try:
            head = await self._receive_head()
        except ProtocolError as exc:
            return self._end(None, refusal(exc))
        if head is None:
            await self._leave()
            return None
        self._serving.counters.requests += 1
        handlers = self._handlers
        request = Request(head, self.transport, handlers.proxies, self._serving.server)
        if self._is_misdirected(request):
            return self._end(request, plain(421, "https is not served on this connection"))
        if request.method == "CONNECT":
            return self._connect(request)
        try:
            self._http.check_length()
        except BodyTooLarge as exc:
            return self._end(request, refusal(exc))
        if request.upgrade and (handlers.should_upgrade is not None or handlers.on_upgrade is not None):
            try:
                accepted = await self._wants(request)
            except BaseException as exc:
                return self._fail(request, exc)
            if accepted:
                return self._upgrade(request, handlers.on_upgrade) if handlers.on_upgrade is not None else None
        return self._respond(request)

    def _is_misdirected(self, request: Request) -> bool:
        """It asks without TLS for what is to be had with TLS only (RFC 9110 section 7.4)."""
        if request.target[0] == "/" or not request.target.lower().startswith("https://"):
            return False
        proxies = self._handlers.proxies
        return request.scheme == "http" and not (proxies and proxies.trusts_peer(request.peername))

    # ---- the head

    async def _receive_head(self) -> Head | None:
        """Wait for the next request: None if none will come."""
        self._head_deadline = math.inf
        try:
            return await self._wait_for_head()
        finally:
            self.deadline = math.inf
            self.idle = self._expired = self._first = False
            self.transport.clear_interrupt()

    async def _wait_for_head(self) -> Head | None:
        http = self._http
        begun = False
        while (head := http.next_head()) is None:
            if self._expired and begun:
                raise ProtocolError("the request's head did not arrive in time", status=408)
            self._expired = False  # if bytes have come, it was not for them
            begun = http.has_bytes
            self._note_deadline()
            self.idle = not begun
            if self.idle and self._serving.shutting_down:
                self._shorten_wait()
            try:
                more = await http.fill()
            except trio.WouldBlock:
                if begun:
                    continue  # its time is up, or this was to end an earlier wait
                return None
            except trio.BrokenResourceError:
                return None
            if not more:
                if begun:
                    raise ProtocolError("the connection ended in the middle of the request's head")
                return None
        return head

    def _shorten_wait(self) -> None:
        """As the server shuts down, wait for a request only until there has been none for a moment.

        Who has just connected, or has just been answered, may have one on its way, and cannot know
        of the shutdown. On a connection that has been quiet for longer, what is there is still taken.
        """
        self._serving.deadlines.note(self, min(self.deadline, self._quiet_since + QUIET))

    def _note_deadline(self) -> None:
        """Time the wait: for a head from its begin, for the next one from now."""
        limits = self._handlers.limits
        now = trio.current_time()
        begun = self._first or self._http.has_bytes
        seconds = limits.header_timeout if begun else limits.keep_alive_timeout
        deadline = math.inf if seconds is None else now + seconds
        if begun:
            deadline = self._head_deadline = min(self._head_deadline, deadline)
        self._quiet_since = now
        self._serving.deadlines.note(self, deadline)

    async def _leave(self) -> None:
        """End a connection on which nothing is under way: over TLS, not without close_notify."""
        with trio.move_on_after(self._handlers.limits.linger_timeout):
            with contextlib.suppress(trio.BrokenResourceError):
                await self.transport.aclose()

    # ---- ordinary requests

    async def _respond(self, request: Request) -> bool:
        request._attach(Body(self._http))
        try:
            response = await called(self._handlers.on_request(request), "on_request")
            if not isinstance(response, Response):
                raise TypeError(f"on_request returned {response!r}, not a Response")
        except BaseException as exc:
            return await self._fail(request, exc)
        return await self._finish_exchange(request, response)

    async def _finish_exchange(self, request: Request, response: Response, close: bool = False) -> bool:
        """Send the response to a request; True if another request may follow."""
        close = close or self._must_close(request) or response.asks_to_close
        head = b""
        before = self.transport.bytes_sent
        try:
            try:
                head = response.encode(request.method, request.http_version, close)
                self._http.stop_waiting()
                await self._send(head)
                if response.is_streamed and response.has_content(request.method):
                    await self._stream_content(request, response)
            finally:
                self._log_access(request, response, head, before)
                await response.close()
        except BaseException as exc:
            leaves = flatten(exc)
            if all(self._is_peers(leaf, ConnectionBroken) and not isinstance(leaf, ProtocolError) for leaf in leaves):
                raise leaves[0] from None  # our own sending found that nobody is there
            return await self._fail(request, exc, sent=bool(head))
        request.body.close()
        if not close:
            close = not await self._drain()
        if close:
            await self.transport.finish(self._handlers.limits.linger_timeout)
        return not close

    def _must_close(self, request: Request) -> bool:
        """The connection cannot be kept for another request (RFC 9112 section 9.3)."""
        http = self._http
        return (
            request.wants_close
            or self._serving.shutting_down
            or http.body_broken
            or (http.client_waits and not http.body_ended)
            or http.length_left > self._handlers.limits.max_drain
        )

    async def _drain(self) -> bool:
        """Get the rest of the body out of the way; False if the connection cannot be kept."""
        if self._http.body_ended:
            return True
        drained = False
        with trio.CancelScope() as self._drain_scope, contextlib.suppress(ProtocolError, trio.BusyResourceError):
            drained = await self._http.discard_body(self._handlers.limits.max_drain)
        return drained

    async def _send(self, data: bytes) -> None:
        self._http.check_writable()
        await self.transport.send_within(data, self._handlers.limits.send_timeout)

    async def _stream_content(self, request: Request, response: Response) -> None:
        """Send streamed content as it is made, never ahead of what the peer takes."""
        length, chunked = response.framing(request.http_version)
        sent = 0
        async with open_content(response) as items:
            async for item in items:
                if not isinstance(item, bytes | bytearray | memoryview):
                    raise TypeError(f"streamed content is made of bytes, not {type(item).__name__}")
                data = bytes(item)
                sent += len(data)
                if length is not None and sent > length:
                    raise RuntimeError(f"Content-Length is {length}, but the content is longer")
                if data:
                    await self._send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        if length is not None and sent < length:
            raise RuntimeError(f"Content-Length is {length}, but the content has {sent} bytes")
        if chunked:
            await self._send(b"0\r\n\r\n")

    async def _end(self, request: Request | None, response: Response) -> bool:
        """Send a last response of our own, and close."""
        head = response.encode(request.method if request else "GET", "1.1", close=True)
        before = self.transport.bytes_sent
        try:
            await self._send(head)
        finally:
            self._log_access(request, response, head, before)
        await self.transport.finish(self._handlers.limits.linger_timeout)
        return False

    # ---- upgrades and CONNECT

    async def _wants(self, request: Request) -> bool:
        """Whether this upgrade request is accepted (Node's shouldUpgradeCallback)."""
        should_upgrade = self._handlers.should_upgrade
        if should_upgrade is None:
            return True
        answer = should_upgrade(request)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    def _connect(self, request: Request) -> Coroutine[Any, Any, bool]:
        if request.http_version == "1.0":
            return self._end(request, plain(400, "CONNECT needs HTTP/1.1"))
        if self._handlers.on_connect is None:
            # RFC 9110 section 15.5.6 wants Allow, and this target allows nothing.
            return self._end(request, plain(405, "CONNECT is not served here", [("Allow", "")]))
        return self._upgrade(request, self._handlers.on_connect)

    async def _upgrade(self, request: Request, handler: UpgradeHandler) -> bool:
        limits = self._handlers.limits
        stream = upgraded_stream(self._http, self.transport, limits)
        request._attach(Body(self._http), stream)
        self._serving.deadlines.waiters.discard(self)
        begun = self._begin_upgraded()
        try:
            try:
                response = await called(handler(request, stream), "the upgrade handler")
                self._check_returned(request, stream, response)
            finally:
                self._end_upgraded(request, stream, *begun)
        except BaseException as exc:
            stream.mark_closed()
            request.body.close()
            return await self._fail(request, exc, sent=stream.was_written or stream.was_closed)
        stream.mark_closed()
        if response is None:
            request.body.close()
            await self.transport.finish(limits.linger_timeout)
            return False
        self._serving.deadlines.waiters.add(self)
        return await self._finish_exchange(request, response, close=stream.was_read or request.method == "CONNECT")

    def _begin_upgraded(self) -> tuple[float, int, int]:
        """Count a handler that has the connection: since when, and what went through before, in and out."""
        self._serving.counters.upgrades += 1
        self.upgraded = True
        transport = self.transport
        return trio.current_time(), transport.bytes_received - self._http.buffered, transport.bytes_sent

    def _end_upgraded(self, request: Request, stream: UpgradedStream, begin: float, received: int, sent: int) -> None:
        self.upgraded = False
        if stream.was_written and _access.is_on():
            received, sent = self.transport.bytes_received - received, self.transport.bytes_sent - sent
            _access.log_upgraded(request, received, sent, trio.current_time() - begin)

    def _check_returned(self, request: Request, stream: UpgradedStream, response: Response | None) -> None:
        if response is None:
            if not stream.was_written and not stream.was_closed:
                logger.warning("%r: the upgrade handler returned without accepting or declining; closed", request)
        elif not isinstance(response, Response):
            raise TypeError(f"the upgrade handler returned {response!r}, neither None nor a Response")
        elif stream.was_written or stream.was_closed:
            raise RuntimeError("the upgrade handler returned a Response after it had used the stream")
        elif request.method == "CONNECT" and response.status < 300:
            raise RuntimeError(
                f"a CONNECT is accepted with `await request.accept()`, not with status {response.status}"
            )

    # ---- logs and failures

    def _log_access(self, request: Request | None, response: Response, head: bytes, before: int) -> None:
        """Note a response, of which `head` was to be the first part sent."""
        if head and _access.is_on():
            size = self.transport.bytes_sent - before - head.index(b"\r\n\r\n") - 4
            _access.log_response(request, response.status, max(size, 0))

    async def _fail(self, request: Request, exc: BaseException, sent: bool = False) -> bool:
        """A handler raised: log it, answer it if nothing was sent, and end the connection."""
        if others := self._log(request, exc):
            raise others
        self._failure = exc
        if not sent:
            leaves = flatten(exc)
            peers = all(self._is_peers(leaf, ProtocolError) for leaf in leaves)
            await self._end(request, refusal(leaves[0]) if peers else plain(500, "Internal Server Error"))
        return False

    def _is_peers(self, exc: BaseException, kind: type[ConnectionBroken]) -> bool:
        """This was the fault of this connection's peer."""
        return isinstance(exc, kind) and exc.transport in (self.transport, self.transport.stream)

    def _log(self, request: Request, exc: BaseException) -> BaseException | None:
        """Log the exceptions in `exc`, and return what is no `Exception`: that ends the task."""
        handled: BaseException | None
        others: BaseException | None
        if isinstance(exc, BaseExceptionGroup):
            handled, others = exc.split(Exception)
        else:
            handled, others = (exc, None) if isinstance(exc, Exception) else (None, exc)
        if handled is not None:
            peers = all(self._is_peers(leaf, ConnectionBroken) for leaf in flatten(handled))
            if not peers:
                self._serving.counters.handler_errors += 1
            level = logging.DEBUG if peers else logging.ERROR
            logger.log(level, "%r: the handler raised", request, exc_info=handled)
        return others


def called(answer: Awaitable[T], what: str) -> Awaitable[T]:
    """What a handler's call gave, if that can be awaited."""
    if not inspect.isawaitable(answer):
        raise TypeError(f"{what} must be an async function, but its call returned {answer!r}")
    return answer


def plain(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Response:
    """A one-line response of our own."""
    return Response(status, text + "\n", headers or ())


def refusal(exc: BaseException) -> Response:
    """What tells a client that it broke the protocol."""
    assert isinstance(exc, ProtocolError)
    return plain(exc.status, str(exc), list(exc.headers))
