"""The receive buffer: what has arrived from one peer, and was not received yet.

Messages are parsed when somebody asks for them, or ahead of that, and come out in order. Pings are answered in passing.
It does not read the connection, and decides nothing about closing.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from websockets.frames import Close, CloseCode, Opcode

from ._close_codes import decode_close
from ._deflate import Deflate
from ._errors import Violation
from ._frames import FIN, NEED_DATA, Control, Incoming, encode_frame
from ._options import Options
from ._send_buffer import OVERHEAD, SendBuffer

__all__ = ["ReceiveBuffer"]

T = TypeVar("T", str, bytes, str | bytes)

MAX_FRAMES = 32  # parsed in one go, so that a flood of empty ones holds nobody up
KINDS = {str: "text", bytes: "binary"}


class ReceiveBuffer(Generic[T]):
    """What has arrived from one peer.

    Args:
      options: which messages may come, and how many of them are parsed ahead.
      deflate: inflates messages, if compression was negotiated.
      send_buffer: takes the pongs.
    """

    __slots__ = ("_incoming", "_messages", "_options", "_send_buffer", "_size", "_violation")

    def __init__(self, options: Options, deflate: Deflate | None, send_buffer: SendBuffer) -> None:
        self._options = options
        self._send_buffer = send_buffer
        self._incoming = Incoming(options.max_message_size, deflate)
        self._messages: deque[T] | None = None  # those that were parsed ahead; None when there are none
        self._size = 0  # of these, in bytes
        self._violation: Violation | None = None  # it was parsed ahead, and comes after these

    @property
    def pending(self) -> bool:
        """There may be something to parse without more bytes."""
        return self._incoming.pending

    @property
    def is_ready(self) -> bool:
        """There may be something to take without more bytes."""
        return self._incoming.pending or self._messages is not None

    @property
    def is_full(self) -> bool:
        """No more should be parsed ahead."""
        return self._violation is not None or self._size >= self._options.receive_buffer

    @property
    def holds_violation(self) -> bool:
        """A violation was parsed ahead, and nobody has taken it yet."""
        return self._violation is not None

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._incoming.feed(data)

    def clear(self) -> None:
        """Forget the bytes that were not parsed. Messages that were parsed ahead stay."""
        self._incoming.clear()

    def take(self) -> T | Close | None:
        """Take the next message or close frame; None if there is none yet.

        Raises:
          Violation: the peer broke the protocol.
        """
        if self._messages is None:
            return self._parse()
        if self._messages:
            message = self._messages.popleft()
            self._size -= len(message) + OVERHEAD
            return message
        self._messages = None
        if self._violation is not None:
            raise self.take_violation()
        return self._parse()

    def take_violation(self) -> Violation:
        """Take the violation that was parsed ahead."""
        violation, self._violation = self._violation, None  # not kept: its traceback will lead here
        assert violation is not None
        return violation

    def parse_ahead(self) -> Close | None:
        """Parse what has arrived, and keep the messages. Return the close frame, if that is reached.

        Raises:
          Violation: the peer broke the protocol, and no message comes before that.
        """
        try:
            while not self.is_full and (message := self._parse()) is not None:
                if isinstance(message, Close):
                    return message
                if self._messages is None:
                    self._messages = deque()
                self._messages.append(message)
                self._size += len(message) + OVERHEAD
        except Violation as exc:
            if not self._messages:
                raise
            self._violation = exc.with_traceback(None)
        return None

    def discard(self) -> Close | None:
        """Parse what has arrived, and drop it. Return the close frame, if that is reached.

        Raises:
          Violation: the peer broke the protocol.
        """
        message = self._parse()
        return message if isinstance(message, Close) else None

    def _parse(self) -> T | Close | None:
        """Parse the next message or close frame. It may return None although there is more to parse."""
        wanted = self._options.message_type
        pongs = pong = b""
        try:
            for _ in range(MAX_FRAMES):
                event = self._incoming.next()
                if event is NEED_DATA:
                    return None
                if event is None:
                    continue
                if isinstance(event, Control):
                    if event.opcode is Opcode.PING:
                        pong = encode_frame(FIN | Opcode.PONG, event.payload)
                        pongs += pong
                    elif event.opcode is Opcode.CLOSE:
                        return decode_close(event.payload)
                elif wanted is None or type(event) is wanted:
                    return event  # type: ignore[return-value]
                else:
                    raise Violation(CloseCode.UNSUPPORTED_DATA, f"only {KINDS[wanted]} messages are accepted here")
            return None
        finally:
            if pongs:
                self._send_buffer.put_pongs(pongs, newest=pong)
