"""permessage-deflate (RFC 7692): what was negotiated, and the compression itself.

Messages are inflated as they arrive, so that one that is too big or no text is found out early,
and blocks with BFINAL may come. The negotiation is that of the `websockets` package.
"""

from __future__ import annotations

import zlib
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode

from ._closing import Violation

__all__ = ["COMPRESS_SETTINGS", "WINDOW_BITS", "Deflate"]

# A window of 4 KiB and small hash tables: nearly the best ratio for messages of a chat's size, at
# a third of the memory of zlib's defaults.
WINDOW_BITS = 12
COMPRESS_SETTINGS: dict[str, Any] = {"memLevel": 5}

TAIL = b"\0\0\xff\xff"  # of a flush, left out of every message (section 7.2.1)
MAX_FINAL_BLOCKS = 64  # in a message; each one costs a new state of zlib


class Deflate:
    """Both directions of one connection.

    Args:
      agreed: the parameters that were negotiated.
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

    def __init__(self, agreed: PerMessageDeflate) -> None:
        self._our_bits = agreed.local_max_window_bits
        self._our_takeover = not agreed.local_no_context_takeover
        self._their_bits = agreed.remote_max_window_bits
        self._their_takeover = not agreed.remote_no_context_takeover
        self._compressor: Any = None  # typeshed has no name for these that is there at run time
        self._decompressor: Any = None
        self._final_blocks = 0

    def compress(self, payload: bytes) -> bytes:
        """The payload of a message, compressed."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._our_bits, **COMPRESS_SETTINGS)
            if self._our_takeover:
                self._compressor = compressor
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(TAIL)]

    def inflate(self, data: bytes, room: int, final: bool) -> bytes:
        """The next part of a message, inflated to at most `room` + 1 bytes.

        Raises:
          Violation: it is malformed.
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
                    data = self._behind_final_block()
        except zlib.error:
            raise malformed() from None
        if final:
            self._final_blocks = 0
            if not self._their_takeover:
                self._decompressor = None
        return inflated

    def _behind_final_block(self) -> bytes:
        """What follows a block with BFINAL, which ends zlib's state but no message (section 7.2.3.4)."""
        self._final_blocks += 1
        if self._final_blocks > MAX_FINAL_BLOCKS:
            raise malformed()
        data: bytes = self._decompressor.unused_data
        self._decompressor = None
        return data


def malformed() -> Violation:
    return Violation(CloseCode.PROTOCOL_ERROR, "the compressed data is malformed")
