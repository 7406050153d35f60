"""The body of a request: where it ends, what bounds it, and what follows it.

h11 decodes the body one piece at a time: one chunk's line, some data, or the trailer section. So each
piece can be held to its limit and to the grammar where h11 is forgiving, and h11 never sees a byte
from after the message. What follows the body is simply what is still in the buffer.

This module knows nothing of handlers, responses or what an upgrade is for.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from enum import Enum
from functools import partial

import h11
import trio
from trio.lowlevel import checkpoint

from ._exceptions import BodyTooLarge, ConnectionBroken, Malformed, ProtocolError
from ._expect_continue import owes_continue, send_continue
from ._http11 import Http11
from ._limits import Limits
from ._request_chunks import Chunks
from ._request_head import Head, check_trailers, parse
from ._sending_state import Reply
from ._transport import RECEIVE_SIZE, Transport

__all__ = ["Body", "IncomingBody"]

DISCARDED = "the body was discarded when the upgraded stream was first read"
NO_LONGER = "this body was already closed"


class Stage(Enum):
    """How much of a body has arrived."""

    ARRIVING = "ARRIVING"
    ENDED = "ENDED"  # all of it was read, or there is no body
    BROKEN = "BROKEN"  # it is malformed, cut off, too large or too late: nothing after it can be trusted


ARRIVING, ENDED, BROKEN = Stage


class IncomingBody:
    """The receiving side of one exchange: the request's body, then what follows it.

    Args:
      http: the buffer, in which the body begins.
      transport: where the rest of it comes from.
      head: the head of the request.
      limits: what bounds the body.
      reply: sends the 100 (Continue) before the first read.

    Attributes:
      length_left: how many bytes of a body with a Content-Length are unread; 0 for a chunked one.
      being_read: a task is inside of a read.
    """

    _error: Callable[[], ProtocolError]  # makes the error that every read raises

    __slots__ = (
        "_chunks",
        "_closed_because",
        "_error",
        "_http",
        "_limits",
        "_parser",
        "_patience",
        "_reply",
        "_size",
        "_stage",
        "_transport",
        "being_read",
        "length_left",
    )

    def __init__(self, http: Http11, transport: Transport, head: Head, limits: Limits, reply: Reply) -> None:
        self._http = http
        self._transport = transport
        self._limits = limits
        self._reply = reply
        self._closed_because: str | None = None  # why the handler cannot read it any more
        self.being_read = False
        self.length_left = head.length
        if head.length or head.chunked:
            self._stage = ARRIVING
            self._parser = head.parser
            self._chunks = Chunks(limits.max_header_size) if head.chunked else None
            self._size = 0  # bytes that were read, with the overhead of chunks
            self._patience = math.inf if limits.request_timeout is None else limits.request_timeout
        else:
            self._stage = ENDED

    @property
    def has_ended(self) -> bool:
        """All of it was read."""
        return self._stage is ENDED

    @property
    def is_broken(self) -> bool:
        """Neither the rest of it nor what follows can be read."""
        return self._stage is BROKEN

    @property
    def buffered(self) -> int:
        """How many bytes have arrived that were not read: of it, and after it."""
        return len(self._http.buffer)

    @property
    def is_over(self) -> bool:
        """All of it was read, nothing else is in the buffer, and no task reads: the transport comes next."""
        return self._stage is ENDED and not self._http.buffer and not self.being_read

    def check_length(self) -> None:
        """Refuse a body whose Content-Length is over `Limits.max_body_size`.

        Raises:
          BodyTooLarge: it is.
        """
        limit = self._limits.max_body_size
        if limit is not None and self.length_left > limit:
            raise self.too_large(limit)

    def too_large(self, limit: int) -> BodyTooLarge:
        """The error of a body that has more than `limit` bytes."""
        return BodyTooLarge(f"the request's body is longer than {limit} bytes", self._transport)

    def close(self) -> None:
        """Make every later read by the handler raise."""
        if self._closed_because is None:
            self._closed_because = NO_LONGER

    # ---- reading

    async def receive(self, max_bytes: int) -> bytes:
        """Read at most `max_bytes` of it for the handler; see `Body.receive_some`."""
        if self._closed_because is NO_LONGER:
            raise trio.ClosedResourceError(NO_LONGER)
        self._begin_reading()
        try:
            if self._closed_because is not None:
                raise trio.ClosedResourceError(self._closed_because)
            await checkpoint()
            return await self._receive(max_bytes)
        finally:
            self.being_read = False

    async def discard(self, limit: float) -> bool:
        """Read the rest of it, and throw that away.

        Returns:
          Whether its end came within `limit` bytes on the wire.
        """
        self._begin_reading()
        try:
            return await self._discard(limit)
        finally:
            self.being_read = False

    async def take_leftover(self, max_bytes: int | None) -> bytes:
        """Take bytes that arrived after it, out of the buffer. Returns b"" if there are no such bytes.

        The rest of the body is discarded first. Cancelled, it has taken nothing.
        """
        self._begin_reading()
        try:
            await send_continue(self._reply)
            if self._stage is not ENDED:
                await self._discard(math.inf)
            await checkpoint()
            return self._http.take(len(self._http.buffer) if max_bytes is None else max_bytes)
        finally:
            self.being_read = False

    def _begin_reading(self) -> None:
        if self.being_read:
            raise trio.BusyResourceError("another task is already reading from this request")
        self.being_read = True

    async def _discard(self, limit: float) -> bool:
        if self._closed_because is None:
            self._closed_because = DISCARDED
        if self._stage is ENDED:
            return True
        most = self._size + limit
        while self._size <= most:
            await checkpoint()
            if not await self._receive(RECEIVE_SIZE):
                return True
        return False

    async def _receive(self, max_bytes: int) -> bytes:
        """The next piece, b"" at the end; nothing is awaited once the piece is out of the buffer."""
        if self._stage is ARRIVING and owes_continue(self._reply):
            await send_continue(self._reply)
        while self._stage is ARRIVING:
            try:
                data = self._take(max_bytes)
            except Malformed as exc:
                self._break(partial(ProtocolError, str(exc), self._transport, status=exc.status))
            else:
                if data:
                    return data
                if data is None:
                    await self._fill()
        if self._stage is BROKEN:
            raise self._error()
        return b""

    # ---- waiting for more

    async def _fill(self) -> None:
        """Wait for more bytes, for what is left of `Limits.request_timeout`."""
        begin = trio.current_time()
        data = None
        try:
            with trio.CancelScope(deadline=begin + self._patience):
                data = await self._transport.receive_some(RECEIVE_SIZE)
        except ConnectionBroken as exc:
            return self._break_off(f"the peer vanished in the middle of the request's body: {exc}")
        finally:
            self._patience -= trio.current_time() - begin
        if data:
            self._http.buffer += data
        elif data is not None:
            self._break_off("the peer closed in the middle of the request's body")
        else:
            self._break_off(f"the request's body did not arrive within {self._limits.request_timeout} seconds", 408)

    def _break_off(self, message: str, status: int = 400) -> None:
        self._break(partial(ProtocolError, message, self._transport, status=status))

    def _break(self, error: Callable[[], ProtocolError]) -> None:
        """Remember why nothing more can be read. A new error for each read keeps no traceback alive."""
        self._stage = BROKEN
        self._error = error

    # ---- the pieces

    def _take(self, max_bytes: int) -> bytes | None:
        """The next piece that the buffer holds: None if more must arrive first, b"" if there is no more."""
        while True:
            size = self._next_size(max_bytes)
            if not size:
                return None
            limit = self._limits.max_body_size
            self._size += size
            if limit is not None and self._size > limit:
                self._break(partial(self.too_large, limit))
                return b""
            assert self._parser is not None
            self._parser.receive_data(self._http.take(size))
            data = self._parse(self._parser)
            if data or self._stage is ENDED:
                return data

    def _next_size(self, max_bytes: int) -> int:
        """How many bytes at the front of the buffer h11 gets next; 0 if too few are there."""
        buffer = self._http.buffer
        if self._chunks is None:
            size = min(self.length_left, len(buffer), max_bytes)
            self.length_left -= size
            return size
        size = self._chunks.next_piece(buffer, max_bytes)
        if self._chunks.trailers and size:
            check_trailers(bytes(buffer[:size]), self._limits.max_headers)
        return size

    def _parse(self, parser: h11.Connection) -> bytes:
        """What h11 makes of one piece: at most one event with data."""
        data = b""
        while True:
            event = parse(parser)
            if isinstance(event, h11.Data):
                data = bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._stage = ENDED
                self._parser = None
                return data
            elif event is h11.NEED_DATA:
                return data


class Body(trio.abc.ReceiveStream):
    """The body of a request, without its framing.

    Reading sends the 100 (Continue) first if the client waits for one. Reading may go on while the
    response is sent. If a handler leaves some of it unread, the server discards that.
    """

    __slots__ = ("_incoming",)

    def __init__(self, incoming: IncomingBody) -> None:
        self._incoming = incoming

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the next part of the body.

        Args:
          max_bytes: how many bytes it may have; None for as many as have arrived, up to 96 KiB.

        Returns:
          b"" at the end, and at every call after that.

        Raises:
          ProtocolError: the body is malformed, was cut off, or did not arrive within
            `Limits.request_timeout`. Every later call raises it, too.
          BodyTooLarge: it is longer than `Limits.max_body_size`.
          trio.ClosedResourceError: it was closed, its request was answered, or it was discarded
            because the upgraded stream was read.
          trio.BusyResourceError: another task reads the body or the upgraded stream.

        Cancelled, it has taken no byte.
        """
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        return await self._incoming.receive(max_bytes)

    async def read(self, *, limit: int = 2**20) -> bytes:
        """Read the body to its end.

        Args:
          limit: how many bytes it may have, by default 1 MiB.

        Raises:
          BodyTooLarge: it has more. If you don't catch it, the client gets a 413.
          ProtocolError, trio.ClosedResourceError, trio.BusyResourceError: see `receive_some`.

        Cancelled, it loses what it has read so far.
        """
        if self._incoming.length_left > limit:
            await checkpoint()
            raise self._incoming.too_large(limit)
        parts = []
        size = 0
        while part := await self.receive_some():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise self._incoming.too_large(limit)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Read no more of the body. The server discards the rest of it."""
        self._incoming.close()
        await checkpoint()
