"""The upgraded stream: the connection itself, once HTTP has let go of it.

Each direction begins with a condition, and costs nothing more once that is met. Receiving begins after
the request's body: the rest of that is discarded, then come the bytes that arrived after it, then those
of the transport. Sending begins with a status line: a 101, unless the handler writes a head of its own.
When a direction is live, its methods return the transport's own coroutines.

This module knows nothing of requests, handlers or responses.
"""

from __future__ import annotations

import operator
from collections.abc import Coroutine
from enum import Enum
from typing import Any

import trio
from trio.lowlevel import checkpoint

from ._expect_continue import owes_continue, send_continue
from ._request_body import IncomingBody
from ._sending_state import SWITCHED, Reply
from ._transport import Buffer, Transport

__all__ = ["UpgradedStream", "release", "switch", "take_over", "was_closed", "was_read"]

STATUS_LINE = b"HTTP/1."


class Receiving(Enum):
    """Where the stream's next bytes come from."""

    BODY = "nothing was read of the stream: the request's body may still be read apart from it"
    BUFFER = "the stream was read: the rest of the body is discarded, then the buffer is next"
    LIVE = "from the transport"
    CLOSED = "the stream was closed by `aclose`"
    RELEASED = "the stream was taken over, or its handler has returned"


BODY, BUFFER, LIVE, CLOSED, RELEASED = Receiving
SHUT = (CLOSED, RELEASED)


class UpgradedStream(trio.abc.HalfCloseableStream):
    """The stream that an upgrade handler gets.

    `receive_some` discards the unread rest of the request's body, and gives the bytes that arrived
    after it, then those of the live connection. A cancelled read has taken no byte.

    Before `Request.accept` is called, only the head of a response can be sent: the first bytes must
    begin with `HTTP/1.`.

    `aclose` ends our side, reads and discards until the peer ends its own, for as long as
    `Limits.linger_timeout` says, and closes. If it is cancelled, it closes at once. When the
    handler returns, the server does the same.
    """

    __slots__ = ("_body", "_linger_timeout", "_receiving", "_reply", "_transport")

    def __init__(self, body: IncomingBody, reply: Reply, transport: Transport, linger_timeout: float) -> None:
        self._body = body
        self._reply = reply
        self._transport = transport
        self._linger_timeout = linger_timeout
        self._receiving = BODY

    def __repr__(self) -> str:
        closed = " closed" if self._receiving in SHUT else ""
        return f"<UpgradedStream {self._transport.peername!r}{closed}>"

    # These methods are not `async def`, so a live stream adds no frame to the transport's own.

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes | bytearray]:
        """Receive some data; see `trio.abc.ReceiveStream.receive_some`.

        The first call sends the 100 (Continue) if the client waits for one, and discards what is
        unread of the request's body.

        Args:
          max_bytes: how many bytes it may have; None for as many as have arrived, up to 96 KiB.

        Returns:
          b"" at the peer's end.

        Raises:
          ProtocolError: the body is malformed, was cut off or came too late, so nothing after it
            can be read.
          trio.BrokenResourceError: the connection broke. ProtocolError is one, too.
          trio.BusyResourceError: another task reads this stream or the request's body.
          trio.ClosedResourceError: this stream is closed.

        Cancelled, it has taken no byte.
        """
        if self._receiving is LIVE or self._go_live_at_once():
            return self._transport.receive_some(max_bytes)
        return self._receive_first(max_bytes)

    def _go_live_at_once(self) -> bool:
        """Receive from the transport from now on, if nothing else comes first; returns whether it does."""
        if self._receiving in SHUT or owes_continue(self._reply) or not self._body.is_over:
            return False
        self._receiving = LIVE
        return True

    async def _receive_first(self, max_bytes: int | None) -> bytes | bytearray:
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        self._check_open()
        self._receiving = BUFFER
        if leftover := await self._body.take_leftover(max_bytes):
            return leftover
        self._check_open()
        self._receiving = LIVE
        return await self._transport.receive_some(max_bytes)

    def send_all(self, data: Buffer) -> Coroutine[Any, Any, None]:
        """Send all of `data`; see `trio.abc.SendStream.send_all`.

        Raises:
          TypeError: `data` is not bytes.
          RuntimeError: no response has been sent yet, and this is not the head of one. Most likely
            `await request.accept()` was forgotten.
          trio.BrokenResourceError: the connection broke.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream is closed, or `send_eof` was called.

        Cancelled, it may have sent a part.
        """
        if isinstance(data, str):
            raise TypeError(f"send_all takes bytes, not a str: send_all({data[:20]!r}.encode())?")
        if self._reply.sent is SWITCHED and self._receiving is not CLOSED and self._receiving is not RELEASED:
            return self._transport.send_all(data)
        return self._send_first(data)

    async def _send_first(self, data: Buffer) -> None:
        self._check_open()
        if not data:
            return await checkpoint()
        if bytes(data[:7]) != STATUS_LINE[: len(data)]:
            raise RuntimeError("nothing can be sent yet: call `await request.accept()` first")
        await switch(self, bytes(data))

    def send_nowait(self, data: Buffer) -> int:
        """Hand the kernel what it takes at once. It never waits, and is not a checkpoint.

        Over TLS, what was encrypted and the kernel does not take, at most 64 KiB, counts as taken: it
        is sent as soon as the peer makes room, before anything else. Until then, 0 is returned.

        Returns:
          How many bytes were taken, from the front of `data`; 0 if sending would block.

        Raises:
          NotImplementedError: the connection was not accepted by the server itself from a socket.
          RuntimeError: no response has been sent yet.
          trio.BrokenResourceError: the connection broke.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream is closed, or `send_eof` was called.
        """
        if self._reply.sent is not SWITCHED or self._receiving in SHUT:
            self._check_accepted()
        return self._transport.send_nowait(data)

    def wait_send_all_might_not_block(self) -> Coroutine[Any, Any, None]:
        """Wait until `send_all` might not block; see `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_open()
        return self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End our side, and go on receiving; see `trio.abc.HalfCloseableStream.send_eof`.

        Over TLS, it sends close_notify, and the socket stays open. Many peers close the connection
        when they receive that, though TLS allows them to go on.

        Raises:
          NotImplementedError: the connection is a stream that cannot do it, such as a `trio.SSLStream`.
          RuntimeError: no response has been sent yet.
          trio.BrokenResourceError: the connection broke.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream is closed.
        """
        self._check_accepted()
        await self._transport.send_eof()

    async def aclose(self) -> None:
        """End our side, discard what the peer still sends for a while, and close.

        Tasks that wait on this stream wake with `trio.ClosedResourceError`. Cancelled, it closes
        at once, also if another task is closing it.
        """
        if self._receiving in SHUT:
            try:
                return await checkpoint()
            except trio.Cancelled:
                if self._receiving is CLOSED:
                    await self._transport.abort()
                raise
        self._receiving = CLOSED
        await self._transport.linger(self._linger_timeout)
        await checkpoint()

    def _check_accepted(self) -> None:
        self._check_open()
        if self._reply.sent is not SWITCHED:
            raise RuntimeError("nothing can be sent yet: call `await request.accept()` first")

    def _check_open(self) -> None:
        if self._receiving in SHUT:
            raise trio.ClosedResourceError("this stream was already closed")


