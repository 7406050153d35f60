"""The frames of RFC 6455 section 5: bytes in, messages and control frames out; and the other way round.

One frame is parsed at a time, when somebody asks for it. So a violation shows only after everything before it was
taken, and a flood of frames is never parsed further ahead than somebody wants.

A message of the usual kind (one frame, uncompressed, arrived completely) is made at once. `_messages` puts together all
others. The `websockets` package does the masking. There is no I/O here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from websockets.frames import CloseCode, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the package has no compiled part
    from websockets.utils import apply_mask

from ._deflate import Deflate
from ._errors import Violation
from ._messages import Compressed, Plain, decode, too_big

__all__ = ["FIN", "NEED_DATA", "Control", "Incoming", "encode_frame", "encode_message"]

# Section 5.2: the first byte of a frame is FIN, three reserved bits, and the opcode.
FIN = 0x80
RESERVED = 0x70
COMPRESSED = 0x40  # RSV1, on the first frame of a message that permessage-deflate compressed (RFC 7692 section 6)
CONTROL = 0x08
MASKED = 0x80
WHOLE_TEXT = FIN | Opcode.TEXT
WHOLE_BINARY = FIN | Opcode.BINARY
OPCODES = frozenset(Opcode)
MIN_COMPRESSED = 64  # bytes; compressed, a shorter message seldom gets any shorter


class NeedData(Enum):
    """What `Incoming.next` returns when it needs more bytes."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA


class Control(NamedTuple):
    """A control frame: a ping, a pong or a close (section 5.5)."""

    opcode: Opcode
    payload: bytes


Event: TypeAlias = str | bytes | Compressed | Control | Literal[NeedData.NEED_DATA] | None


class PartialFrame:
    """A frame of which the header has arrived, and not yet all of the payload."""

    __slots__ = ("first", "key", "missing", "payload")

    def __init__(self, first: int, key: bytes, missing: int) -> None:
        self.first = first
        self.key = key
        self.missing = missing
        self.payload = bytearray()  # of a control frame

    def unmask(self, data: bytes) -> bytes:
        """Unmask the next part of the payload."""
        self.missing -= len(data)
        plain = apply_mask(data, self.key)
        shift = len(data) % 4
        self.key = self.key[shift:] + self.key[:shift]
        return plain


