"""The head of a response: what its handler has given, checked and encoded once, and what the server adds."""

from __future__ import annotations

import functools
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from ._headers import FieldsArgument, encode_fields, join_fields

__all__ = ["ResponseHead", "encode_head", "encode_interim", "has_content", "make_head"]

REASONS = {int(status): status.phrase for status in HTTPStatus}
NOT_GIVEN = frozenset({b"transfer-encoding"})  # the server decides it
NO_CONTENT = (204, 205, 304)  # RFC 9110 section 6.4.1


class ResponseHead(NamedTuple):
    """What the status and the fields of a response decide.

    Attributes:
      status: the status code.
      fields: those that were given, and the content type.
      names: of the fields, in lower case.
      length: the Content-Length that was given; None if there was none.
      asks_to_close: the handler gave `Connection: close`.
      encoded: the status line and the fields, but for the Content-Length, without the last CRLF.
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    names: frozenset[bytes]
    length: int | None
    asks_to_close: bool
    encoded: bytes


def make_head(status: int, headers: FieldsArgument, content_type: str | None, is_text: bool) -> ResponseHead:
    """Check and encode the head of a response.

    Args:
      content_type: the argument of `Response`.
      is_text: the content is a str.

    Raises:
      TypeError, ValueError: see `Response`.
    """
    if headers == ():
        return plain_head(status, content_type, is_text)
    return encode_given(status, headers, content_type, is_text)


def encode_given(status: int, headers: FieldsArgument, content_type: str | None, is_text: bool) -> ResponseHead:
    if not isinstance(status, int):
        raise TypeError(f"the status of a response is an int, not {status!r}: Response(200, content)?")
    if content_type is not None and not isinstance(content_type, str):
        raise TypeError(f"the content type is a str, not {content_type!r}")
    if not 200 <= status <= 999:
        raise ValueError(f"the status of a response is from 200 to 999, not {status!r}")
    if isinstance(headers, str):
        raise TypeError(f"headers are pairs or a mapping, not a str: Response(..., content_type={headers!r})?")
    fields = encode_fields(headers, NOT_GIVEN)
    names = {name.lower() for name, _ in fields}
    if b"content-type" in names:
        if content_type is not None:
            raise ValueError("the content type is given twice")
    elif content_type is not None or is_text:
        fields.append((b"Content-Type", encode_type(content_type or "text/plain", is_text)))
        names.add(b"content-type")
    lines = [f"HTTP/1.1 {int(status)} {REASONS.get(status, '')}".encode()]
    options: list[bytes] = []
    length = None
    for name, value in fields:
        lowered = name.lower()
        if lowered == b"content-length":
            if length is not None or not value.isdigit():
                raise ValueError("Content-Length is not one number")
            length = int(value)
            continue
        if lowered == b"connection":
            options += [option.strip(b" \t") for option in value.lower().split(b",")]
        lines.append(name + b": " + value)
    if b"upgrade" in names and b"upgrade" not in options:
        lines.append(b"Connection: Upgrade")  # RFC 9110 section 7.8
    return ResponseHead(int(status), tuple(fields), frozenset(names), length, b"close" in options, b"\r\n".join(lines))


@functools.lru_cache(maxsize=256, typed=True)
def plain_head(status: int, content_type: str | None, is_text: bool) -> ResponseHead:
    """A head that has no field but the content type: a program has few of them, and makes them again and again."""
    return encode_given(status, [], content_type, is_text)


def encode_type(content_type: str, is_text: bool) -> bytes:
    """The value of Content-Type. Text that is sent as UTF-8 says so, unless it names a charset."""
    if is_text and content_type.startswith("text/") and "charset" not in content_type.lower():
        content_type += "; charset=utf-8"
    return encode_fields([("Content-Type", content_type)])[0][1]


def encode_interim(status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
    """The whole of an interim response (RFC 9110 section 15.2)."""
    line = f"HTTP/1.1 {int(status)} {REASONS.get(status, '')}".encode()
    return line + join_fields(fields) + b"\r\n"


def has_content(head: ResponseHead, method: str) -> bool:
    """Whether content follows the head (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and head.status not in NO_CONTENT


def encode_head(head: ResponseHead, length: int | None, chunked: bool, close: bool) -> bytes:
    """The whole head, up to the empty line.

    Args:
      length: of the content, if it is known.
      chunked: the end of the content is told by chunks.
      close: the connection is closed after the response.
    """
    parts = [head.encoded]
    if head.status in NO_CONTENT:
        if head.status == 205:
            parts.append(b"Content-Length: 0")
        elif head.status == 304 and head.length is not None:
            parts.append(b"Content-Length: %d" % head.length)  # of what is not sent
    elif length is not None:
        parts.append(b"Content-Length: %d" % length)
    elif chunked:
        parts.append(b"Transfer-Encoding: chunked")
    if b"date" not in head.names:
        parts.append(date_line())
    if close and not head.asks_to_close:
        parts.append(b"Connection: close")
    parts.append(b"\r\n")
    return b"\r\n".join(parts)


_date: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """The `Date` field of this second (RFC 9110 section 6.6.1)."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, b"Date: " + formatdate(now, usegmt=True).encode())
    return _date[1]
