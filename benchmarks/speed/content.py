"""A large response as it comes, compared with what it must be; no I/O."""

from __future__ import annotations

from enum import Enum

from .answers import block
from .wire import Wrong, head_of

__all__ = ["Content"]

LONGEST = 16 * 1024  # bytes of the head; a chunk's line is shorter


class Part(Enum):
    """A part of a response."""

    HEAD = "HEAD"
    CHUNK_SIZE = "CHUNK_SIZE"
    CONTENT = "CONTENT"
    CHUNK_END = "CHUNK_END"
    TRAILER_SECTION = "TRAILER_SECTION"
    NOTHING = "NOTHING"  # it is complete


class Content:
    """The response to a GET of a download, with a Content-Length or in chunks.

    Args:
      size: how many bytes the content has.
    """

    def __init__(self, size: int) -> None:
        self._block = block()
        self._size = size
        self._next = Part.HEAD
        self._chunked = False
        self._received = 0
        self._left = 0  # bytes of content until its end, or the chunk's
        self._line = b""  # what has come of a head or a line

    @property
    def is_complete(self) -> bool:
        return self._next is Part.NOTHING

    def feed(self, data: memoryview) -> None:
        """Take what has come.

        Raises:
          Wrong: it is not what it must be.
        """
        while data:
            if self._next is Part.CONTENT:
                data = self._compare(data)
            elif self._next is Part.NOTHING:
                raise Wrong(f"{bytes(data[:40])!r} after the content")
            else:
                data = self._read_line(data, b"\r\n\r\n" if self._next is Part.HEAD else b"\r\n")

    def _compare(self, data: memoryview) -> memoryview:
        """Take content, at most to the end of the block; returns what is left of the data."""
        place = self._received % len(self._block)
        count = min(len(data), self._left, len(self._block) - place)
        if not self._block.startswith(data[:count], place):
            raise Wrong(f"a byte of the content from {self._received} to {self._received + count} is wrong")
        self._received += count
        self._left -= count
        if not self._left:
            self._next = Part.CHUNK_END if self._chunked else Part.NOTHING
        return data[count:]

    def _read_line(self, data: memoryview, end: bytes) -> memoryview:
        """Take a line or the head, as far as it has come; returns what is left of the data."""
        known = len(self._line)
        self._line += data[: LONGEST - known]
        place = self._line.find(end)
        if place >= 0:
            line, self._line = self._line[:place], b""
            self._next = self._after(line)
            return data[place + len(end) - known :]
        if len(self._line) == LONGEST:
            raise Wrong(f"{self._line[:40]!r} has no end")
        return data[:0]

    def _after(self, line: bytes) -> Part:
        """What follows a line."""
        match self._next:
            case Part.HEAD:
                return self._begin(line)
            case Part.CHUNK_SIZE:
                return self._begin_chunk(line)
            case Part.CHUNK_END if not line:
                return Part.CHUNK_SIZE
            case Part.TRAILER_SECTION if not line:
                return Part.NOTHING
        raise Wrong(f"{line[:40]!r} instead of the end of a chunk")

    def _begin(self, head: bytes) -> Part:
        status, headers = head_of(head)
        if status != 200:
            raise Wrong(f"status {status} instead of 200")
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if self._chunked:
            return Part.CHUNK_SIZE
        if headers.get("content-length") != str(self._size):
            raise Wrong(f"Content-Length {headers.get('content-length')} instead of {self._size}")
        self._left = self._size
        return Part.CONTENT

    def _begin_chunk(self, line: bytes) -> Part:
        try:
            self._left = int(line, 16)
        except ValueError:
            raise Wrong(f"{line[:40]!r} is not the size of a chunk") from None
        if self._left:
            if self._received + self._left > self._size:
                raise Wrong(f"more content than {self._size} bytes")
            return Part.CONTENT
        if self._received < self._size:
            raise Wrong(f"{self._received} bytes of content instead of {self._size}")
        return Part.TRAILER_SECTION
