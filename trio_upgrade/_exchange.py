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
from ._handler_failures import log_failure
from ._limits import Limits
from ._request import Request, attach, mark_over
from ._request_body import IncomingBody
from ._response import Response, asks_to_close, is_streamed
from ._response_sending import send_response
from ._sending_state import AWAITED, Reply
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
      failure: what a handler raised, once it is logged.
      may_answer: the handler has not closed the connection.
    """

    __slots__ = ("body", "failure", "limits", "may_answer", "must_close", "reply", "request", "serving", "transport")

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
            return await self.answer_failure(exc)
        return await self.send_response(response)

    async def send_response(self, response: Response) -> bool:
        """Send the response that a handler returned."""
        close = self._cannot_keep() or asks_to_close(response)
        try:
            try:
                await self._send(response, close)
            finally:
                self._log_access(response)
                if (disconnect := mark_over(self.request)) is not None:
                    await disconnect.close()
        except BaseException as exc:
            if is_failure_of(self.transport, exc) and not any(isinstance(leaf, ProtocolError) for leaf in flatten(exc)):
                return False  # our own sending found that nobody is there
            return await self.answer_failure(exc)
        self.body.close()
        if not close:
            close = not await self._drain()
        if close:
            await self.transport.linger(self.limits.linger_timeout)
        return not close

    def _send(self, response: Response, close: bool) -> Coroutine[Any, Any, None]:
        sending = send_response(self.reply, response, self.request.method, self.request.http_version, close)
        return self._until_reset(sending) if is_streamed(response) else sending

    async def _until_reset(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send streamed content until the client resets the connection."""
        assert self.serving.nursery is not None
        with self.serving.peers.cancel_on_reset(self.transport, self.serving.nursery) as scope:
            return await sending
        if scope.cancelled_caught:
            raise ConnectionBroken("the client has reset the connection", self.transport)

    def _log_access(self, response: Response) -> None:
        if self.reply.sent.has_begun and _access_log.is_on():
            _access_log.log_response(self.request, response.status, self.reply.content_size)

    def _cannot_keep(self) -> bool:
        """The connection cannot be kept for another request (RFC 9112 section 9.3)."""
        body = self.body
        return (
            self.must_close
            or self.serving.shutdown.has_begun
            or body.is_broken
            or (self.reply.sent is AWAITED and not body.has_ended)
            or body.length_left > self.limits.max_drain
        )

    async def _drain(self) -> bool:
        """Discard the rest of the body; False if the connection cannot be kept."""
        if self.body.has_ended:
            return True
        drained = False
        with self.serving.shutdown.cancel_scope(), contextlib.suppress(ProtocolError, trio.BusyResourceError):
            drained = await self.body.discard(self.limits.max_drain)
        return drained

    async def answer_failure(self, exc: BaseException) -> bool:
        """Log what a handler raised, answer it if nothing was sent, and close.

        Raises:
          BaseException: the part of it that must end the task.
        """
        if (disconnect := mark_over(self.request)) is not None:
            await disconnect.close()
        if others := log_failure(self.request, exc, self.serving.counters):
            raise others
        self.failure = exc
        if self.may_answer and not self.reply.sent.has_begun:
            response = HANDLER_FAILED
            leaf = flatten(exc)[0]
            if isinstance(leaf, ProtocolError) and is_failure_of(self.transport, exc, ProtocolError):
                response = error_response(leaf)
            with contextlib.suppress(ConnectionBroken):  # nobody is left to talk to
                await self.refuse(response)
        return False

    async def refuse(self, response: Response) -> bool:
        """Send a last response of the server's own, and close."""
        await send_last_response(self.reply, response, self.request)
        await self.transport.linger(self.limits.linger_timeout)
        return False


async def send_last_response(reply: Reply, response: Response, request: Request | None = None) -> None:
    """Send a response of the server's own, which says `Connection: close`, and log it.

    Raises:
      ConnectionBroken: the peer does not take it.
    """
    try:
        await send_response(reply, response, request.method if request else "GET", "1.1", close=True)
    finally:
        if _access_log.is_on():
            _access_log.log_response(request, response.status, reply.content_size)


def awaitable(answer: Awaitable[T], what: str) -> Awaitable[T]:
    """What a handler's call gave, if that can be awaited."""
    if not inspect.isawaitable(answer):
        raise TypeError(f"{what} must be an async function, but its call returned {answer!r}")
    return answer
