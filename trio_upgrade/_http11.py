"""HTTP/1.1 on a transport: the next request's head, its body, and the bytes left behind it.

It decides which bytes are read as what: exactly one head, then, for h11 to decode, one chunk's line,
one piece of data or one trailer section at a time. So each can be held to its limit and to the
grammar where h11 is forgiving, and h11 never sees a byte from behind the message: what is left over
is simply what is still in the buffer. A message has a parser of its own; no state outlives it.

It knows nothing of handlers, responses or what an upgrade is for.
"""

from __future__ import annotations

import math
from typing import NoReturn

import h11
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from ._chunks import Chunks
from ._exceptions import BodyTooLarge, ConnectionBroken, ProtocolError
from ._head import Head, check_trailers, parse, read_head
from ._limits import Limits
from ._transport import RECEIVE_SIZE, Transport

__all__ = ["Http11"]

LATE_READS = 16  # of what came in time and is read late; a peer that goes on sending gets no more

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http11:
    """One connection's requests, one after the other.

    Attributes:
      body_ended: the whole body of the current request has been read (or there is none).
    """

    __slots__ = (
        "_body_deadline",
        "_body_size",
        "_broken",
        "_buffer",
        "_chunks",
        "_continue_cut",
        "_continue_lock",
        "_discarded",
        "_late_reads",
        "_length_left",
        "_limits",
        "_parser",
        "_reader",
        "_searched",
        "_skipped_blank_line",
        "_transport",
        "body_ended",
    )

    def __init__(self, transport: Transport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._skipped_blank_line = False
        self._reader = _OneAtATime()
        self._start_body(None)

    # ---- the head

    @property
    def has_bytes(self) -> bool:
        """Bytes have arrived that no message has taken yet."""
        return bool(self._buffer)

    @property
    def buffered(self) -> int:
        """How many of them."""
        return len(self._buffer)

    async def fill(self) -> bool:
        """Wait for more bytes of a head.

        Returns:
          False at the peer's end of data.

        Raises:
          trio.WouldBlock: the transport was interrupted, and nothing was there.
        """
        data = await self._transport.receive_interruptibly()
        self._buffer += data
        return bool(data)

    def next_head(self) -> Head | None:
        """Take the next request's head out of what has arrived; None if it is not whole yet.

        Raises:
          ProtocolError: for a head that is malformed, too large, or not one of HTTP/1.0 or 1.1.
        """
        data = self._take_head()
        if data is None:
            return None
        head = read_head(data, self._limits.max_headers)
        self._start_body(head)
        return head

    def _take_head(self) -> bytes | None:
        buffer, limit = self._buffer, self._limits.max_header_size
        # RFC 9112 section 2.2: an empty line in front of the request line is to be ignored.
        if not self._skipped_blank_line and buffer[:1] == b"\r":
            if len(buffer) == 1:
                return None
            if buffer[1:2] == b"\n":
                del buffer[:2]
                self._skipped_blank_line = True
        if not buffer:
            return None
        if buffer[0] <= 0x20 or buffer[0] >= 0x7F:  # TLS on a plain port, say: do not wait for a blank line
            raise self._refusal("this is not an HTTP request", 400)
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
        size = end if end > 3 else len(buffer)
        if size > limit:
            self._refuse_size(limit)
        if end == 3:
            self._check_lines(size)
            self._searched = size
            return None
        self._searched = 0
        self._skipped_blank_line = False
        return self._take(size)

    def _check_lines(self, size: int) -> None:
        """Refuse bare LFs before the end: it may never come (RFC 9112 section 2.2, and a way to smuggle)."""
        lines = self._buffer.count(b"\r\n", max(0, self._searched - 1), size)
        if self._buffer.count(b"\n", self._searched, size) != lines:
            raise ProtocolError("a line of the request's head does not end with CRLF")

    def _refuse_size(self, limit: int) -> NoReturn:
        if self._buffer.find(b"\r\n", 0, limit) < 0:  # RFC 9112 section 3: it is the target that is too long
            raise self._refusal(f"the request line is longer than {limit} bytes", 414)
        raise self._refusal(f"the request's head is larger than {limit} bytes", 431)

    def _start_body(self, head: Head | None) -> None:
        """Forget the last body; wait for that of `head`."""
        self._length_left = 0
        self._chunks: Chunks | None = None
        self._broken: tuple[str, int] | None = None
        self._discarded = False
        self._body_size = 0
        self._body_deadline = math.inf
        self._late_reads = 0
        self._continue_lock: trio.Lock | None = None
        self._continue_cut = False
        self._parser: h11.Connection | None = None
        self.body_ended = True
        if head is not None and head.parser is not None:
            self._expect_body(head, head.parser)

    def _expect_body(self, head: Head, parser: h11.Connection) -> None:
        if parser.they_are_waiting_for_100_continue and not self._buffer:
            self._continue_lock = trio.Lock()
        if head.chunked or head.length:
            self._parser = parser
            self._length_left = head.length
            self._chunks = Chunks(self._limits.max_header_size) if head.chunked else None
            self.body_ended = False
            if self._limits.request_timeout is not None:
                self._body_deadline = trio.current_time() + self._limits.request_timeout

    # ---- the body

    @property
    def length_left(self) -> int:
        """How many bytes of a body with a Content-Length are still unread; 0 for a chunked one."""
        return self._length_left

    @property
    def is_being_read(self) -> bool:
        """A task is inside of a read."""
        return self._reader.is_taken

    @property
    def body_broken(self) -> bool:
        """Nothing more of the body can be trusted, nor what comes behind it."""
        return self._broken is not None

    def check_length(self) -> None:
        """Refuse a body that says beforehand that it is too large.

        Raises:
          BodyTooLarge: `Content-Length` is over `Limits.max_body_size`.
        """
        limit = self._limits.max_body_size
        if limit is not None and self._length_left > limit:
            raise self.too_large(limit)

    def too_large(self, limit: int) -> BodyTooLarge:
        """The error of a body that has more than `limit` bytes."""
        return BodyTooLarge(f"the request's body is longer than {limit} bytes", self._transport)

    async def receive_body(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Read at most `max_bytes` of the body: b"" at its end.

        Raises:
          ProtocolError: the body is malformed, was cut off, or did not arrive in time. So does
            every later call.
          BodyTooLarge: it is over `Limits.max_body_size`.
          trio.ClosedResourceError: it was discarded.
        """
        with self._reader:
            if self._discarded:
                raise trio.ClosedResourceError("the body was discarded when the upgraded stream was first read")
            await checkpoint()
            return await self._receive_body(max_bytes)

    async def discard_body(self, limit: float = math.inf) -> bool:
        """Read what is left of the body, and throw it away.

        Returns:
          Whether its end came within `limit` bytes on the wire.
        """
        with self._reader:
            return await self._discard_body(limit)

    async def _discard_body(self, limit: float) -> bool:
        self._discarded = True
        most = self._body_size + limit
        while self._body_size <= most:
            await checkpoint()
            if not await self._receive_body(RECEIVE_SIZE):
                return True
        return False

    async def _receive_body(self, max_bytes: int) -> bytes:
        """The next piece; nothing is awaited once it is out of the buffer."""
        if not self.body_ended:
            await self.send_continue()
        while not self.body_ended:
            self._raise_if_broken()
            try:
                data = self._take_body(max_bytes)
            except ProtocolError as exc:
                self._fail(str(exc), exc.status)
                continue
            if data:
                return data
            if data is None:
                await self._fill_body()
        return b""

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            message, status = self._broken
            if status == 413:
                raise BodyTooLarge(message, self._transport)
            raise self._refusal(message, status)

    async def _fill_body(self) -> None:
        try:
            data = await self._receive_in_time()
        except ConnectionBroken as exc:
            return self._fail(f"the peer vanished in the middle of the request's body: {exc}", 400)
        except trio.WouldBlock:
            seconds = self._limits.request_timeout
            return self._fail(f"the request's body did not arrive within {seconds} seconds", 408)
        if not data:
            return self._fail("the peer closed in the middle of the request's body", 400)
        self._buffer += data

    async def _receive_in_time(self) -> bytes | bytearray:
        """Bytes that come before the body's deadline, or came before it and were not read."""
        with trio.CancelScope(deadline=self._body_deadline):
            if self._body_deadline > trio.current_time():
                return await self._transport.receive_some(RECEIVE_SIZE)
        self._late_reads += 1
        if self._late_reads > LATE_READS:
            raise trio.WouldBlock
        self._transport.interrupt()
        try:
            return await self._transport.receive_interruptibly(RECEIVE_SIZE)
        finally:
            self._transport.clear_interrupt()

    def _take_body(self, max_bytes: int) -> bytes | None:
        """The next piece that the buffer holds: None for nothing yet, b"" when there is no more."""
        while True:
            if self._chunks is not None:
                size = self._chunks.next_piece(self._buffer, max_bytes)
                if self._chunks.trailers and size:
                    check_trailers(bytes(self._buffer[:size]), self._limits.max_headers)
            else:
                size = min(self._length_left, len(self._buffer), max_bytes)
                self._length_left -= size
            if not size:
                return None
            limit = self._limits.max_body_size
            self._body_size += size
            if limit is not None and self._body_size > limit:
                raise self.too_large(limit)
            assert self._parser is not None
            self._parser.receive_data(self._take(size))
            data = self._parse_body()
            if data or self.body_ended:
                return data

    def _parse_body(self) -> bytes:
        """What the parser makes of one piece: at most one event with data."""
        data = b""
        while True:
            assert self._parser is not None
            event = parse(self._parser)
            if isinstance(event, h11.Data):
                data = bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.body_ended = True
                self._parser = None
            if self.body_ended or event is h11.NEED_DATA:
                return data

    def _fail(self, message: str, status: int) -> None:
        """Remember why nothing more of the body, or from behind it, can be trusted."""
        self._broken = (message, status)

    def _refusal(self, message: str, status: int) -> ProtocolError:
        return ProtocolError(message, self._transport, status=status)

    # ---- 100 (Continue)

    @property
    def client_waits(self) -> bool:
        """The client holds its body back until it sees a 100 (RFC 9110 section 10.1.1).

        One that has begun to send does not wait any more.
        """
        return self._continue_lock is not None

    def stop_waiting(self) -> None:
        """The client has begun to send, or is being answered: a 100 would come too late."""
        self._continue_lock = None

    async def send_continue(self) -> None:
        """Send the 100 (Continue) if the client still waits for it, once.

        Cancelled, it has sent nothing, or has broken the connection.

        Raises:
          ConnectionBroken: an earlier attempt was cancelled when a part of it may have been sent.
        """
        if self._continue_lock is None:
            return
        async with self._continue_lock:
            self.check_writable()
            if not self.client_waits:
                return
            await checkpoint_if_cancelled()
            self._continue_cut = True
            await self._transport.send_within(CONTINUE, self._limits.send_timeout)
            self._continue_cut = False
            self.stop_waiting()

    def check_writable(self) -> None:
        """Make sure that nothing is written behind half a 100.

        Raises:
          ConnectionBroken: a cancelled send may have cut one short.
        """
        if self._continue_cut:
            raise ConnectionBroken("a cancelled send may have cut the 100 (Continue) short", self._transport)

    # ---- behind the body

    async def take_leftover(self, max_bytes: int | None) -> bytes:
        """Bytes that arrived behind the body: b"" if there are none (any more).

        What is left of the body is discarded first. Cancelled, it has taken nothing.
        """
        with self._reader:
            await self.send_continue()
            if not self.body_ended:
                await self._discard_body(math.inf)
            await checkpoint()
            return self._take(len(self._buffer) if max_bytes is None else max_bytes)

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data


class _OneAtATime:
    """Lets one task read, and refuses a second with `trio.BusyResourceError`."""

    __slots__ = ("is_taken",)

    def __init__(self) -> None:
        self.is_taken = False

    def __enter__(self) -> None:
        if self.is_taken:
            raise trio.BusyResourceError("another task is already reading from this request")
        self.is_taken = True

    def __exit__(self, *exc_info: object) -> None:
        self.is_taken = False
