"""A response, and how it becomes bytes.

The fields are checked and encoded once, when the `Response` is made; sending one of bytes again
costs a join.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias

from ._headers import FieldsArgument, encode_fields

__all__ = ["Content", "Response", "open_content"]

AsyncBytes: TypeAlias = AsyncIterable[bytes]
Content: TypeAlias = bytes | str | AsyncBytes | contextlib.AbstractAsyncContextManager[AsyncBytes]

REASONS = {int(status): status.phrase for status in HTTPStatus}


class Response:
    """A response to an ordinary request, or one that declines an upgrade.

    `Content-Length` or chunks, `Date`, `Connection: close`, and leaving the content out for HEAD,
    204 and 304, are the server's business, not the handler's. With bytes or str, a response is
    immutable and can be returned again and again.

    Args:
      status: 200 to 999.
      content: bytes; a str, which is sent as UTF-8; an async iterable of bytes; or an async
        context manager that gives one, as a function decorated with `@trio.as_safe_channel` does.
        An iterable is entered only when it is sent, never for HEAD, and closed when it is done or
        the client is gone. It is asked for its next item when the transport has taken the last.
      headers: pairs of a name and a value, or a mapping. With a `Content-Length`, an async
        iterable is sent unchunked, and has to have that length.
      content_type: `text/plain` by default for a str. With a str, another text type, too, says
        `charset=utf-8` where it names no charset.

    Raises:
      ValueError: the status is below 200 or over 999; a field has CR, LF, NUL or another character
        that it must not have; or the `Content-Length` is not that of the bytes.
      TypeError: the status, a field or the content is nothing of the kind.
    """

    __slots__ = ("_content", "_given", "_head", "_headers", "_length", "_names", "_status", "asks_to_close")

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
        if not 200 <= status <= 999:
            raise ValueError(f"the status of a response is from 200 to 999, not {status!r}")
        fields = encode_fields(headers)
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
        self._headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
        self._content = content.encode() if isinstance(content, str) else content
        self._names = names
        self._length = self._check_length(fields)
        options = [
            option.strip(b" \t")
            for name, value in fields
            if name.lower() == b"connection"
            for option in value.lower().split(b",")
        ]
        self.asks_to_close = b"close" in options
        if b"upgrade" in names and b"upgrade" not in options:
            fields.append((b"Connection", b"Upgrade"))  # RFC 9110 section 7.8
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}".encode()]
        lines += [name + b": " + value for name, value in fields if name.lower() != b"content-length"]
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
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The fields that were given, and the content type."""
        return self._headers

    def _check_length(self, fields: list[tuple[bytes, bytes]]) -> int | None:
        """The length that `Content-Length` will say: None if chunks are to tell."""
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

    @property
    def is_streamed(self) -> bool:
        """The content is an async iterable."""
        return not isinstance(self._content, bytes)

    def has_content(self, method: str) -> bool:
        """Whether content follows the head (RFC 9110 section 6.4.1)."""
        return method != "HEAD" and self.status not in (204, 205, 304)

    def framing(self, http_version: str) -> tuple[int | None, bool]:
        """How the end of streamed content is told: its length if known, and whether chunks do."""
        return self._length, self._length is None and http_version == "1.1"

    def encode(self, method: str, http_version: str, close: bool) -> bytes:
        """The head, and the content too unless it is streamed.

        Raises:
          RuntimeError: `Content-Length` promises content, and there is none.
        """
        parts = [self._head]
        length, chunked = self.framing(http_version)
        if self.status == 205:
            parts.append(b"Content-Length: 0")
        elif self.status == 304 and b"content-length" not in self._names:
            pass  # the length of what is not sent is unknown
        elif self.status != 204:
            if chunked:
                parts.append(b"Transfer-Encoding: chunked")
            elif length is not None:
                parts.append(b"Content-Length: %d" % length)
        if b"date" not in self._names:
            parts.append(_date_line())
        if close and not self.asks_to_close:
            parts.append(b"Connection: close")
        parts.append(b"\r\n")
        head = b"\r\n".join(parts)
        if not isinstance(self._content, bytes) or not self.has_content(method):
            return head
        if len(self._content) != length:
            raise RuntimeError(f"Content-Length is {length}, but the content has {len(self._content)} bytes")
        return head + self._content

    async def close(self) -> None:
        """Close streamed content, whether it was sent or not."""
        # Async generators and trio's channels have it; an unentered context manager has nothing to close.
        if not isinstance(self._content, bytes) and hasattr(self._content, "aclose"):
            await self._content.aclose()


@contextlib.asynccontextmanager
async def open_content(response: Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The items of streamed content; the iterator is closed at the end, however that comes."""
    content = response.content
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
