"""The head of a response as an application gives it. Applications give the same fields again and again."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from .._response_head import ResponseHead, make_head

__all__ = ["response_head"]


def response_head(status: Any, headers: Iterable[Any]) -> ResponseHead:
    """Check and encode the head of a response. A Transfer-Encoding is left out: the server frames the content.

    Raises:
      TypeError, ValueError: the status or a field is invalid; see `Response`.
    """
    length: bytes | None = None
    fields: list[tuple[Any, Any]] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"content-length" and length is None:
            length = value
        elif lowered != b"transfer-encoding":
            fields.append((name, value))
    try:
        head = encode(status, tuple(fields))
    except TypeError:  # it cannot be a key, and is invalid, or a bytearray
        head = make_head(status, fields, None, False)
    if length is None:
        return head
    if not isinstance(length, bytes) or not length.isdigit() or head.length is not None:
        raise ValueError(f"Content-Length is not one number: {length!r}")
    return ResponseHead(head.status, head.fields, head.names, int(length), head.asks_to_close, head.encoded)


@functools.lru_cache(maxsize=256, typed=True)
def encode(status: int, fields: tuple[tuple[bytes, bytes], ...]) -> ResponseHead:
    return make_head(status, fields, None, False)