class Incoming:
    """Turns the bytes of a client into messages and control frames.

    Args:
      max_size: how many bytes a message may have, inflated.
      deflate: inflates messages, if compression was negotiated.

    Attributes:
      pending: `next` may return something without more bytes.
    """

    __slots__ = ("_at", "_data", "_deflate", "_frame", "_max_size", "_message", "pending")

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        self._max_size = max_size
        self._deflate = deflate
        self._data = b""
        self._at = 0
        self._frame: PartialFrame | None = None
        self._message: Plain | Compressed | None = None
        self.pending = False

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        # What is left from before is the beginning of a header, or what nobody has asked for yet.
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0
        self.pending = True

    @property
    def unfinished(self) -> Plain | Compressed | None:
        """The message that has begun and is not complete."""
        return self._message

    def clear(self) -> None:
        """Forget all that was fed, and what was begun."""
        self._skip_to(len(self._data))
        self._frame = self._message = None

    def _skip_to(self, at: int) -> None:
        if at == len(self._data):
            self._data = b""
            self._at = 0
            self.pending = False
        else:
            self._at = at

    def _need_data(self) -> Event:
        """Keep the beginning of a header, and nothing of what came before it."""
        if self._at:
            self._data = self._data[self._at :]
            self._at = 0
        self.pending = False
        return NEED_DATA

    def next(self) -> Event:
        """Parse one frame.

        Returns:
          A complete message; or a control frame; or None for a frame after which the message goes on; or NEED_DATA.

        Raises:
          Violation: the peer broke the protocol.
        """
        if self._frame is not None:
            return self._continue(self._frame)
        data, at = self._data, self._at
        available = len(data) - at
        if available < 2:
            return self._need_data()
        first = data[at]
        if self._message is not None or first not in (WHOLE_BINARY, WHOLE_TEXT):
            self._check_first(first)
        second = data[at + 1]
        if not second & MASKED:
            raise violation("a client must mask its frames")
        length = second & 0x7F
        header = 6
        if length > 125:
            header = 8 if length == 126 else 14
            if available >= header - 4:
                length = extended_length(first, data[at + 2 : at + header - 4])
        if available < header:
            return self._need_data()
        begin = at + header
        end = begin + length
        key = data[begin - 4 : begin]
        if self._message is None and end <= len(data) and first in (WHOLE_BINARY, WHOLE_TEXT):
            if length > self._max_size:
                raise too_big(self._max_size)
            payload = apply_mask(data[begin:end], key)
            self._skip_to(end)
            return payload if first == WHOLE_BINARY else decode(payload)
        self._at = begin
        return self._start_frame(PartialFrame(first, key, length))

    def _start_frame(self, frame: PartialFrame) -> Event:
        """Take any frame but the usual one, which is a whole message, uncompressed, that has arrived completely."""
        if not frame.first & CONTROL:
            if self._message is None:
                self._message = self._begin_message(frame.first)
            self._message.check_size(frame.missing)
        self._frame = frame
        return self._continue(frame)

    def _begin_message(self, first: int) -> Plain | Compressed:
        is_text = first & 0x0F == Opcode.TEXT
        if first & COMPRESSED:
            assert self._deflate is not None
            return Compressed(is_text, self._max_size, self._deflate)
        return Plain(is_text, self._max_size)

    def _check_first(self, first: int) -> None:
        """Check the first byte of a frame: sections 5.2, 5.4 and 5.5, and RFC 7692 section 6."""
        opcode = first & 0x0F
        if opcode not in OPCODES:
            raise violation(f"there is no opcode {opcode}")
        is_data = opcode in (Opcode.TEXT, Opcode.BINARY)
        reserved = first & RESERVED
        if reserved and not (reserved == COMPRESSED and is_data and self._deflate is not None):
            raise violation("reserved bits must be 0")
        if opcode & CONTROL:
            if not first & FIN:
                raise violation("a control frame cannot be fragmented")
        elif is_data and self._message is not None:
            raise violation("a new message began before the last one was complete")
        elif not is_data and self._message is None:
            raise violation("a continuation frame came without a message to continue")

    def _continue(self, frame: PartialFrame) -> Event:
        """Take what has arrived of the payload of `frame`."""
        end = min(self._at + frame.missing, len(self._data))
        plain = frame.unmask(self._data[self._at : end])
        self._skip_to(end)
        message = self._message
        if frame.first & CONTROL or message is None:
            frame.payload += plain
        else:
            message.add(plain, final=not frame.missing and bool(frame.first & FIN))
        if frame.missing:
            return NEED_DATA
        self._frame = None
        if frame.first & CONTROL or message is None:
            return Control(Opcode(frame.first & 0x0F), bytes(frame.payload))
        if not frame.first & FIN:
            return None
        self._message = None
        return message.whole()


def extended_length(first: int, octets: bytes) -> int:
    """Read a payload length of 2 or 8 bytes (section 5.2)."""
    if first & CONTROL:
        raise violation("a control frame has at most 125 bytes")
    length = int.from_bytes(octets)
    if length < 126 or (len(octets) == 8 and length < 65536):
        raise violation("a length must take the fewest bytes that hold it")
    if length >> 63:
        raise violation("a length has 63 bits")
    return length


def violation(reason: str) -> Violation:
    return Violation(CloseCode.PROTOCOL_ERROR, reason)


def encode_frame(first: int, payload: bytes) -> bytes:
    """Make a frame as a server sends it, unmasked; `first` is its first byte."""
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (first, length, payload)
    if length < 65536:
        return b"%c\x7e%b%b" % (first, length.to_bytes(2), payload)
    return b"%c\x7f%b%b" % (first, length.to_bytes(8), payload)


def encode_message(message: object, deflate: Deflate | None = None) -> bytes:
    """Make a message, as one frame. It is compressed if that was negotiated and it is not very short.

    Raises:
      TypeError: the message is neither str nor bytes-like.
      UnicodeEncodeError: the message is a str with a lone surrogate.
    """
    if isinstance(message, str):
        opcode, payload = Opcode.TEXT, message.encode()
    elif isinstance(message, bytes | bytearray | memoryview):
        opcode, payload = Opcode.BINARY, bytes(message)
    else:
        raise TypeError(f"a message is a str or bytes, not {message!r}")
    if deflate is None or len(payload) < MIN_COMPRESSED:
        return encode_frame(FIN | opcode, payload)
    return encode_frame(FIN | COMPRESSED | opcode, deflate.compress(payload))
