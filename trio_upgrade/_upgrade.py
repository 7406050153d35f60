"""The upgraded stream: what the connection is once HTTP has let go of it.

It has two ends that begin with a condition and then cost nothing. Receiving begins behind the
request's body: what is unread of that is discarded, then come the bytes that arrived behind it.
Sending begins with a status line: a 101, unless the handler writes a head of its own. Once its
condition is met, an end *is* the transport's: its methods hand out the transport's own coroutines.

It knows nothing of requests, handlers or responses.
"""

from __future__ import annotations

import operator
from collections.abc import Coroutine
from typing import Any

import trio
from trio.lowlevel import checkpoint

from ._exceptions import ConnectionBroken
from ._http11 import Http11
from ._limits import Limits
from ._transport import Buffer, SocketTransport, StreamTransport, Transport

__all__ = ["UpgradedStream", "upgraded_stream"]

STATUS_LINE = b"HTTP/1."


class UpgradedStream(trio.abc.Stream):
    """The stream that an upgrade handler gets.

    `receive_some` gives, in this order: nothing of the request's body, of which the unread rest is
    discarded; the bytes that arrived behind it; then the live connection. A cancelled read has
    taken no byte.

    Before `Request.accept`, the only thing that may be sent is a head: the first bytes must begin
    with `HTTP/1.`.

    `aclose` ends our side, reads and discards for at most `Limits.linger_timeout` seconds until
    the peer ends its own, and closes; cancelled, it closes at once. Returning from the handler
    does the same.
    """

    __slots__ = (
        "_closed",
        "_http",
        "_limits",
        "_receiving_live",
        "_sending_live",
        "_switching",
        "_transport",
        "was_closed",
        "was_read",
        "was_written",
    )

    def __init__(self, http: Http11, transport: Transport, limits: Limits) -> None:
        self._http = http
        self._transport = transport
        self._limits = limits
        self._closed = False
        self._receiving_live = False
        self._sending_live = False
        self._switching = False
        self.was_closed = False  # by its handler; these three tell the connection what is still possible
        self.was_read = False
        self.was_written = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.peername!r}{' closed' if self._closed else ''}>"

    # Not `async def`: a live stream adds no frame to the transport's own.

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes | bytearray]:
        """Receive some data; see `trio.abc.ReceiveStream.receive_some`.

        Sends the 100 (Continue) first if the client waits for it, and discards what is unread of
        the request's body.

        Raises:
          ProtocolError: the body is malformed, was cut off or came too late, so that nothing
            behind it can be trusted.
          trio.BrokenResourceError: the connection broke. ProtocolError is one, too.
          trio.BusyResourceError: another task reads this stream or the request's body.
          trio.ClosedResourceError: this stream is closed.
        """
        if self._receiving_live or self._go_live_at_once():
            return self._transport.receive_some(max_bytes)
        return self._receive_first(max_bytes)

    def _go_live_at_once(self) -> bool:
        """Receive from the transport from now on, if nothing is unread in front of that; whether it is so."""
        http = self._http
        if self._closed or http.has_bytes or http.client_waits or not http.body_ended or http.is_being_read:
            return False
        self.was_read = self._receiving_live = True
        return True

    async def _receive_first(self, max_bytes: int | None) -> bytes | bytearray:
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        self._check_open()
        self.was_read = True
        if leftover := await self._http.take_leftover(max_bytes):
            return leftover
        self._check_open()
        self._receiving_live = True
        return await self._transport.receive_some(max_bytes)

    def send_all(self, data: Buffer) -> Coroutine[Any, Any, None]:
        """Send all of `data`; see `trio.abc.SendStream.send_all`.

        Raises:
          RuntimeError: nothing has been sent yet, and this is not the head of a response: most
            likely `await request.accept()` was forgotten.
          trio.BrokenResourceError: the connection broke.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream is closed, or `send_eof` was called.
        """
        if self._sending_live:
            return self._transport.send_all(data)
        return self._send_first(data)

    async def _send_first(self, data: Buffer) -> None:
        self._check_open()
        if not data:
            return await checkpoint()
        if bytes(data[:7]) != STATUS_LINE[: len(data)]:
            raise RuntimeError("nothing can be sent yet: call `await request.accept()` first")
        await self.switch(bytes(data))

    async def switch(self, head: bytes) -> None:
        """Send the head of the response that hands the connection over, behind a 100 if one is due.

        Cancelled, it has sent nothing and can be called again, or has broken the connection.

        Raises:
          RuntimeError: something was sent already.
          ConnectionBroken: the peer took no byte of it within `Limits.send_timeout`.
        """
        self._check_open()
        self._check_unwritten()
        await self._http.send_continue()
        self._check_open()
        self._check_unwritten()
        await trio.lowlevel.checkpoint_if_cancelled()
        self.was_written = self._switching = True
        try:
            await self._transport.send_within(head, self._limits.send_timeout)
        finally:
            self._switching = False
        self._sending_live = True

    def _check_unwritten(self) -> None:
        if self._sending_live or self._switching:
            raise RuntimeError("a response was already sent on this stream")
        if self.was_written:
            raise ConnectionBroken("a cancelled send may have cut the response's head short", self._transport)

    def wait_send_all_might_not_block(self) -> Coroutine[Any, Any, None]:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_open()
        return self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """End our side, discard what the peer still sends for a while, and close.

        Tasks that wait on this stream wake with `trio.ClosedResourceError`. Cancelled, it closes
        at once, also if another task is closing it.
        """
        if self._closed:
            try:
                return await checkpoint()
            except trio.Cancelled:
                if self.was_closed:
                    await self._transport.abort()
                raise
        self.mark_closed()
        self.was_closed = True
        await self._transport.finish(self._limits.linger_timeout)
        await checkpoint()

    def hand_over(self) -> UpgradedStream:
        """The same stream for a protocol that takes it over; this one is closed for whoever else has it."""
        heir = type(self)(self._http, self._transport, self._limits)
        heir._receiving_live = self._receiving_live
        heir._sending_live = self._sending_live
        heir.was_written = self.was_written
        self.mark_closed()
        return heir

    def mark_closed(self) -> None:
        """Let every later operation raise `trio.ClosedResourceError`."""
        self._closed = True
        self._receiving_live = self._sending_live = False

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was already closed")


