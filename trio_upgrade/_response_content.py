"""The content of a response: bytes, a stream of pieces, or a file; and how its end is told."""

from __future__ import annotations

import contextlib
import errno
import mimetypes
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import TypeAlias

from ._headers import FieldsArgument, encode_fields, join_fields

__all__ = [
    "Content",
    "FileContent",
    "StreamEncoder",
    "Streamed",
    "check_content",
    "close_content",
    "encode_trailers",
    "open_content",
    "type_of",
]

AsyncBytes: TypeAlias = AsyncIterable[bytes]
Streamed: TypeAlias = AsyncBytes | contextlib.AbstractAsyncContextManager[AsyncBytes]
Content: TypeAlias = bytes | str | Streamed

# RFC 9110 section 6.5.1: what frames or routes a message, modifies a request, authenticates, or describes the content
NOT_TRAILERS = frozenset(
    b"""
    connection content-length host keep-alive te trailer transfer-encoding upgrade
    cache-control expect if-match if-modified-since if-none-match if-range if-unmodified-since max-forwards pragma range
    authorization cookie proxy-authenticate proxy-authorization set-cookie www-authenticate
    age date expires location retry-after vary warning
    content-encoding content-range content-type
    """.split()
)

# What mimetypes calls an encoding is the type of a compressed file: nobody is to inflate it on the way.
COMPRESSED_TYPES = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def check_content(content: object) -> bytes | Streamed:
    """The content of a response, as it is sent.

    Raises:
      TypeError: it is neither bytes, nor a str, nor an async iterable or what gives one.
    """
    if isinstance(content, bytes):
        return bytes(content)
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    if not hasattr(content, "__aiter__") and not hasattr(content, "__aenter__"):
        raise TypeError(f"content is bytes, str or an async iterable of bytes, not {type(content).__name__}")
    return content  # type: ignore[return-value]


class StreamEncoder:
    """Encodes streamed content. Its end is told by its length, by chunks, or by a close (RFC 9112 section 6.3).

    Args:
      length: the Content-Length that the handler gave; None if it gave none.
      http_version: of the request.

    Attributes:
      length: the same.
      chunked: chunks tell it.
    """

    __slots__ = ("_size", "chunked", "length")

    def __init__(self, length: int | None, http_version: str) -> None:
        self.length = length
        self.chunked = length is None and http_version == "1.1"
        self._size = 0

    @property
    def is_framed(self) -> bool:
        """The client can tell content that is whole from content that was cut off, however the connection ends."""
        return self.chunked or self.length is not None

    def encode(self, item: object) -> bytes:
        """One item of the content, as it goes over the wire; b"" if it is empty.

        Raises:
          TypeError: it is not bytes.
          RuntimeError: it makes the content longer than its Content-Length.
        """
        if not isinstance(item, bytes | bytearray | memoryview):
            raise TypeError(f"streamed content is made of bytes, not {type(item).__name__}")
        data = bytes(item)
        self._size += len(data)
        if self.length is not None and self._size > self.length:
            raise RuntimeError(f"Content-Length is {self.length}, but the content is longer")
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked and data else data

    def encode_end(self, trailers: FieldsArgument = ()) -> bytes:
        """What follows the last item. Trailers are dropped unless the end is told by chunks.

        Raises:
          RuntimeError: the content is shorter than its Content-Length.
          TypeError, ValueError: a trailer cannot be sent.
        """
        if self.length is not None and self._size < self.length:
            raise RuntimeError(f"Content-Length is {self.length}, but the content has {self._size} bytes")
        if not self.chunked:
            return b""
        return b"0" + join_fields(encode_trailers(trailers)) + b"\r\n" if trailers != () else b"0\r\n\r\n"


def encode_trailers(trailers: FieldsArgument) -> list[tuple[bytes, bytes]]:
    """Check and encode trailers.

    Raises:
      TypeError, ValueError: one of them cannot be sent, or belongs in the head.
    """
    return encode_fields(trailers, NOT_TRAILERS, "belongs in the head, not in the trailers")


@contextlib.asynccontextmanager
async def open_content(content: Streamed) -> AsyncIterator[AsyncIterator[bytes]]:
    """The items of streamed content. The iterator is closed at the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(content, contextlib.AbstractAsyncContextManager):
            content = await stack.enter_async_context(content)
        iterator = aiter(content)
        if hasattr(iterator, "aclose"):
            stack.push_async_callback(iterator.aclose)
        yield iterator


async def close_content(content: Streamed) -> None:
    """Close streamed content, whether it was sent or not."""
    # Async generators and trio's channels have it; an unentered context manager has nothing to close.
    if hasattr(content, "aclose"):
        await content.aclose()


class FileContent:
    """A regular file as content. It is opened when it is sent.

    Args:
      path: its path.

    Raises:
      OSError: there is no such file, or it is not a regular file.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        check_regular(os.stat(self.path), self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[int, int]]:
        """Its descriptor and its size.

        Raises:
          OSError: see `FileContent`.
        """
        # Without O_NONBLOCK, opening a FIFO that has taken the file's place would wait.
        file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        try:
            status = os.fstat(file)
            check_regular(status, self.path)
            yield file, status.st_size
        finally:
            os.close(file)


def check_regular(status: os.stat_result, path: str) -> None:
    """Refuse what is not a regular file.

    Raises:
      IsADirectoryError: it is a directory.
      OSError: it is something else (`errno.EINVAL`).
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def type_of(path: str) -> str:
    """The media type of a file, by its name; "application/octet-stream" if that does not tell."""
    guessed, encoding = mimetypes.guess_type(path)
    if encoding is not None:
        return COMPRESSED_TYPES.get(encoding, "application/octet-stream")
    return guessed or "application/octet-stream"
