"""The framing of a request's body: which bytes are its content, and where it ends.

A body has a length, or comes in chunks (RFC 9112 sections 6.2 and 7.1). A decoder for each of the two
is given what has arrived, and gives the content in it. It takes nothing that h11 would refuse, and never
a byte from after the body.

This module does no I/O, and knows nothing of connections, limits on time or on the whole body's size.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum

from ._exceptions import Malformed
from ._headers import TOKEN
from ._request_head import LONGEST, Head, check_trailers

__all__ = ["Framing", "framing_of"]

# RFC 9112 section 7.1.1, RFC 9110 section 5.6: *( ";" name [ "=" ( token / quoted-string ) ] ), with white space.
# h11 refuses white space before the first extension, and so do we.
QUOTED = r'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
EXTENSION = rf"[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{QUOTED}))?"
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")  # shorter than any head, and so within its limit
EXTENDED_LINE = re.compile(rf"([0-9A-Fa-f]{{1,16}})(?![ \t])(?:{EXTENSION})*\r\n".encode("latin-1"))
USUAL_END = b"\r\n0\r\n\r\n"  # of the last data, with a last chunk without extensions, and no trailers
CHUNKS_AT_ONCE = 1000  # are decoded between two checkpoints, at most: about a millisecond


class Framing(ABC):
    """A decoder of one body.

    Attributes:
      length_left: how many bytes of a body with a Content-Length are to come; 0 for a chunked one.
    """

    __slots__ = ("length_left",)

    length_left: int

    @property
    @abstractmethod
    def has_ended(self) -> bool:
        """The whole body was decoded."""

    @abstractmethod
    def decode(self, data: bytes | bytearray, max_bytes: int) -> tuple[bytes, int]:
        """Decode what `data` begins with.

        Args:
          data: what has arrived and was not used by an earlier call.
          max_bytes: how much content to give at most.

        Returns:
          Some content, and how many bytes of `data` it has used. No content means that more has to
          arrive first, or that the body has ended.

        Raises:
          Malformed: the body is, right after the content that was given so far.
        """


class ContentLength(Framing):
    """A body whose head tells its length."""

    __slots__ = ()

    def __init__(self, length: int) -> None:
        self.length_left = length

    @property
    def has_ended(self) -> bool:
        """See `Framing.has_ended`."""
        return not self.length_left

    def decode(self, data: bytes | bytearray, max_bytes: int) -> tuple[bytes, int]:
        """See `Framing.decode`. The content is `data` itself, and no copy, where all of that is content."""
        size = min(self.length_left, len(data), max_bytes)
        self.length_left -= size
        return bytes(data if size == len(data) else memoryview(data)[:size]), size


class Part(Enum):
    """What comes next in a chunked body: LINE, DATA, DATA_END for each chunk; then LINE, TRAILERS, END."""

    LINE = "LINE"  # a chunk's line: its size and extensions
    DATA = "DATA"  # the chunk's data
    DATA_END = "DATA_END"  # the CRLF after the data
    TRAILERS = "TRAILERS"  # the trailer section, which follows the last chunk's line
    END = "END"  # nothing: the whole body was decoded


LINE, DATA, DATA_END, TRAILERS, END = Part


class Chunks(Framing):
    """A body in chunks. Their extensions, and the trailers, are checked, and nobody sees them.

    Args:
      max_size: of a chunk's line, and of the trailer section.
      max_trailers: how many fields the trailer section may have.
    """

    __slots__ = ("_max_size", "_max_trailers", "_part", "_same_again", "_size", "_size_left")

    def __init__(self, max_size: int, max_trailers: int) -> None:
        self.length_left = 0
        self._max_size = max_size
        self._max_trailers = max_trailers
        self._part = LINE
        self._size = self._size_left = 0  # of the data of the chunk that is being decoded
        self._same_again = b""  # what follows the data, if the next chunk has the same line

    @property
    def has_ended(self) -> bool:
        """See `Framing.has_ended`."""
        return self._part is END

    def decode(self, data: bytes | bytearray, max_bytes: int) -> tuple[bytes, int]:
        """See `Framing.decode`. The content of many chunks is given in one piece.

        Most chunks have the line of the chunk before, and most bodies end without trailers: these two are
        recognized without parsing them.
        """
        pieces: list[memoryview] = []
        at, room = 0, max_bytes
        with memoryview(data) as view:
            while len(pieces) < CHUNKS_AT_ONCE:
                if self._part is not DATA:
                    try:
                        begin, at = at, self._skip(data, at)
                    except Malformed:
                        if not pieces:
                            raise
                        break  # the content before it is given first
                    if at == begin:
                        break
                    continue
                size = min(self._size_left, len(data) - at, room)
                if not size:
                    break
                pieces.append(view[at : at + size])
                at += size
                room -= size
                self._size_left -= size
                if self._size_left:
                    break
                if data.startswith(self._same_again, at):
                    at += len(self._same_again)
                    self._size_left = self._size
                elif data.startswith(USUAL_END, at):
                    at += len(USUAL_END)
                    self._part = END
                    break
                else:
                    self._part = DATA_END
            return b"".join(pieces), at

    def _skip(self, data: bytes | bytearray, at: int) -> int:
        """Go on after what is there of the framing between the data of two chunks, or after the last one's.

        Returns:
          Where in `data` to go on: at the same place, if more has to arrive first.
        """
        if self._part is DATA_END:
            return self._skip_data_end(data, at)
        if self._part is LINE:
            return self._skip_line(data, at)
        if self._part is TRAILERS:
            return self._skip_trailers(data, at)
        return at

    def _skip_data_end(self, data: bytes | bytearray, at: int) -> int:
        found = data[at : at + 2]
        if found == b"\r\n":
            self._part = LINE
            return at + 2
        if found and found != b"\r":
            raise Malformed("malformed chunk footer")
        return at

    def _skip_line(self, data: bytes | bytearray, at: int) -> int:
        match = CHUNK_LINE.match(data, at)
        if match is None:
            end = data.find(b"\n", at, at + self._max_size) + 1
            if not end:
                if len(data) - at >= self._max_size:
                    raise Malformed("a chunk's line is too long")
                return at
            match = EXTENDED_LINE.fullmatch(data, at, end)
            if match is None:
                raise Malformed("a chunk's size or extension is malformed")
        size = int(match[1], 16)
        if size > LONGEST:
            raise Malformed("a chunk's size is larger than any body")
        self._size = self._size_left = size
        self._same_again = b"\r\n" + match[0]
        self._part = DATA if size else TRAILERS
        return match.end()

    def _skip_trailers(self, data: bytes | bytearray, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._part = END
            return at + 2
        end = data.find(b"\r\n\r\n", at, at + self._max_size) + 4
        if end > 3:
            check_trailers(bytes(memoryview(data)[at:end]), self._max_trailers)
            self._part = END
            return end
        if len(data) - at >= self._max_size:
            raise Malformed("the trailer section is too long", 431)
        if data.count(b"\n", at) != data.count(b"\r\n", at):
            raise Malformed("a line of the trailer section does not end with CRLF")
        return at


def framing_of(head: Head, max_size: int, max_trailers: int) -> Framing:
    """A decoder of the body that a head announces.

    Args:
      max_size, max_trailers: see `Chunks`.
    """
    return Chunks(max_size, max_trailers) if head.chunked else ContentLength(head.length)
