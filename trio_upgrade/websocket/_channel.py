"""The WebSocket: a channel of messages, and how it ends.

`receive` reads the connection itself, so an idle WebSocket costs no task of its own. Nobody reads
while the application is busy elsewhere: then, for pings to be answered, the keepalive starts a task
that reads ahead into a bounded buffer, and that retires as soon as somebody receives.
"""

from __future__ import annotations

import logging
import math
from typing import Generic, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled
from websockets.frames import Close, CloseCode, Opcode

from .._exceptions import flatten
from .._request import Request, transport_of
from ._closing import ORDERLY, ConnectionClosed, Violation, close_payload
from ._deflate import Deflate
from ._frames import FIN, encode_frame, encode_message
from ._inbox import Inbox
from ._options import Options
from ._outgoing import Outgoing
from ._pings import Pings

__all__ = ["WebSocket"]

T = TypeVar("T", str, bytes, str | bytes)

logger = logging.getLogger("trio_upgrade")


class WebSocket(trio.abc.Channel[T], Generic[T]):
    """An open WebSocket, as a channel of messages: str for text, bytes for binary.

    It is made by `accept`. Several tasks may send at once, and one receive.

    Attributes:
      request: the request of its handshake.
      subprotocol: the one that was agreed on, or None.
      close_code: None while it is open; then the code of the close frame that came first, ours or
        the peer's; 1006 where the peer vanished without one.
      close_reason: what belongs to it; "" while it is open.
    """

    __slots__ = (
        "_away",
        "_closed",
        "_deadline",
        "_deflate",
        "_ended",
        "_inbox",
        "_news",
        "_nursery",
        "_options",
        "_outgoing",
        "_own_close",
        "_pings",
        "_reading_ahead",
        "_receiving",
        "_sent_close",
        "_shut",
        "_stream",
        "_violated",
        "close_code",
        "close_reason",
        "request",
        "subprotocol",
    )

    def __init__(
        self,
        request: Request,
        stream: trio.abc.Stream,
        nursery: trio.Nursery,
        options: Options,
        subprotocol: str | None,
        deflate: Deflate | None,
    ) -> None:
        self.request = request
        self.subprotocol = subprotocol
        self.close_code: int | None = None
        self.close_reason = ""
        self._stream = stream
        self._nursery = nursery
        self._options = options
        self._deflate = deflate
        self._outgoing = Outgoing(stream, nursery, options.send_buffer)
        self._inbox: Inbox[T] = Inbox(options, deflate, self._outgoing)
        self._news: trio.Event | None = None  # something has changed for whoever waits
        self._shut: trio.Event | None = None  # set when the connection is closed
        self._receiving = False
        self._reading_ahead = False
        self._away = False  # nobody has received since the last tick
        self._closed = False  # by aclose
        self._sent_close = False
        self._own_close = False  # begun by the server, or a broadcast
        self._violated = False
        self._ended = False  # nothing more will come
        self._pings = Pings(options)
        self._deadline = math.inf  # of the peer to answer our close, or of the handler to take what is read ahead

    def __repr__(self) -> str:
        state = "open" if self.close_code is None else f"closed {self.close_code}"
        return f"<WebSocket {state} of {self.request!r}>"

    # ---- receiving

    async def receive(self) -> T:
        """Receive a message.

        Raises:
          trio.EndOfChannel: the WebSocket was closed by the peer with 1000, 1001 or no code, or by
            this side in order, as when the server shuts down.
          ConnectionClosed: it was closed otherwise, or the peer vanished or broke the protocol. What
            came before is received first.
          trio.ClosedResourceError: `aclose` was called.
          trio.BusyResourceError: another task is receiving.

        Cancelled, it has taken no message.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this WebSocket")
        if self._closed:
            raise trio.ClosedResourceError("this WebSocket was already closed")
        self._receiving = True
        self._away = False
        try:
            if self._inbox.is_ready or self._ended:
                await checkpoint()
            while (message := self._take()) is None:
                if self._inbox.pending:
                    await checkpoint()
                elif self._reading_ahead:
                    await self._wait_news()
                else:  # `_read` without its frame, which would be kept while this waits
                    try:
                        self._hear(await self._stream.receive_some())
                    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                        self._vanish(str(exc))
            return message
        finally:
            self._receiving = False
            if self._news is not None:
                self._tell_news()

    async def _read(self) -> None:
        """Wait for bytes, or the end of the connection."""
        try:
            self._hear(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._vanish(str(exc))

    def _hear(self, data: bytes | bytearray) -> None:
        if data:
            self._pings.heard = True
            self._inbox.feed(bytes(data))
        else:
            self._vanish("the connection ended without a close frame")

    def _take(self) -> T | None:
        """The next message of those that are there, or the error that stands in its place."""
        try:
            message = self._inbox.take()
        except Violation as exc:
            self._fail(exc)
            message = None
        if isinstance(message, Close):
            self._answer(message)
            message = None
        if message is None and self._ended:
            raise self._end()
        return message

    def _answer(self, close: Close) -> None:
        """The peer has closed (RFC 6455 section 5.5.1)."""
        code = close.code
        if self._outgoing.broken and not self._sent_close:
            self.close_code = None  # a send that failed took the peer for gone
        self._send_close(code, close.reason, b"" if code == CloseCode.NO_STATUS_RCVD else close.serialize())
        self._finish()

    def _end(self) -> Exception:
        """What a receive raises when there is nothing more."""
        assert self.close_code is not None
        if self._closed:
            return trio.ClosedResourceError("this WebSocket was closed by another task")
        if self._violated or not (self._own_close or self.close_code in ORDERLY):
            return self._connection_closed()
        return trio.EndOfChannel()

    def _connection_closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_code or 1006, self.close_reason, transport_of(self.request))

    # ---- sending

    async def send(self, message: T) -> None:
        """Send a message, and wait until the transport has taken it.

        A peer that does not read makes it wait. Several tasks may send at once; their messages go
        out whole, in the order in which they got their turn.

        Raises:
          TypeError: it is neither str nor bytes.
          ValueError: it is a str with a lone surrogate, which UTF-8 cannot have.
          ConnectionClosed: the WebSocket is closed.
          trio.ClosedResourceError: `aclose` was called.

        Cancelled, it has sent nothing, or the whole message still goes out.
        """
        await checkpoint_if_cancelled()
        self._check_sendable()
        outgoing = self._outgoing
        await outgoing.wait_turn()
        self._check_sendable()
        if outgoing.put(encode_message(message, self._deflate)):
            await cancel_shielded_checkpoint()
        else:
            await outgoing.wait_sent()
        if outgoing.broken:
            self._check_sendable()

    def send_nowait(self, message: T) -> None:
        """Send a message, or buffer it for a peer that is slow. Not a checkpoint.

        Raises:
          trio.WouldBlock: the send buffer is full.
          And what `send` raises.
        """
        self._check_sendable()
        if self._outgoing.is_full:
            raise trio.WouldBlock("the send buffer is full")
        self._outgoing.put(encode_message(message, self._deflate))
        self._check_sendable()

    def put_frame(self, frame: bytes) -> bool:
        """Send a frame, if this is open, unless the send buffer is full: then it returns False."""
        if self.close_code is None:
            if self._outgoing.is_full:
                return False
            self._outgoing.put(frame)
        return True

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this WebSocket was already closed")
        if self._outgoing.broken:
            self._note_lost("the connection broke")
        if self.close_code is not None:
            raise self._connection_closed()

    # ---- the end

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket: send a close frame, wait for the peer's, and close the connection.

        What the peer still sends is discarded. A task that is receiving wakes with
        `trio.ClosedResourceError` when the close is complete, at most `close_timeout` seconds later.

        Args:
          code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4).
          reason: at most 123 bytes of UTF-8.

        Raises:
          ValueError: no close frame can say so.

        Cancelled, it drops the connection at once.
        """
        payload = close_payload(code, reason)
        if self._closed:
            return await self._wait_shut()
        self._closed = True
        if self._shut is not None:  # the keepalive has begun to
            return await self._wait_shut()
        self._shut = trio.Event()
        try:
            if not self._is_over:
                deadline = min(self._deadline, trio.current_time() + self._options.close_timeout)
                with trio.CancelScope(deadline=deadline):
                    self._send_close(code, reason, payload)
                    await self._outgoing.wait_sent()
                    while not self._ended:
                        await self._discard()
        finally:
            await self._close_stream()

    async def _wait_shut(self) -> None:
        try:
            await checkpoint()
            if self._shut is not None:
                await self._shut.wait()
        except trio.Cancelled:
            await self._close_stream(at_once=True)
            raise

    async def _discard(self) -> None:
        """Read on, for the peer's close frame."""
        if self._receiving or self._reading_ahead:
            return await self._wait_news()
        if self._inbox.pending:
            await checkpoint()
        else:
            await self._read()
        try:
            if self._inbox.drain():
                self._finish()
        except Violation:
            self._finish()

    @property
    def _is_over(self) -> bool:
        """Nothing more will come, and nothing is left to be sent."""
        return self._ended and self._outgoing.is_empty

    async def _close_stream(self, at_once: bool = False) -> None:
        """Close the connection: at once also if the peer has not done its part, or this is cancelled."""
        try:
            if self._is_over and not at_once:
                await self._stream.aclose()
            else:
                with trio.CancelScope(shield=True):  # it does not block, and its Cancelled would hide what ends us
                    await trio.aclose_forcefully(self._stream)
        finally:
            self._vanish("the connection was dropped")
            if self._shut is None:
                self._shut = trio.Event()
            self._shut.set()

    async def leave(self, exc: BaseException | None) -> None:
        """End it as its handler has ended: with 1000, with 1011 after an error, at once when cancelled."""
        if exc is None:
            await self.aclose()
        elif all(isinstance(leaf, Exception) for leaf in flatten(exc)):
            await self.aclose(1011)
        else:
            self._closed = True
            await self._close_stream(at_once=True)

    def _send_close(self, code: int, reason: str, payload: bytes) -> None:
        """Send a close frame, unless one was sent."""
        if self.close_code is None:
            self.close_code = code
            self.close_reason = reason
        if not self._sent_close:
            self._sent_close = True
            self._outgoing.put(encode_frame(FIN | Opcode.CLOSE, payload))

    def close_soon(self, code: int, reason: str) -> None:
        """Begin to close. The peer may take `close_timeout` seconds to answer."""
        if self.close_code is None:
            self._own_close = True
            self._deadline = trio.current_time() + self._options.close_timeout
            self._send_close(code, reason, close_payload(code, reason))

    def _fail(self, violation: Violation) -> None:
        """RFC 6455 section 7.1.7."""
        self._violated = True
        self._send_close(violation.code, violation.reason, close_payload(violation.code, violation.reason[:120]))
        self._finish()

    def _note_lost(self, why: str) -> None:
        if self.close_code is None:
            self.close_code = CloseCode.ABNORMAL_CLOSURE
            self.close_reason = why

    def _vanish(self, why: str) -> None:
        self._note_lost(why)
        self._finish()

    def _finish(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._inbox.clear()
        self._tell_news()

    # ---- while nobody receives

    @property
    def pace(self) -> float:
        """How often `tick` is to be called, in seconds."""
        return self._options.tick

    def tick(self, now: float) -> None:
        """Do what is due; see `Keepalive`."""
        if self._shut is not None:
            return
        if now >= self._deadline:
            return self._run_out()
        if not self._receiving and not self._reading_ahead:
            if not self._away:
                self._away = True
            elif self._ended:
                self._end_unattended()
            else:
                self._start_reading_ahead()
        if not self._sent_close and not self._ended:
            self._see_to_pings(now)

    def go_away(self) -> None:
        """Close, as the server shuts down."""
        self.close_soon(CloseCode.GOING_AWAY, "the server is shutting down")

    def _run_out(self) -> None:
        """The peer does not answer our close, or the handler does not take what stands in front of a violation."""
        if self._inbox.held is not None and not self._own_close:
            self._deadline = math.inf
            return self._fail(self._inbox.take_held())
        self._end_unattended(at_once=True)

    def _see_to_pings(self, now: float) -> None:
        """Find out whether a silent peer is still there."""
        outgoing = self._outgoing
        if (outgoing.progressed and not outgoing.is_empty) or self._inbox.is_full:
            self._pings.heard = True
        outgoing.progressed = False
        match self._pings.due(now):
            case "ping":
                outgoing.put(encode_frame(FIN | Opcode.PING, b""))
            case "listen":
                self._start_reading_ahead()
            case "drop":
                self._vanish(f"nothing was heard for {self._options.ping_timeout} seconds after a ping")
                self._end_unattended(at_once=True)

    def _end_unattended(self, at_once: bool = False) -> None:
        self._shut = trio.Event()
        self._nursery.start_soon(self._close_unattended, at_once)

    def _start_reading_ahead(self) -> None:
        """Let a task read, unless one does, or there is no room for what it reads."""
        if not (self._receiving or self._reading_ahead or self._inbox.is_full):
            self._reading_ahead = True
            self._nursery.start_soon(self._read_ahead)

    async def _read_ahead(self) -> None:
        """Read while nobody else does, and for as long as the buffer lasts."""
        try:
            while not (self._receiving or self._ended or self._inbox.is_full):
                if self._inbox.pending:
                    await checkpoint()
                else:
                    await self._read()
                self._parse_ahead()
        except Exception:
            logger.exception("reading %r ahead failed inside the server; please report this", self)
            self._vanish("reading failed")
        finally:
            self._reading_ahead = False
            self._tell_news()
        if self._ended and not self._receiving and self._shut is None:
            self._end_unattended()

    def _parse_ahead(self) -> None:
        try:
            if close := self._inbox.read_ahead():
                self._answer(close)
        except Violation as exc:
            self._fail(exc)
        if self._inbox.held is not None and self._deadline == math.inf:
            self._deadline = trio.current_time() + self._options.close_timeout

    async def _close_unattended(self, at_once: bool) -> None:
        """End the connection of a WebSocket that is closed, while its handler is busy elsewhere."""
        try:
            try:
                with trio.move_on_after(0 if at_once else self._options.close_timeout):
                    await self._outgoing.wait_sent()
            finally:
                await self._close_stream(at_once)
        except Exception:
            logger.exception("closing %r failed inside the server; please report this", self)

    async def _wait_news(self) -> None:
        if self._news is None:
            self._news = trio.Event()
        await self._news.wait()

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None
