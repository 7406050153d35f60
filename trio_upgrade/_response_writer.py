"""The response of one exchange, when it is written by a task that may go on running after it.

The connection's own task waits meanwhile, and goes on with the next request once the response is complete.

This module knows nothing of what an application is, nor when a connection can be kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial

import trio

from ._headers import FieldsArgument
from ._request import Request
from ._request_body import IncomingBody
from ._response_content import FileContent
from ._response_head import ResponseHead, has_content
from ._response_sending import StreamSending, encode_whole, send_file
from ._sending_state import Reply
from ._upgraded_stream import UpgradedStream

__all__ = ["ResponseWriter", "Writing"]


class Writing(Enum):
    """How far a response is, for the connection's task that waits for it."""

    OPEN = "it may be written"
    COMPLETE = "all of it was sent"
    SWITCHED = "the connection was handed over, and whoever had it is done with it"
    FAILED = "it cannot be completed: see `failure`"
    LEFT = "the client has left, or the connection's task waits no longer: nobody takes it"


OPEN, COMPLETE, SWITCHED, FAILED, LEFT = Writing


class ResponseWriter:
    """Writes the response of one exchange.

    The task that writes it calls either `send_bytes`, or `send_file`, or `begin`, `send` and `finish`. If that is not
    possible, it calls `fail` or `leave`. If it accepts an upgrade, it calls `end_switched` at last. The connection's
    task calls `wait` and `leave`.

    Args:
      request, body, reply: of the exchange.
      stream: the upgraded stream of a request that can be accepted; None for another.
      decide_to_close: see `Exchange.decide_to_close`.

    Attributes:
      failure: what was given to `fail`.
      status: of the response; 0 before it was begun.
      state: how far it is.
    """

    __slots__ = (
        "_decide_to_close",
        "_ended",
        "_sending",
        "body",
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
        decide_to_close: Callable[[bool, bool], Awaitable[bool]],
    ) -> None:
        self.request = request
        self.body = body
        self.reply = reply
        self.stream = stream
        self.failure: BaseException | None = None
        self.status = 0
        self.state = OPEN
        self._ended = trio.Event()
        self._decide_to_close = decide_to_close
        self._sending: StreamSending | None = None

    # ---- for the task that writes

    async def send_bytes(self, head: ResponseHead, content: bytes) -> None:
        """Send a response whose content is all there. Not always a checkpoint.

        Raises:
          RuntimeError: the content does not have its Content-Length.
          ConnectionBroken, trio.ClosedResourceError: the peer does not take it, or the connection is closed.
        """
        self.status = head.status
        closes = await self._decide_to_close(head.asks_to_close, False)
        wanted = has_content(head, self.request.method)
        await self.reply.send_whole(*encode_whole(head, content, wanted, closes))
        self._complete()

    async def send_file(self, head: ResponseHead, content: FileContent) -> None:
        """Send a response whose content is a file.

        Raises:
          OSError: the file cannot be read.
          And what `send_bytes` raises.
        """
        self.status = head.status
        closes = await self._decide_to_close(head.asks_to_close, False)
        await send_file(self.reply, head, content, has_content(head, self.request.method), closes)
        self._complete()

    def begin(self, head: ResponseHead) -> None:
        """Begin a response that is sent piece by piece. Nothing is sent yet."""
        self.status = head.status
        request = self.request
        wanted = has_content(head, request.method)
        decide = partial(self._decide_to_close, head.asks_to_close, True)
        self._sending = StreamSending(self.reply, head, wanted, request.http_version, decide)

    async def send(self, item: object) -> None:
        """Send one piece of the content; see `StreamSending.send`."""
        assert self._sending is not None
        await self._sending.send(item)

    async def finish(self, item: object = b"", trailers: FieldsArgument = ()) -> None:
        """Send the last piece, and the trailers where they can be sent; see `StreamSending.finish`."""
        assert self._sending is not None
        await self._sending.finish(item, trailers)
        self._complete()

    def end_switched(self) -> None:
        """The connection was handed over, and is not needed any more."""
        self._end(SWITCHED)

    def fail(self, exc: BaseException) -> None:
        """The response cannot be completed. The client gets an error response if nothing was sent."""
        if self.state is OPEN:
            self.failure = exc
            self._end(FAILED)

    def _complete(self) -> None:
        self.reply.complete()
        self._end(COMPLETE)

    # ---- for the connection's task

    async def wait(self) -> None:
        """Wait until it is not OPEN any more."""
        await self._ended.wait()

    def leave(self) -> None:
        """Send nothing more, and no error response either: nobody would take it. Too late, it does nothing."""
        self._end(LEFT)

    def _end(self, state: Writing) -> None:
        if self.state is OPEN:
            self.state = state
            self._ended.set()
