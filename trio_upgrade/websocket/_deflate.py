"""The compression of messages: permessage-deflate (RFC 7692).

The handshake negotiates it. A message that arrives is kept compressed until it is received, since a kilobyte may
inflate to a megabyte. Before it is complete, and before it waits for a handler that is busy, it is checked: inflated in
small pieces that are thrown away. So one that is too big, or not UTF-8, is refused early.

Where the client keeps its context from message to message, we keep the window, which is the end of what came last, and
no object of zlib: that takes 10 KB more.

A block with BFINAL may be in a message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from websockets.frames import CloseCode

from ._deflate_offer import Agreed
from ._errors import Violation

__all__ = ["COMPRESS_SETTINGS", "Deflate", "Inflation"]

# Small hash tables: they suit the small window (`_deflate_offer.WINDOW_BITS`).
COMPRESS_SETTINGS: dict[str, Any] = {"memLevel": 5}

TAIL = b"\0\0\xff\xff"  # the end of a flush, which every message leaves out (section 7.2.1)
MAX_FINAL_BLOCKS = 64  # in a message; after each of them, zlib needs a new decompressor


class Deflate:
    """Compresses and inflates the messages of one connection.

    Messages are inflated in the order in which they come. Those that are checked ahead of that are inflated later,
    from the window that was then the last.

    Args:
      agreed: what was agreed on in the handshake.
    """

    __slots__ = (
        "_ahead",
        "_checked",
        "_compressor",
        "_our_bits",
        "_our_takeover",
        "_their_bits",
        "_their_takeover",
        "_window",
    )

    def __init__(self, agreed: Agreed) -> None:
        self._our_bits, self._our_takeover, self._their_bits, self._their_takeover = agreed
        self._compressor: Any = None  # typeshed's name for its type does not exist at run time
        self._window = b""  # the end of the messages that were inflated
        self._ahead = b""  # the end of those that were checked, while some of them were not inflated
        self._checked = 0  # how many these are

    def compress(self, payload: bytes) -> bytes:
        """Compress the payload of a message."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._our_bits, **COMPRESS_SETTINGS)
            if self._our_takeover:
                self._compressor = compressor
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(TAIL)]

    def inflate(self, data: bytes, max_size: int, was_checked: bool) -> bytes | None:
        """Inflate the payload of the next message.

        Args:
          data: the whole payload.
          max_size: how many bytes it may inflate to.
          was_checked: `end_check` was called for this message.

        Returns:
          None if it is larger.

        Raises:
          Violation: the data is malformed.
        """
        inflation = Inflation(self._their_bits, self._window, self._their_takeover)
        pieces = []
        room = max_size + 1
        for piece in inflation.inflate(data, True, room):
            pieces.append(piece)
            room -= len(piece)
            if room <= 0:
                return None
        self._window = inflation.window
        if was_checked:
            self._checked -= 1
            if not self._checked:
                self._ahead = b""
        return b"".join(pieces)

    def begin_check(self) -> Inflation:
        """Return what inflates the message that comes next, after all that were inflated or checked."""
        return Inflation(self._their_bits, self._ahead if self._checked else self._window, self._their_takeover)

    def end_check(self, inflation: Inflation) -> None:
        """Take note that the message is complete, and waits for `inflate`."""
        self._checked += 1
        self._ahead = inflation.window


class Inflation:
    """Inflates one message, part by part.

    Args:
      bits: the size of the window, as a power of two.
      window: the end of what came before.
      takeover: the next message may refer to this one.

    Attributes:
      window: the end of what was inflated, for the next message; empty without takeover.
    """

    __slots__ = ("_bits", "_decompressor", "_final_blocks", "_takeover", "window")

    def __init__(self, bits: int, window: bytes, takeover: bool) -> None:
        self._bits = bits
        self._takeover = takeover
        self._decompressor = zlib.decompressobj(-bits, window) if window else zlib.decompressobj(-bits)
        self._final_blocks = 0
        self.window = window

    def inflate(self, data: bytes, final: bool, size: int) -> Iterator[bytes]:
        """Inflate the next part of the payload, in pieces of at most `size` bytes.

        Raises:
          Violation: the data is malformed.
        """
        if final:
            data += TAIL
        while True:
            try:
                piece = self._decompressor.decompress(data, size)
            except zlib.error:
                raise malformed() from None
            if self._takeover:
                self.window = (piece if len(piece) >> self._bits else self.window + piece)[-(1 << self._bits) :]
            yield piece
            data = self._after_final_block() if self._decompressor.eof else self._decompressor.unconsumed_tail
            if not data and len(piece) < size:  # after a full piece, zlib may hold more
                return

    def _after_final_block(self) -> bytes:
        """Return what follows a block with BFINAL, which ends a decompressor but no message (section 7.2.3.4)."""
        self._final_blocks += 1
        if self._final_blocks > MAX_FINAL_BLOCKS:
            raise malformed()
        data: bytes = self._decompressor.unused_data
        self._decompressor = zlib.decompressobj(-self._bits)
        return data


def malformed() -> Violation:
    return Violation(CloseCode.PROTOCOL_ERROR, "the compressed data is malformed")
