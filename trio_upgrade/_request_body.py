"""The body of a request as it arrives: what bounds it, who reads it, and what follows it.

Its bytes come out of the buffer first, then from the transport, and go through the decoder of its framing.
What follows the body is simply what is still in the buffer.

This module knows nothing of handlers, responses or what an upgrade is for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

import trio
from trio.lowlevel import checkpoint

from ._exceptions import BodyTooLarge, ConnectionBroken, Malformed, ProtocolError
from ._expect_continue import owes_continue, send_continue
from ._http11 import Http11
from ._limits import Limits
from ._request_body_states import ARRIVING, BROKEN, CLOSED, DISCARDED, ENDED, OPEN
from ._request_framing import Framing, framing_of
from ._request_head import Head
from ._sending_state import Reply
from ._transport import RECEIVE_SIZE, Transport

__all__ = ["IncomingBody"]

AHEAD = 64 * 1024  # bytes that are read before anybody asks for them, to find out whether the client has left


class IncomingBody:
    """The receiving side of one exchange: the request's body, then what follows it.

    Args:
      http: the buffer, in which the body begins.
      transport: where the rest of it comes from.
      head: the head of the request.
      limits: what bounds the body.
      reply: sends the 100 (Continue) before the first read.

    Attributes:
      being_read: a task is inside of a read.
    """

    _error: Callable[[], ProtocolError]  # makes the error that every read raises

    __slots__ = (
        "_access",
        "_ahead",
        "_error",
        "_framing",
        "_http",
        "_limits",
        "_patience",
        "_received",
        "_receiving",
        "_reply",
        "_size",
        "_stage",
        "_transport",
        "being_read",
    )

    def __init__(self, http: Http11, transport: Transport, head: Head, limits: Limits, reply: Reply) -> None:
        self._http = http
        self._transport = transport
        self._limits = limits
        self._reply = reply
        self._access = OPEN
        self._ahead: trio.Event | None = None  # set when the task that reads ahead has got bytes, or ends
        self._receiving = False  # a read waits for bytes of the transport
        self._received: trio.Event | None = None  # set when it has them; None while nobody waits for that
        self.being_read = False
        if head.length or head.chunked:
            self._stage = ARRIVING
            self._framing: Framing | None = framing_of(head, limits.max_header_size, limits.max_headers)
            self._size = 0  # bytes that were read, with the overhead of chunks
            self._patience = math.inf if limits.request_timeout is None else limits.request_timeout
        else:
            self._stage = ENDED
            self._framing = None

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
    def size(self) -> int:
        """How many bytes of it were read, with the overhead of chunks."""
        return 0 if self._framing is None else self._size

    @property
    def is_over(self) -> bool:
        """All of it was read, nothing else is in the buffer, and no task reads: the transport comes next."""
        return self._stage is ENDED and not self._http.buffer and not self.being_read

    @property
    def length_left(self) -> int:
        """How many bytes of a body with a Content-Length are unread; 0 for a chunked one."""
        return 0 if self._framing is None else self._framing.length_left

    @property
    def may_be_read(self) -> bool:
        """A handler may read it, and there is more of it to come."""
        return self._access is OPEN and self._stage is ARRIVING

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
        if self._access is OPEN:
            self._access = CLOSED

    async def send_interim(self, head: bytes) -> None:
        """Send an interim response on the connection. If the client waits for a 100 (Continue), it still does.

        Raises:
          RuntimeError: the response was begun.
          ConnectionBroken: the peer does not take it, or an earlier one was cut short.
        """
        await self._reply.send_interim(head)

    # ---- reading

    async def receive(self, max_bytes: int) -> bytes:
        """Read at most `max_bytes` of it for the handler; see `Body.receive_some`."""
        if self._access is CLOSED:
            raise trio.ClosedResourceError(CLOSED.value)
        self._claim_read()
        try:
            if self._access is not OPEN:
                raise trio.ClosedResourceError(self._access.value)
            return await self._receive(max_bytes)
        finally:
            self.being_read = False

    async def ends_within(self, limit: int) -> bool:
        """Whether its end is certain to be among the next `limit` bytes: of a chunked body, if it has arrived.

        It waits for nothing. If another task reads the body, nothing is certain.
        """
        if self._stage is not ARRIVING or self.being_read:
            return self._stage is ENDED
        if self.length_left:
            return self.length_left <= limit
        if self._limits.max_body_size is not None:
            limit = min(limit, self._limits.max_body_size - self._size)
        self._claim_read()
        try:
            return await self._chunks_end_within(limit)
        finally:
            self.being_read = False

    async def _chunks_end_within(self, limit: int) -> bool:
        ahead, at = copy.copy(self._framing), 0
        assert ahead is not None
        while not ahead.has_ended:
            await checkpoint()
            try:
                _, used = ahead.decode(self._http.buffer[at:limit], RECEIVE_SIZE)
            except Malformed:
                return False
            at += used
            if not used:
                if len(self._http.buffer) >= limit or not (arrived := await self._wait_for_more(0)):
                    return False
                self._http.buffer += arrived
        return True

    async def discard(self, limit: float) -> bool:
        """Read the rest of it, and throw that away.

        Returns:
          Whether its end came within `limit` bytes on the wire.
        """
        self._claim_read()
        try:
            return await self._discard(limit)
        finally:
            self.being_read = False

    async def take_leftover(self, max_bytes: int | None) -> bytes:
        """Take bytes that arrived after it, out of the buffer. Returns b"" if there are no such bytes.

        The rest of the body is discarded first. Cancelled, it has taken nothing.
        """
        self._claim_read()
        try:
            await send_continue(self._reply)
            if self._stage is not ENDED:
                await self._discard(math.inf)
            await checkpoint()
            return self._http.take(len(self._http.buffer) if max_bytes is None else max_bytes)
        finally:
            self.being_read = False

    async def read_ahead(self) -> bool:
        """Read the transport into the buffer, until that has `AHEAD` bytes or the peer leaves.

        Meanwhile a read of the body waits for what this puts there. One that waits for the transport already
        has what comes first. Cancelled, it has lost nothing.

        Returns:
          Whether the peer has left.
        """
        buffer = self._http.buffer
        try:
            while len(buffer) < AHEAD:
                self._ahead = trio.Event()
                if self._receiving:
                    self._received = trio.Event()
                    await self._received.wait()
                data = await self._transport.receive_some()
                if not data:
                    return True
                buffer += data
                self._ahead.set()
        except ConnectionBroken:
            return True
        finally:
            if self._ahead is not None:
                self._ahead.set()
                self._ahead = None
        return False

    def _claim_read(self) -> None:
        if self.being_read:
            raise trio.BusyResourceError("another task is already reading from this request")
        self.being_read = True

    async def _discard(self, limit: float) -> bool:
        if self._access is OPEN:
            self._access = DISCARDED
        if self._stage is ENDED:
            return True
        most = self._size + limit
        while self._size <= most:
            if not await self._receive(RECEIVE_SIZE):
                return True
        return False

    async def _receive(self, max_bytes: int) -> bytes:
        """The next piece, b"" at the end; nothing is awaited once bytes were taken."""
        if self._http.buffer or self._stage is not ARRIVING:
            await checkpoint()
        if self._stage is ARRIVING and owes_continue(self._reply):
            await send_continue(self._reply)
        arrived: bytes | bytearray = b""
        while self._stage is ARRIVING:
            if piece := self._next_piece(arrived, max_bytes):
                return piece
            if self._stage is ARRIVING:
                more = await self._wait_for_more(self._patience)
                arrived = more or b""
                if more is None and self._stage is ARRIVING:
                    self._break_off(
                        f"the request's body did not arrive within {self._limits.request_timeout} seconds", 408
                    )
                arrived = more or b""
        if self._stage is BROKEN:
            raise self._error()
        return b""

    async def _wait_for_more(self, patience: float) -> bytes | bytearray | None:
        """Wait for more bytes, for so many seconds; None if none came. What it waits counts as `request_timeout`.

        If a task reads ahead, they are in the buffer, and b"" is returned.

        Of a body with a length, they are at most its rest. What follows stays in the kernel, from where the
        next head, or the upgraded stream, has it without another copy.
        """
        begin = trio.current_time()
        size = min(self.length_left or RECEIVE_SIZE, RECEIVE_SIZE)
        data: bytes | bytearray | None = None
        try:
            if self._ahead is not None:
                with trio.CancelScope(deadline=begin + patience):
                    await self._ahead.wait()
                    return b""
            else:
                self._receiving = True
                data = await self._transport.receive_before(begin + patience, size)
        except ConnectionBroken as exc:
            self._break_off(f"the peer vanished in the middle of the request's body: {exc}")
            return b""
        finally:
            self._patience -= trio.current_time() - begin
            self._receiving = False
            if self._received is not None:
                self._received.set()
                self._received = None
        if data is not None and not data:
            self._break_off("the peer closed in the middle of the request's body")
        return data

    def _next_piece(self, arrived: bytes | bytearray, max_bytes: int) -> bytes:
        """The next piece of what is in the buffer and has just arrived; b"" if more must arrive, or nothing will."""
        buffer = self._http.buffer
        if buffer:
            buffer += arrived
            piece, used = self._decode(buffer, max_bytes)
            del buffer[:used]
        else:  # most of a large body: it need not go through the buffer
            piece, used = self._decode(arrived, max_bytes)
            if used < len(arrived):
                buffer += memoryview(arrived)[used:]
        return piece

    def _decode(self, data: bytes | bytearray, max_bytes: int) -> tuple[bytes, int]:
        assert self._framing is not None
        try:
            piece, used = self._framing.decode(data, max_bytes)
        except Malformed as exc:
            self._break(partial(ProtocolError, str(exc), self._transport, status=exc.status))
            return b"", 0
        self._size += used
        limit = self._limits.max_body_size
        if limit is not None and self._size > limit:
            self._break(partial(self.too_large, limit))
            return b"", used
        if self._framing.has_ended:
            self._stage = ENDED
        return piece, used

    def _break_off(self, message: str, status: int = 400) -> None:
        self._break(partial(ProtocolError, message, self._transport, status=status))

    def _break(self, error: Callable[[], ProtocolError]) -> None:
        """Remember why nothing more can be read. A new error for each read keeps no traceback alive."""
        self._stage = BROKEN
        self._error = error
