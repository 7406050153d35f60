"""Our end of one WebSocket: what arrives, what is sent, and how it is closed.

`WebSocket` is what the handler sees of it; the `Attendant` works on it while the handler does something else. Both read
it, but never at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

import trio
from trio.lowlevel import checkpoint
from websockets.frames import Close, CloseCode, Opcode

from .._registered_scope import RegisteredScope
from .._request import Request, transport_of
from .._transport import close_at_once
from ._close_codes import encode_close
from ._closing import Closing, Event
from ._deflate import Deflate
from ._errors import Violation
from ._frames import FIN, encode_frame
from ._options import Options
from ._receive_buffer import ReceiveBuffer
from ._send_buffer import BROKEN, SendBuffer

__all__ = ["AWAY", "RECEIVED", "RECEIVES", "Endpoint"]

T = TypeVar("T", str, bytes, str | bytes)


class Handler(Enum):
    """Whether the handler receives.

    A call of `WebSocket.receive` turns it to RECEIVES, and at its end to RECEIVED. A look of the attendant turns
    RECEIVED to AWAY.
    """

    RECEIVES = "a task is in `WebSocket.receive`"
    RECEIVED = "no task is in it, but one was since the attendant last looked, or the WebSocket is new"
    AWAY = "no task is in it, and none was since the attendant last looked"


RECEIVES, RECEIVED, AWAY = Handler


class Endpoint(Generic[T]):
    """Our end of one WebSocket.

    Args:
      request: the request of the handshake.
      stream: the upgraded stream.
      nursery: runs the task that sends what the transport does not take at once.
      options: those of the WebSocket.
      deflate: compresses messages, if that was negotiated.

    Attributes:
      closing: how far it is on its way to the end.
      handler: whether the handler receives. While it does, it reads the stream, unless `is_reading_ahead`.
      is_reading_ahead: a task of the attendant reads the stream.
      was_heard: bytes have arrived since the attendant last looked.
      change: set when reading stops, or nothing more can arrive; None while nobody waits for that.
      closing_from: since when the peer's close frame is awaited, in seconds of Trio's clock.
      farewell: what the task that closes the connection in order waits in; None before there is such a task. The
        attendant sets its deadline.
    """

    __slots__ = (
        "_closed_scopes",
        "_disconnected",
        "change",
        "closing",
        "closing_from",
        "deflate",
        "farewell",
        "handler",
        "is_reading_ahead",
        "options",
        "receive_buffer",
        "request",
        "send_buffer",
        "stream",
        "was_heard",
    )

    def __init__(
        self,
        request: Request,
        stream: trio.abc.Stream,
        nursery: trio.Nursery,
        options: Options,
        deflate: Deflate | None,
    ) -> None:
        self.request = request
        self.stream = stream
        self.deflate = deflate
        self.closing = Closing()
        self.send_buffer = SendBuffer(stream, nursery, options.send_buffer)
        self.receive_buffer: ReceiveBuffer[T] = ReceiveBuffer(options, deflate, self.send_buffer)
        self.options = options
        self.handler = RECEIVED
        self.is_reading_ahead = False
        self.was_heard = True
        self.closing_from = math.inf
        self.farewell: trio.CancelScope | None = None
        self.change: trio.Event | None = None
        self._closed_scopes: set[trio.CancelScope] | None = None  # to be cancelled when it is closed
        self._disconnected: trio.Event | None = None  # once somebody has begun to disconnect

    def __repr__(self) -> str:
        close = self.closing.close
        return f"<WebSocket {'open' if close is None else f'closed {close.code}'} of {self.request!r}>"

    # ---- what arrives

    def feed(self, data: bytes | bytearray) -> None:
        """Take what the stream has given: bytes, or nothing at its end."""
        if data:
            self.was_heard = True
            self.receive_buffer.feed(bytes(data))
        else:
            self.mark_lost("the connection ended without a close frame")

    async def read(self) -> None:
        """Read the stream once. `WebSocket.receive` has a copy of this."""
        try:
            self.feed(await self.stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.mark_lost(str(exc))

    def take(self) -> T | None:
        """Take the next message that has arrived; None if there is none yet.

        Raises:
          trio.EndOfChannel, ConnectionClosed: nothing more will come.
        """
        try:
            message = self.receive_buffer.take()
        except Violation as exc:
            self.fail(exc)
            message = None
        if isinstance(message, Close):
            self._apply(Event.PEER_CLOSES, message)
            message = None
        if message is None and not self.closing.state.may_receive:
            raise self.closing.receive_error(transport_of(self.request))
        return message

    @property
    def is_being_read(self) -> bool:
        """A task reads the stream."""
        return self.handler is RECEIVES or self.is_reading_ahead

    def parse_ahead(self) -> None:
        """Parse what has arrived, and keep the messages for the next `take`s."""
        self._parse(self.receive_buffer.parse_ahead)

    async def discard(self) -> None:
        """Read on for the peer's close frame, and discard the messages before it."""
        if self.is_being_read:
            return await self.wait_change()
        if self.receive_buffer.pending:
            await checkpoint()
        else:
            await self.read()
        self._parse(self.receive_buffer.discard)

    def _parse(self, parse: Callable[[], Close | None]) -> None:
        try:
            close = parse()
        except Violation as exc:
            self.fail(exc)
        else:
            if close is not None:
                self._apply(Event.PEER_CLOSES, close)

    # ---- what is sent

    def check_sendable(self) -> None:
        """Raise what `WebSocket.send` raises, unless a message may be sent."""
        if self.send_buffer.state is BROKEN:
            self.mark_sending_broken()
        if not self.closing.state.may_send:
            raise self.closing.send_error(transport_of(self.request))

    # ---- closing

    def close_for_server(self, code: int, reason: str) -> None:
        """Send a close frame for the server, if the WebSocket is open. The peer must answer within `close_timeout`."""
        self._apply(Event.SERVER_CLOSES, Close(code, reason))

    def close_for_handler(self, code: int, reason: str) -> None:
        """Send a close frame for the handler, if the WebSocket is open."""
        self._apply(Event.HANDLER_CLOSES, Close(code, reason))

    def fail(self, violation: Violation) -> None:
        """Fail the connection, since the peer broke the protocol: say so, and take nothing more (section 7.1.7)."""
        reason = violation.reason[:120]  # a close frame has room for 123 bytes
        self._apply(Event.PEER_VIOLATES, Close(violation.code, reason))

    def mark_lost(self, why: str) -> None:
        """Take note that nothing more will arrive."""
        self._apply(Event.CONNECTION_ENDS, Close(CloseCode.ABNORMAL_CLOSURE, why))

    def mark_sending_broken(self) -> None:
        """Take note that the connection takes no more bytes."""
        self._apply(Event.SENDING_FAILS, Close(CloseCode.ABNORMAL_CLOSURE, "the connection broke"))

    def mark_peer_ended(self) -> None:
        """Take note that the peer has ended or reset the connection, after what was not read yet."""
        self._apply(Event.PEER_ENDS, Close(CloseCode.ABNORMAL_CLOSURE, "the peer ended the connection"))

    def _apply(self, event: Event, close: Close) -> None:
        """Take note of an event, and do what follows from it."""
        closing = self.closing
        if closing.mark(event, close):
            self.closing_from = trio.current_time()
            payload = b"" if close.code == CloseCode.NO_STATUS_RCVD else encode_close(close.code, close.reason)
            self.send_buffer.put(encode_frame(FIN | Opcode.CLOSE, payload))
        if self._closed_scopes is not None and not closing.state.may_send:
            for scope in self._closed_scopes:
                scope.cancel()
        if not closing.state.may_receive:
            self.receive_buffer.clear()
            self.notify_change()

    def closed_scope(self) -> RegisteredScope:
        """A scope that is cancelled when the WebSocket is closed: at once if it is already."""
        if self._closed_scopes is None:
            self._closed_scopes = set()
        return RegisteredScope(self._register, self._closed_scopes.discard)

    def _register(self, scope: trio.CancelScope) -> None:
        assert self._closed_scopes is not None
        self._closed_scopes.add(scope)
        if not self.closing.state.may_send:
            scope.cancel()

    # ---- the end of the connection below

    @property
    def is_over(self) -> bool:
        """Nothing more will arrive, and all is sent."""
        return not self.closing.state.may_receive and self.send_buffer.is_empty

    @property
    def is_disconnecting(self) -> bool:
        """The connection below is closed, or somebody is about to close it."""
        return self._disconnected is not None

    def claim_disconnect(self) -> bool:
        """Whether it is the caller who must call `disconnect`: it is the first to ask."""
        if self._disconnected is not None:
            return False
        self._disconnected = trio.Event()
        return True

    async def disconnect(self, at_once: bool = False) -> None:
        """Close the connection below: in order if all was sent, and what still comes is discarded; else at once."""
        if self._disconnected is None:
            self._disconnected = trio.Event()
        try:
            if not self.is_over:
                self.mark_lost("the connection was dropped")
            if at_once or not self.send_buffer.is_empty:
                await close_at_once(self.stream)
            else:
                await self.stream.aclose()
        finally:
            self._disconnected.set()

    def begin_farewell(self) -> trio.CancelScope:
        """The scope for what is done before `disconnect`: it takes as long as the peer may have, and no longer."""
        self.closing_from = min(self.closing_from, trio.current_time())
        self.farewell = trio.CancelScope()
        return self.farewell

    async def wait_disconnected(self) -> None:
        """Wait until another task has closed the connection below. If it is cancelled, it closes that at once."""
        assert self._disconnected is not None
        try:
            await self._disconnected.wait()
        except trio.Cancelled:
            await self.disconnect(at_once=True)
            raise

    # ---- waiting for each other

    async def wait_change(self) -> None:
        """Wait until who reads has stopped, or the state says that nothing more will arrive."""
        if self.change is None:
            self.change = trio.Event()
        await self.change.wait()

    def notify_change(self) -> None:
        """Wake those who wait."""
        if self.change is not None:
            self.change.set()
            self.change = None
