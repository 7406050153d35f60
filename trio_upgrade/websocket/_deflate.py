"""The compression of messages: permessage-deflate (RFC 7692).

The handshake negotiates it. A message is inflated as it arrives, so that one that is too big, or that is not UTF-8, is
refused early. A block with BFINAL may be in it.
"""

from __future__ import annotations

import zlib
from typing import Any

from websockets.frames import CloseCode

from ._deflate_offer import Agreed
from ._errors import Violation

__all__ = ["COMPRESS_SETTINGS", "Deflate"]

# Small hash tables: they suit the small window (`_deflate_offer.WINDOW_BITS`).
COMPRESS_SETTINGS: dict[str, Any] = {"memLevel": 5}

TAIL = b"\0\0\xff\xff"  # the end of a flush, which every message leaves out (section 7.2.1)
MAX_FINAL_BLOCKS = 64  # in a message; after each of them, zlib needs a new decompressor


class Deflate:
    """Compresses and inflates the messages of one connection.

    Args:
      agreed: what was agreed on in the handshake.
    """

    __slots__ = (
        "_compressor",
        "_decompressor",
        "_final_blocks",
        "_our_bits",
        "_our_takeover",
        "_their_bits",
        "_their_takeover",
    )

    def __init__(self, agreed: Agreed) -> None:
        self._our_bits, self._our_takeover, self._their_bits, self._their_takeover = agreed
        self._compressor: Any = None  # typeshed's name for its type does not exist at run time
        self._decompressor: Any = None
        self._final_blocks = 0

    def compress(self, payload: bytes) -> bytes:
        """Compress the payload of a message."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._our_bits, **COMPRESS_SETTINGS)
            if self._our_takeover:
                self._compressor = compressor
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(TAIL)]

    def inflate(self, data: bytes, room: int, final: bool) -> bytes:
        """Inflate the next part of a message, to at most `room` + 1 bytes.

        Raises:
          Violation: the data is malformed.
        """
        if final:
            data += TAIL
        inflated = b""
        try:
            while data and len(inflated) <= room:
                if self._decompressor is None:
                    self._decompressor = zlib.decompressobj(wbits=-self._their_bits)
                inflated += self._decompressor.decompress(data, room + 1 - len(inflated))
                data = b""
                if self._decompressor.eof:
                    data = self._after_final_block()
        except zlib.error:
            raise malformed() from None
        if final:
            self._final_blocks = 0
            if not self._their_takeover:
                self._decompressor = None
        return inflated

    def _after_final_block(self) -> bytes:
        """Return what follows a block with BFINAL, which ends a decompressor but no message (section 7.2.3.4)."""
        self._final_blocks += 1
        if self._final_blocks > MAX_FINAL_BLOCKS:
            raise malformed()
        data: bytes = self._decompressor.unused_data
        self._decompressor = None
        return data


def malformed() -> Violation:
    return Violation(CloseCode.PROTOCOL_ERROR, "the compressed data is malformed")
