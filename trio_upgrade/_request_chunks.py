"""The framing of a chunked body, so that each piece is seen whole before it is parsed."""

from __future__ import annotations

import re

from ._exceptions import Malformed
from ._headers import TOKEN

__all__ = ["LONGEST", "Chunks"]

LONGEST = 2**63 - 1  # a longer chunk or body is one that another recipient may take for a short one

# RFC 9112 section 7.1.1, RFC 9110 section 5.6: *( ";" name [ "=" ( token / quoted-string ) ] ), with white space
QUOTED = r'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
EXTENSION = rf"[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{QUOTED}))?"
CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]{{1,16}})(?:{EXTENSION})*\r\n".encode("latin-1"))


class Chunks:
    """Where the pieces of a chunked body begin and end (RFC 9112 section 7.1).

    Attributes:
      trailers: the last chunk's line has been seen, and the trailer section follows.
    """

    __slots__ = ("_max_size", "_size_left", "trailers")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size_left = 0
        self.trailers = False

    def next_piece(self, buffer: bytearray, max_bytes: int) -> int:
        """How many bytes at the front of `buffer` the parser gets next; 0 if too few are there."""
        if self.trailers:
            return self._whole_trailers(buffer)
        if not self._size_left:
            return self._whole_line(buffer)
        size = min(self._size_left, len(buffer), max_bytes)
        self._size_left -= size
        return size

    def _whole_line(self, buffer: bytearray) -> int:
        end = buffer.find(b"\n", 0, self._max_size) + 1
        if not end:
            if len(buffer) >= self._max_size:
                raise Malformed("a chunk's line is too long")
            return 0
        match = CHUNK_LINE.fullmatch(buffer, 0, end)
        if match is None:
            raise Malformed("a chunk's size or extension is malformed")
        size = int(match[1], 16)
        if size > LONGEST:
            raise Malformed("a chunk's size is larger than any body")
        if size:
            self._size_left = size + 2  # the parser checks the CRLF after the data
        else:
            self.trailers = True
        return end

    def _whole_trailers(self, buffer: bytearray) -> int:
        if buffer[:2] == b"\r\n":
            return 2
        end = buffer.find(b"\r\n\r\n", 0, self._max_size) + 4
        if end > 3:
            return end
        if len(buffer) >= self._max_size:
            raise Malformed("the trailer section is too long", 431)
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise Malformed("a line of the trailer section does not end with CRLF")
        return 0
