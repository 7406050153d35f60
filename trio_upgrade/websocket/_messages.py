"""Messages that arrive in parts, or compressed: what is kept of them, and how they are checked (RFC 6455 section 5.4).

What is kept is what has arrived: never more than the peer has sent.
"""

from __future__ import annotations

import codecs

from websockets.frames import CloseCode

from ._deflate import Deflate, Inflation
from ._errors import Violation

__all__ = ["Compressed", "Plain", "decode", "too_big"]

PIECE = 2**16  # bytes that are inflated at a time to check a message

Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class Plain:
    """An uncompressed message that has not arrived completely.

    Args:
      is_text: it is text, not binary.
      max_size: how many bytes it may have.

    Attributes:
      waited: for how many seconds somebody has read, and the rest did not come. Whoever looks counts it.
      looked_at: when that was counted last, in seconds of Trio's clock; None before that.
    """

    __slots__ = ("_data", "_decoder", "_max_size", "looked_at", "waited")

    def __init__(self, is_text: bool, max_size: int) -> None:
        self._decoder = Utf8Decoder() if is_text else None
        self._max_size = max_size
        self._data = bytearray()
        self.waited = 0.0
        self.looked_at: float | None = None

    @property
    def size(self) -> int:
        """How many bytes of it have arrived."""
        return len(self._data)

    def check_size(self, more: int) -> None:
        """Check that the message may get `more` bytes of payload, before they arrive."""
        if more > self._max_size - len(self._data):
            raise too_big(self._max_size)

    def add(self, data: bytes, final: bool) -> None:
        """Add a part, and check text, as it arrives (section 8.1)."""
        self._data += data
        if self._decoder is not None:
            check_text(self._decoder, data, final)

    def whole(self) -> str | bytes:
        """Return the message, which has arrived completely."""
        return bytes(self._data) if self._decoder is None else self._data.decode()


class Compressed:
    """A message that was compressed, complete or not.

    Args:
      is_text: it is text, not binary.
      max_size: how many bytes it may have, inflated.
      deflate: inflates the messages of this connection.

    Attributes:
      waited: for how many seconds somebody has read, and the rest did not come. Whoever looks counts it.
      looked_at: when that was counted last, in seconds of Trio's clock; None before that.
    """

    __slots__ = (
        "_check",
        "_data",
        "_deflate",
        "_is_text",
        "_max_size",
        "_unchecked",
        "_was_checked",
        "looked_at",
        "waited",
    )

    def __init__(self, is_text: bool, max_size: int, deflate: Deflate) -> None:
        self._is_text = is_text
        self._max_size = max_size
        self._deflate = deflate
        self._data = bytearray()
        self._unchecked = b""  # the last part
        self._check: Check | None = None  # of the parts before that
        self._was_checked = False  # completely
        self.waited = 0.0
        self.looked_at: float | None = None

    @property
    def kind(self) -> type[str] | type[bytes]:
        """Which type it will have."""
        return str if self._is_text else bytes

    @property
    def size(self) -> int:
        """How many bytes of it have arrived, compressed."""
        return len(self._data)

    def check_size(self, more: int) -> None:
        """Check that the message may get `more` bytes of payload, before they arrive. Random data gets longer."""
        if more > 2 * self._max_size + 1024 - len(self._data):
            raise too_big(self._max_size)

    def add(self, data: bytes, final: bool) -> None:
        """Add a part. Whatever is not the last is checked as it arrives."""
        self._data += data
        if final:
            self._unchecked = data
        elif data:
            self._continue_check(data, False)

    def whole(self) -> Compressed:
        """Return the message, which has arrived completely. `unpack` inflates it."""
        return self

    def check(self) -> None:
        """Check a complete message that is to be unpacked later.

        Raises:
          Violation: it is malformed, not UTF-8, or too big.
        """
        self._continue_check(self._unchecked, True)
        assert self._check is not None
        self._deflate.end_check(self._check.inflation)
        self._check = None
        self._unchecked = b""
        self._was_checked = True

    def _continue_check(self, data: bytes, final: bool) -> None:
        if self._check is None:
            self._check = Check(self._is_text, self._max_size, self._deflate.begin_check())
        self._check.add(data, final)

    def unpack(self) -> str | bytes:
        """Inflate a complete message: the next of its connection.

        Raises:
          Violation: it is malformed, not UTF-8, or too big.
        """
        data = self._deflate.inflate(bytes(self._data), self._max_size, self._was_checked)
        if data is None:
            raise too_big(self._max_size)
        return decode(data) if self._is_text else data


class Check:
    """Checks a compressed message as it arrives, and keeps nothing of it but the end.

    Args:
      is_text: it is text, not binary.
      max_size: how many bytes it may have, inflated.
      inflation: inflates it.

    Attributes:
      inflation: likewise.
    """

    __slots__ = ("_decoder", "_max_size", "_size", "inflation")

    def __init__(self, is_text: bool, max_size: int, inflation: Inflation) -> None:
        self._decoder = Utf8Decoder() if is_text else None
        self._max_size = max_size
        self._size = 0
        self.inflation = inflation

    def add(self, data: bytes, final: bool) -> None:
        """Check the next part."""
        for piece in self.inflation.inflate(data, final, PIECE):
            self._size += len(piece)
            if self._size > self._max_size:
                raise too_big(self._max_size)
            if self._decoder is not None:
                check_text(self._decoder, piece, False)
        if final and self._decoder is not None:
            check_text(self._decoder, b"", True)


def check_text(decoder: codecs.IncrementalDecoder, data: bytes, final: bool) -> None:
    """Check the next part of a text; the first byte that UTF-8 cannot have there is a violation."""
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        raise invalid_text() from None
    held = decoder.getstate()[0]
    if len(held) == 2 and held[0] == 0xED and held[1] >= 0xA0:  # CPython's decoder waits for its third byte
        raise invalid_text()


def decode(payload: bytes) -> str:
    """Decode the payload of a text message (section 5.6)."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise invalid_text() from None


def invalid_text() -> Violation:
    return Violation(CloseCode.INVALID_DATA, "text that is not UTF-8")


def too_big(max_size: int) -> Violation:
    return Violation(CloseCode.MESSAGE_TOO_BIG, f"a message may have at most {max_size} bytes")