class HalfCloseableUpgradedStream(UpgradedStream, trio.abc.HalfCloseableStream):
    """An upgraded stream whose transport can end one direction and keep the other."""

    __slots__ = ()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`.

        Raises:
          RuntimeError: no response has been sent yet.
        """
        self._check_open()
        if not self._sending_live:
            raise RuntimeError("nothing was sent yet that could end: call `await request.accept()` first")
        await self._transport.send_eof()


class SocketUpgradedStream(HalfCloseableUpgradedStream):
    """An upgraded stream right on a socket."""

    __slots__ = ()
    _transport: SocketTransport

    def send_nowait(self, data: Buffer) -> int:
        """Hand the kernel what it takes at once; never waits, and is no checkpoint.

        Returns:
          How many bytes were taken, from the front of `data`; 0 when sending would block.

        Raises:
          RuntimeError: no response has been sent yet.
          trio.BrokenResourceError: the connection broke.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream is closed, or `send_eof` was called.
        """
        if not self._sending_live:
            self._check_open()
            raise RuntimeError("nothing can be sent yet: call `await request.accept()` first")
        return self._transport.send_nowait(data)


def upgraded_stream(http: Http11, transport: Transport, limits: Limits) -> UpgradedStream:
    """The upgraded stream that can do what `transport` can."""
    if isinstance(transport, SocketTransport):
        return SocketUpgradedStream(http, transport, limits)
    if isinstance(transport, StreamTransport) and isinstance(transport.stream, trio.abc.HalfCloseableStream):
        return HalfCloseableUpgradedStream(http, transport, limits)
    return UpgradedStream(http, transport, limits)
