"""The receive buffer: what has arrived from one peer, and was not received yet.

Messages are parsed when somebody asks for them, or ahead of that, and come out in order. Those that are parsed ahead
are checked, and kept as they have arrived: compressed, and text in UTF-8, since a `str` may take four bytes for each.
Pings are answered in passing. It does not read the connection, and decides nothing about closing.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from websockets.frames import Close, CloseCode, Opcode

from ._close_codes import decode_close
from ._deflate import Deflate
from ._errors import Violation
from ._frames import FIN, NEED_DATA, Control, Incoming, encode_frame
from ._messages import Compressed, Plain
from ._options import Options
from ._send_buffer import OVERHEAD, SendBuffer

__all__ = ["ReceiveBuffer"]

T = TypeVar("T", str, bytes, str | bytes)

MAX_FRAMES = 32  # parsed in one go, so that a flood of empty ones holds nobody up
KINDS = {str: "text", bytes: "binary"}


class Encoded(NamedTuple):
    """A text that waits to be received."""

    payload: bytes


Held: TypeAlias = str | bytes | Encoded | Compressed


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
        self._messages: deque[Held] | None = None  # those that were parsed ahead; None when there are none
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
        if self._violation is not None:
            return True
        unfinished = self._incoming.unfinished
        size = self._size if unfinished is None else self._size + unfinished.size
        return size >= self._options.receive_buffer

    @property
    def unfinished(self) -> Plain | Compressed | None:
        """The message that has begun to arrive, and is not complete."""
        return self._incoming.unfinished

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
            message = self._parse()
            return self._unpack(message) if type(message) is Compressed else message  # type: ignore[return-value]
        if self._messages:
            held = self._messages.popleft()
            self._size -= size_of(held)
            return self._unpack(held)
        self._messages = None
        if self._violation is not None:
            raise self.take_violation()
        return self.take()

    def _unpack(self, held: Held) -> T:
        """Turn what was held into the message, which is of the type that is wanted."""
        if isinstance(held, Compressed):
            return held.unpack()  # type: ignore[return-value]
        return held.payload.decode() if isinstance(held, Encoded) else held  # type: ignore[return-value]

    def take_violation(self) -> Violation:
        """Take the violation that was parsed ahead."""
        violation, self._violation = self._violation, None  # not kept: its traceback will lead here
        assert violation is not None
        return violation

    def parse_ahead(self) -> Close | None:
        """Parse what has arrived, and keep the messages. Return the close frame, if that is reached.

        It may leave something `pending`, although there is room.

        Raises:
          Violation: the peer broke the protocol, and no message comes before that.
        """
        try:
            while not self.is_full and (message := self._parse()) is not None:
                if isinstance(message, Close):
                    return message
                self._hold(message)
                if isinstance(message, Compressed):
                    break  # to check one takes a while
        except Violation as exc:
            if not self._messages:
                raise
            self._violation = exc.with_traceback(None)
        return None

    def _hold(self, message: str | bytes | Compressed) -> None:
        """Keep a message until it is taken.

        Raises:
          Violation: it was compressed, and is malformed, not UTF-8, or too big.
        """
        held: Held = message
        if isinstance(message, Compressed):
            message.check()
        elif isinstance(message, str) and not message.isascii():
            held = Encoded(message.encode())
        if self._messages is None:
            self._messages = deque()
        self._messages.append(held)
        self._size += size_of(held)

    def discard(self) -> Close | None:
        """Parse what has arrived, and drop it. Return the close frame, if that is reached.

        Raises:
          Violation: the peer broke the protocol.
        """
        message = self._parse()
        return message if isinstance(message, Close) else None

    def _parse(self) -> str | bytes | Compressed | Close | None:
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
                elif wanted is None or (event.kind if isinstance(event, Compressed) else type(event)) is wanted:
                    return event
                else:
                    raise Violation(CloseCode.UNSUPPORTED_DATA, f"only {KINDS[wanted]} messages are accepted here")
            return None
        finally:
            if pongs:
                self._send_buffer.put_pongs(pongs, newest=pong)


def size_of(held: Held) -> int:
    """How many bytes a message counts that is held."""
    if isinstance(held, Encoded):
        return len(held.payload) + OVERHEAD
    return (held.size if isinstance(held, Compressed) else len(held)) + OVERHEAD
