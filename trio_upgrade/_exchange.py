"""One exchange: a request, its handler, and the response that is sent.

It decides whether the connection can be kept for another request.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

import trio

from . import _access_log
from ._error_responses import HANDLER_FAILED, error_response
from ._exceptions import ConnectionBroken, ProtocolError, flatten, is_failure_of
from ._expect_continue import owes_continue, send_continue
from ._handler_failures import log_failure
from ._limits import Limits
from ._request import Request, attach, mark_over
from ._request_body import IncomingBody
from ._response import Response, asks_to_close, is_streamed
from ._response_sending import send_response
from ._sending_state import AWAITED, UNFRAMED, Reply
from ._serving_state import ServingState
from ._settings import RequestHandler
from ._transport import Transport

__all__ = ["Exchange", "awaitable", "send_last_response"]

T = TypeVar("T")


class Exchange:
    """A request and its answer.

    `respond`, `send_response`, `answer_failure` and `refuse` end it. They return True if the connection can take
    another request.

    Args:
      request: the request.
      must_close: the connection cannot be kept for another request.
      body: the request's body.
      reply: what is sent.
      transport, limits, serving: of the connection.

    Attributes:
      closes: the response says that the connection is closed after it.
      failure: what a handler raised, once it is logged and answered.
      may_answer: the handler has not closed the connection.
    """

    __slots__ = (
        "body",
        "closes",
        "failure",
        "limits",
        "may_answer",
        "must_close",
        "reply",
        "request",
        "serving",
        "transport",
    )

    def __init__(
        self,
        request: Request,
        must_close: bool,
        body: IncomingBody,
        reply: Reply,
        transport: Transport,
        limits: Limits,
        serving: ServingState,
    ) -> None:
        self.request = request
        self.must_close = must_close
        self.body = body
        self.reply = reply
        self.transport = transport
        self.limits = limits
        self.serving = serving
        self.closes = False
        self.failure: BaseException | None = None
        self.may_answer = True

    async def respond(self, handler: RequestHandler) -> bool:
        """Let `on_request` make a response, and send it."""
        attach(self.request, self.body)
        try:
            response = await awaitable(handler(self.request), "on_request")
            if not isinstance(response, Response):
                raise TypeError(f"on_request returned {response!r}, not a Response")
        except BaseException as exc:
            await self.stop_watching()
            log_failure(self.request, exc, self.serving.counters)
            return await self.answer_failure(exc)
        return await self.send_response(response)

    async def send_response(self, response: Response) -> bool:
        """Send the response that a handler returned."""
        self.must_close = self.must_close or asks_to_close(response)
        try:
            try:
                if not self.body.has_ended or self.must_close or self.serving.shutdown.has_begun:
                    await self._decide_to_close()
                await self._send(response)
            finally:
                if _access_log.is_on():
                    self.log_access(response.status)
                await self.stop_watching()
        except BaseException as exc:
            return await self.end_cut_short(exc)
        return await self.end()

    async def end_cut_short(self, exc: BaseException) -> bool:
        """End the exchange after `exc` has kept its response from being sent, or from being sent whole."""
        try:
            if self.reply.sent is UNFRAMED:  # an ordinary end would make it look whole (RFC 9112 section 8)
                await self.transport.reset()
            if is_failure_of(self.transport, exc) and not any(isinstance(leaf, ProtocolError) for leaf in flatten(exc)):
                self.serving.client_failures.log(self.request, f"the response was cut short: {exc}")
                return False  # our own sending found that nobody is there
            log_failure(self.request, exc, self.serving.counters)
            return await self.answer_failure(exc)
        finally:
            del exc  # its traceback leads here

    async def end(self) -> bool:
        """End the exchange after its response was sent: discard the rest of the body, or close."""
        self.body.close()
        if not self.closes and await self._drain():
            return True
        await self.transport.linger(self.limits.linger_timeout)
        return False

    def _send(self, response: Response) -> Coroutine[Any, Any, None]:
        to = self.reply, response, self.request.method, self.request.http_version, self.closes
        if not is_streamed(response):
            return send_response(*to)
        sending = send_response(*to, self._before_streaming)
        assert self.serving.nursery is not None
        return self.serving.peers.run_until_reset(self.transport, self.serving.nursery, sending)

    async def stop_watching(self) -> None:
        """Take note that the response was sent, or cannot be: nobody waits for the client's disconnect from now on."""
        if (disconnect := mark_over(self.request)) is not None:
            await disconnect.close()

    def log_access(self, status: int) -> None:
        """Log the response with this status, as far as it was sent."""
        if self.reply.sent.has_begun and _access_log.is_on():
            _access_log.log_response(self.request, status, self.reply.content_size)

    async def decide_to_close(self, asked: bool, streamed: bool) -> bool:
        """Decide whether the connection closes after a response that is about to be sent; returns `closes`.

        Args:
          asked: the head of the response says so.
          streamed: its content is not all there; see `_before_streaming`.
        """
        self.must_close = self.must_close or asked
        if streamed:
            return await self._before_streaming()
        if not self.body.has_ended or self.must_close or self.serving.shutdown.has_begun:
            await self._decide_to_close()
        return self.closes

    async def _before_streaming(self) -> bool:
        """Prepare for the head of streamed content, whose maker may still read the body; returns `closes`.

        Once the client has the head, it does not wait for a 100 (Continue), and may never send the body.
        """
        if self.body.may_be_read and owes_continue(self.reply):
            await send_continue(self.reply)
        await self._decide_to_close()
        return self.closes

    async def _decide_to_close(self) -> None:
        """Decide whether the connection closes after the response (RFC 9112 section 9.3).

        It does if an unread body may be longer than what is discarded: the client has to know before it sends its
        next request after that (section 9.6).
        """
        body = self.body
        self.closes = self.must_close or self.serving.shutdown.has_begun
        if not self.closes and not body.has_ended:
            self.closes = self.reply.sent is AWAITED or not await body.ends_within(self.limits.max_drain)

    async def _drain(self) -> bool:
        """Discard the rest of the body; False if the connection cannot be kept."""
        if self.body.has_ended:
            return True
        drained = False
        try:
            with self.serving.shutdown.cancel_scope(), contextlib.suppress(trio.BusyResourceError):
                drained = await self.body.discard(self.limits.max_drain)
        except ProtocolError as exc:
            self.serving.client_failures.log(self.request, exc)
        return drained

    async def answer_failure(self, exc: BaseException) -> bool:
        """Answer what a handler raised, once it is logged, if nothing was sent, and close."""
        if self.may_answer and not self.reply.sent.has_begun:
            response = HANDLER_FAILED
            leaf = flatten(exc)[0]
            if isinstance(leaf, ProtocolError) and is_failure_of(self.transport, exc, ProtocolError):
                response = error_response(leaf)
            with contextlib.suppress(ConnectionBroken):  # nobody is left to talk to
                await self.refuse(response)
        self.failure = exc  # not before: its traceback leads back here, and a cancellation would keep the cycle
        return False

    async def refuse(self, response: Response) -> bool:
        """Send a last response of the server's own, and close."""
        await send_last_response(self.reply, response, self.request)
        await self.transport.linger(self.limits.linger_timeout)
        return False


async def send_last_response(reply: Reply, response: Response, to: Request | str | None) -> None:
    """Send a response of the server's own, which says `Connection: close`, and log it.

    Args:
      to: the request; if what it answers was not a request, the client's IP address, or None.

    Raises:
      ConnectionBroken: the peer does not take it.
    """
    try:
        await send_response(reply, response, to.method if isinstance(to, Request) else "GET", "1.1", close=True)
    finally:
        if _access_log.is_on():
            _access_log.log_response(to, response.status, reply.content_size)


def awaitable(answer: Awaitable[T], what: str) -> Awaitable[T]:
    """What a handler's call gave, if that can be awaited."""
    if not inspect.isawaitable(answer):
        raise TypeError(f"{what} must be an async function, but its call returned {answer!r}")
    return answer
