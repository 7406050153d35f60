"""A response, and how it becomes bytes.

The fields are checked and encoded once, when the `Response` is made. To send one with bytes again
costs a join.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias

from ._headers import FieldsArgument, Headers, encode_fields, headers_of, join_fields

__all__ = [
    "Content",
    "Framing",
    "Response",
    "asks_to_close",
    "close_content",
    "encode",
    "has_content",
    "is_streamed",
    "open_content",
]

AsyncBytes: TypeAlias = AsyncIterable[bytes]
Content: TypeAlias = bytes | str | AsyncBytes | contextlib.AbstractAsyncContextManager[AsyncBytes]

REASONS = {int(status): status.phrase for status in HTTPStatus}
NOT_GIVEN = frozenset({b"transfer-encoding"})  # the server decides it
NO_CONTENT = (204, 205, 304)  # RFC 9110 section 6.4.1


class Response:
    """A response to an ordinary request, or one that declines an upgrade.

    The server adds `Content-Length` or chunks, `Date` and `Connection: close`. It leaves out the
    content of a response to HEAD, and that of a 204, 205 or 304. A response with bytes or str cannot
    be changed, and a handler may return it again and again.

    Args:
      status: an int from 200 to 999.
      content: bytes; a str, which is sent as UTF-8; an async iterable of bytes; or an async
        context manager that gives one, as a function decorated with `@trio.as_safe_channel` does.
        An iterable is entered only when it is sent, never for HEAD, and is closed when it is done
        or the client is gone. It is asked for its next item when the transport has taken the last.
      headers: pairs of a name and a value, str or bytes, or a mapping. With a `Content-Length`, an
        async iterable is sent without chunks, and must have that length.
      content_type: by default `text/plain` for a str, and none for other content. If the content
        is a str and this is a text type without a charset, `charset=utf-8` is added.

    Raises:
      ValueError: the status is below 200 or over 999; a field has CR, LF, NUL or another invalid
        character; the server sets this field; or the `Content-Length` is not that of the bytes.
      TypeError: an argument has the wrong type.
    """

    __slots__ = ("_asks_to_close", "_content", "_given", "_head", "_headers", "_length", "_names", "_status")

    def __init__(
        self,
        status: int = 200,
        content: Content = b"",
        headers: FieldsArgument = (),
        *,
        content_type: str | None = None,
    ) -> None:
        if not isinstance(status, int):
            raise TypeError(f"the status of a response is an int, not {status!r}: Response(200, content)?")
        if content_type is not None and not isinstance(content_type, str):
            raise TypeError(f"the content type is a str, not {content_type!r}")
        if not 200 <= status <= 999:
            raise ValueError(f"the status of a response is from 200 to 999, not {status!r}")
        fields = encode_fields(headers, NOT_GIVEN)
        names = {name.lower() for name, _ in fields}
        if content_type is None and isinstance(content, str) and b"content-type" not in names:
            content_type = "text/plain"
        if content_type and isinstance(content, str) and content_type.startswith("text/"):
            content_type += "" if "charset" in content_type.lower() else "; charset=utf-8"
        if content_type is not None:
            if b"content-type" in names:
                raise ValueError("the content type is given twice")
            fields += encode_fields([("Content-Type", content_type)])
        self._status = int(status)
        self._given = content
        self._headers: Headers | list[tuple[bytes, bytes]] = fields
        self._content = content.encode() if isinstance(content, str) else content
        self._names = names
        self._length = self._check_length(fields)
        options = [
            option.strip(b" \t")
            for name, value in fields
            if name.lower() == b"connection"
            for option in value.lower().split(b",")
        ]
        self._asks_to_close = b"close" in options
        lines = [f"HTTP/1.1 {self._status} {REASONS.get(self._status, '')}".encode()]
        lines += [name + b": " + value for name, value in fields if name.lower() != b"content-length"]
        if b"upgrade" in names and b"upgrade" not in options:
            lines.append(b"Connection: Upgrade")  # RFC 9110 section 7.8
        self._head = b"\r\n".join(lines)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def content(self) -> Content:
        """The content, as it was given."""
        return self._given

    @property
    def headers(self) -> Headers:
        """The fields that were given, and the content type."""
        if isinstance(self._headers, list):
            self._headers = headers_of(join_fields(self._headers))
        return self._headers

    def _check_length(self, fields: list[tuple[bytes, bytes]]) -> int | None:
        """The Content-Length; None if it is not known."""
        given = [value for name, value in fields if name.lower() == b"content-length"]
        if given and (len(given) > 1 or not given[0].isdigit()):
            raise ValueError("Content-Length is not one number")
        said = int(given[0]) if given else None
        content = self._content
        if isinstance(content, bytes | bytearray | memoryview):
            content = self._content = bytes(content)
            if said is not None and content and said != len(content):
                raise ValueError(f"Content-Length is {said}, but the content has {len(content)} bytes")
            return len(content) if said is None else said
        if not hasattr(content, "__aiter__") and not hasattr(content, "__aenter__"):
            raise TypeError(f"content is bytes, str or an async iterable of bytes, not {type(content).__name__}")
        return said


# ---- how it becomes bytes


def asks_to_close(response: Response) -> bool:
    """The handler gave `Connection: close`."""
    return response._asks_to_close


def is_streamed(response: Response) -> bool:
    """The content is an async iterable, or a context manager that gives one."""
    return not isinstance(response._content, bytes)


def has_content(response: Response, method: str) -> bool:
    """Content follows the head (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and response._status not in NO_CONTENT


def _is_chunked(response: Response, http_version: str) -> bool:
    """The content is sent in chunks (RFC 9112 section 6.3)."""
    return response._length is None and http_version == "1.1"


def encode(response: Response, method: str, http_version: str, close: bool) -> bytes:
    """The head, and the content too unless that is an async iterable.

    Raises:
      RuntimeError: `Content-Length` promises content, and there is none.
    """
    parts = [response._head]
    length = response._length
    if response._status == 205:
        parts.append(b"Content-Length: 0")
    elif response._status == 304 and b"content-length" not in response._names:
        pass  # the length of what is not sent is unknown
    elif response._status != 204:
        if length is not None:
            parts.append(b"Content-Length: %d" % length)
        elif _is_chunked(response, http_version):
            parts.append(b"Transfer-Encoding: chunked")
    if b"date" not in response._names:
        parts.append(_date_line())
    if close and not response._asks_to_close:
        parts.append(b"Connection: close")
    parts.append(b"\r\n")
    head = b"\r\n".join(parts)
    content = response._content
    if not isinstance(content, bytes) or not has_content(response, method):
        return head
    if len(content) != length:
        raise RuntimeError(f"Content-Length is {length}, but the content has {len(content)} bytes")
    return head + content


class Framing:
    """How streamed content is put on the wire: in chunks, with a length, or until the connection ends.

    Args:
      response: the response whose content it is.
      http_version: of the request.
    """

    def __init__(self, response: Response, http_version: str) -> None:
        self._length = response._length
        self._chunked = _is_chunked(response, http_version)
        self._size = 0

    def encode(self, item: object) -> bytes:
        """One item of the content; b"" if it is empty.

        Raises:
          TypeError: it is not bytes.
          RuntimeError: it makes the content longer than its Content-Length.
        """
        if not isinstance(item, bytes | bytearray | memoryview):
            raise TypeError(f"streamed content is made of bytes, not {type(item).__name__}")
        data = bytes(item)
        self._size += len(data)
        if self._length is not None and self._size > self._length:
            raise RuntimeError(f"Content-Length is {self._length}, but the content is longer")
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def end(self) -> bytes:
        """What follows the last item.

        Raises:
          RuntimeError: the content is shorter than its Content-Length.
        """
        if self._length is not None and self._size < self._length:
            raise RuntimeError(f"Content-Length is {self._length}, but the content has {self._size} bytes")
        return b"0\r\n\r\n" if self._chunked else b""


async def close_content(response: Response) -> None:
    """Close streamed content, whether it was sent or not."""
    # Async generators and trio's channels have it; an unentered context manager has nothing to close.
    if hasattr(response._content, "aclose"):
        await response._content.aclose()


@contextlib.asynccontextmanager
async def open_content(response: Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The items of streamed content. The iterator is closed at the end of the block."""
    content = response._content
    assert not isinstance(content, bytes | str)
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(content, contextlib.AbstractAsyncContextManager):
            content = await stack.enter_async_context(content)
        iterator = aiter(content)
        if hasattr(iterator, "aclose"):
            stack.push_async_callback(iterator.aclose)
        yield iterator


_date: tuple[int, bytes] = (0, b"")


def _date_line() -> bytes:
    """The `Date` field of this second (RFC 9110 section 6.6.1)."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, b"Date: " + formatdate(now, usegmt=True).encode())
    return _date[1]