def switch(stream: UpgradedStream, head: bytes) -> Coroutine[Any, Any, None]:
    """Send the head of the response that hands the connection over, after a 100 (Continue) if one is due.

    If it is cancelled, either nothing was sent and it can be called again, or the connection is broken.

    Raises:
      RuntimeError: a response was sent already.
      trio.ClosedResourceError: the stream is closed, or its handler has returned.
      ConnectionBroken: the peer took nothing of it in time, or an earlier call was cut short.
    """
    stream._check_open()
    if owes_continue(stream._reply):
        return _continue_and_switch(stream, head)
    return stream._reply.switch(head)


async def _continue_and_switch(stream: UpgradedStream, head: bytes) -> None:
    await send_continue(stream._reply)
    stream._check_open()
    await stream._reply.switch(head)


def was_read(stream: UpgradedStream) -> bool:
    """Whether the stream's first read has begun, or it was closed."""
    return stream._receiving is not BODY


def was_closed(stream: UpgradedStream) -> bool:
    """Whether its handler has closed it."""
    return stream._receiving is CLOSED


def release(stream: UpgradedStream) -> None:
    """Let every later operation raise `trio.ClosedResourceError`. The connection stays as it is."""
    stream._receiving = RELEASED


def take_over(stream: UpgradedStream) -> UpgradedStream:
    """The same stream, for a protocol that takes it over. Whoever has the old object finds it closed."""
    heir = UpgradedStream(stream._body, stream._reply, stream._transport, stream._linger_timeout)
    heir._receiving = stream._receiving
    release(stream)
    return heir
