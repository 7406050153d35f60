"""The response of one exchange, when it is written by a task that may go on running after it.

The connection's own task waits meanwhile, and goes on with the next request once the response is complete.

This module knows nothing of what an application is, nor when a connection can be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import trio

from ._headers import FieldsArgument
from ._request import Request
from ._request_body import IncomingBody
from ._response_content import FileContent
from ._response_head import ResponseHead, has_content
from ._response_sending import StreamSending, send_bytes, send_file
from ._sending_state import Reply
from ._upgraded_stream import UpgradedStream

__all__ = ["ResponseWriter", "Writing"]


class Writing(Enum):
    """How far a response is, for the connection's task that waits for it."""

    OPEN = "it may be written"
    COMPLETE = "all of it was sent"
    SWITCHED = "the connection was handed over, and whoever had it is done with it"
    FAILED = "who writes it raised before it was complete"
    LOST = "the connection is gone, or this exchange has ended"


OPEN, COMPLETE, SWITCHED, FAILED, LOST = Writing


class ResponseWriter:
    """Writes the response of one exchange.

    The task that writes it calls one of `send_bytes`, `send_file`, or `begin`, `send` and `finish`; or `fail`; or
    it accepts an upgrade, and calls `end_switched` at last. The connection's task calls `wait` and `abandon`.

    Args:
      request, body, reply: of the exchange.
      stream: the upgraded stream of a request that can be accepted; None for another.
      must_end: whether the connection is closed after a response. It is told whether the head of that says so.

    Attributes:
      closes: the response has said that the connection is closed after it.
      failure: what was given to `fail`.
      status: of the response; 0 before it was begun.
      state: how far it is.
    """

    __slots__ = (
        "_ended",
        "_must_end",
        "_sending",
        "body",
        "closes",
        "failure",
        "reply",
        "request",
        "state",
        "status",
        "stream",
    )

    def __init__(
        self,
        request: Request,
        body: IncomingBody,
        reply: Reply,
        stream: UpgradedStream | None,
        must_end: Callable[[bool], bool],
    ) -> None:
        self.request = request
        self.body = body
        self.reply = reply
        self.stream = stream
        self.closes = False
        self.failure: BaseException | None = None
        self.status = 0
        self.state = OPEN
        self._ended = trio.Event()
        self._must_end = must_end
        self._sending: StreamSending | None = None

    # ---- for the task that writes. What these raise is told by `fail`, or by `abandon` if the peer is gone.

    async def send_bytes(self, head: ResponseHead, content: bytes) -> None:
        """Send a response whose content is all there."""
        wanted = has_content(head, self.request.method)
        await send_bytes(self.reply, head, content, wanted, self._begin(head))
        self._complete()

    async def send_file(self, head: ResponseHead, content: FileContent) -> None:
        """Send a response whose content is a file."""
        wanted = has_content(head, self.request.method)
        await send_file(self.reply, head, content, wanted, self._begin(head))
        self._complete()

    def begin(self, head: ResponseHead) -> None:
        """Begin a response that is sent piece by piece. Nothing is sent yet."""
        request = self.request
        self._sending = StreamSending(self.reply, head, request.method, request.http_version, self._begin(head))

    async def send(self, item: object) -> None:
        """Send one piece of the content."""
        assert self._sending is not None
        if self._sending.wanted:
            await self._sending.send(item)

    async def finish(self, item: object = b"", trailers: FieldsArgument = ()) -> None:
        """Send the last piece, and the trailers where they can be sent."""
        assert self._sending is not None
        await self._sending.finish(item, trailers)
        self._complete()

    def end_switched(self) -> None:
        """The connection was handed over, and is not needed any more."""
        self._end(SWITCHED)

    def fail(self, exc: BaseException) -> None:
        """The response cannot be completed. The client gets an error response if nothing was sent."""
        self.failure = exc
        self._end(FAILED)

    def _begin(self, head: ResponseHead) -> bool:
        self.status = head.status
        self.closes = self._must_end(head.asks_to_close)
        return self.closes

    def _complete(self) -> None:
        self.reply.complete()
        self._end(COMPLETE)

    def _end(self, state: Writing) -> None:
        if self.state is OPEN:
            self.state = state
            self._ended.set()

    # ---- for the connection's task

    async def wait(self) -> None:
        """Wait until it is not OPEN any more."""
        await self._ended.wait()

    def abandon(self) -> None:
        """Nothing more can be sent: the connection is gone, or this exchange has ended."""
        self._end(LOST)
