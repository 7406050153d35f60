"""The frames of RFC 6455: bytes in, messages and control frames out; and the other way round.

One frame is parsed at a time, when it is asked for. So a violation shows only when everything in
front of it was taken, and a flood is never parsed further ahead than somebody wants.

Masks are those of the `websockets` package. No I/O here, and no compression.
"""

from __future__ import annotations

import codecs
from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from websockets.frames import CloseCode, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the package has no compiled part
    from websockets.utils import apply_mask

from ._closing import Violation
from ._deflate import Deflate

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
MIN_COMPRESSED = 64  # bytes; a shorter message seldom gets any shorter

Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class NeedData(Enum):
    """What `Incoming.next` returns when more bytes must be fed first."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA


class Control(NamedTuple):
    """A ping, a pong or a close."""

    opcode: Opcode
    payload: bytes


Event: TypeAlias = str | bytes | Control | Literal[NeedData.NEED_DATA] | None


class Message:
    """A message of which not everything is there yet.

    Args:
      first: the first byte of its first frame.
      max_size: how many bytes it may have, inflated.
      deflate: what inflates it, if it is compressed.
    """

    __slots__ = ("_data", "_decoder", "_deflate", "_max_size", "_received")

    def __init__(self, first: int, max_size: int, deflate: Deflate | None) -> None:
        self._deflate = deflate if first & COMPRESSED else None
        self._decoder = Utf8Decoder() if first & 0x0F == Opcode.TEXT else None
        self._max_size = max_size
        self._received = 0
        self._data = bytearray()

    def check_size(self, more: int) -> None:
        """Refuse what is about to come, if the message cannot have `more` bytes of payload."""
        limit = self._max_size if self._deflate is None else 2 * self._max_size + 1024  # random data gets longer
        if more > limit - self._received:
            raise too_big(self._max_size)

    def add(self, data: bytes, final: bool = False) -> None:
        """Add a part; it is inflated, and text is checked, as it comes (section 8.1)."""
        self._received += len(data)
        if self._deflate is not None:
            room = self._max_size - len(self._data)
            data = self._deflate.inflate(data, room, final)
            if len(data) > room:
                raise too_big(self._max_size)
        self._data += data
        if self._decoder is not None:
            check_text(self._decoder, data, final)

    def finish(self) -> str | bytes:
        """The whole message."""
        return bytes(self._data) if self._decoder is None else self._data.decode()


def check_text(decoder: codecs.IncrementalDecoder, data: bytes, final: bool) -> None:
    """Fail at the first byte that no UTF-8 can have there."""
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        raise invalid_text() from None
    held = decoder.getstate()[0]
    if len(held) == 2 and held[0] == 0xED and held[1] >= 0xA0:  # CPython's decoder waits for its third byte
        raise invalid_text()


class PartialFrame:
    """A frame whose header is known, and whose payload is on its way."""

    __slots__ = ("first", "key", "missing", "payload")

    def __init__(self, first: int, key: bytes, missing: int) -> None:
        self.first = first
        self.key = key
        self.missing = missing
        self.payload = bytearray()  # of a control frame

    def unmask(self, data: bytes) -> bytes:
        """The next part of the payload, in clear."""
        self.missing -= len(data)
        plain = apply_mask(data, self.key)
        shift = len(data) % 4
        self.key = self.key[shift:] + self.key[:shift]
        return plain


class Incoming:
    """Turns the bytes of a client into messages and control frames.

    Args:
      max_size: how many bytes a message may have, inflated.
      deflate: how its messages may be compressed, if that was negotiated.

    Attributes:
      pending: `next` may have something without more bytes.
    """

    __slots__ = ("_at", "_data", "_deflate", "_frame", "_max_size", "_message", "pending")

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        self._max_size = max_size
        self._deflate = deflate
        self._data = b""
        self._at = 0
        self._frame: PartialFrame | None = None
        self._message: Message | None = None
        self.pending = False

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        # What is left here is the begin of a header, or what nobody has asked for yet.
        self._data = self._data[self._at :] + data if self._data else data
        self._at = 0
        self.pending = True

    def clear(self) -> None:
        """Forget all that was fed: nothing will be asked for any more."""
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
        """Keep the begin of a header, and nothing of what came in front of it."""
        if self._at:
            self._data = self._data[self._at :]
            self._at = 0
        self.pending = False
        return NEED_DATA

    def next(self) -> Event:
        """Parse one frame.

        Returns:
          A message that is complete; a control frame; None for a frame that completes nothing;
          or NEED_DATA.

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
        return self._begin(PartialFrame(first, key, length))

    def _begin(self, frame: PartialFrame) -> Event:
        """Take a frame that is not all of a message, or not all there, or compressed, or a control frame."""
        if not frame.first & CONTROL:
            if self._message is None:
                self._message = Message(frame.first, self._max_size, self._deflate)
            self._message.check_size(frame.missing)
        self._frame = frame
        return self._continue(frame)

    def _check_first(self, first: int) -> None:
        """Check the first byte of a frame (sections 5.2, 5.4 and 5.5; RFC 7692 section 6)."""
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
            raise violation("a new message inside a fragmented one")
        elif not is_data and self._message is None:
            raise violation("a continuation of no message")

    def _continue(self, frame: PartialFrame) -> Event:
        """Take what has arrived of a payload."""
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
        return message.finish()


def decode(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise invalid_text() from None


def extended_length(first: int, octets: bytes) -> int:
    """A payload length of 2 or 8 bytes (section 5.2)."""
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


def invalid_text() -> Violation:
    return Violation(CloseCode.INVALID_DATA, "text that is not UTF-8")


def too_big(max_size: int) -> Violation:
    return Violation(CloseCode.MESSAGE_TOO_BIG, f"a message may have {max_size} bytes")


def encode_frame(first: int, payload: bytes) -> bytes:
    """A frame of a server; `first` is its first byte."""
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (first, length, payload)
    if length < 65536:
        return b"%c\x7e%b%b" % (first, length.to_bytes(2), payload)
    return b"%c\x7f%b%b" % (first, length.to_bytes(8), payload)


def encode_message(message: object, deflate: Deflate | None = None) -> bytes:
    """A message as one frame, compressed if that was negotiated and it is not very short.

    Raises:
      TypeError: it is neither str nor bytes-like.
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
