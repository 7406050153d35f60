"""Requests, each with what receives its response: what a load repeats on its connections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from .connections import Replies
from .wire import (
    KEYS,
    LAST_CHUNK,
    VARIETY,
    check_body,
    check_body_length,
    check_fields,
    check_switch,
    chunks,
    get,
    payloads,
    request,
    upgrade,
)

__all__ = ["Exchange", "gets", "gets_with_fields", "posts", "posts_in_chunks", "switches", "switches_with_body"]

Exchange: TypeAlias = tuple[bytes, Replies]
LENGTH = "/length"  # the target that answers with the length of the request's body


def gets() -> list[Exchange]:
    """GET /"""
    return [(get(), Replies(check_body))]


def gets_with_fields() -> list[Exchange]:
    """A GET whose response has many fields."""
    return [(get("/fields"), Replies(check_fields))]


def posts(size: int) -> list[Exchange]:
    """Bodies with a Content-Length."""
    return _bodies(size, lambda body: f"Content-Length: {len(body)}\r\n", lambda body: body)


def posts_in_chunks(size: int) -> list[Exchange]:
    """Bodies in one chunk."""
    return _bodies(size, lambda _: "Transfer-Encoding: chunked\r\n", lambda body: chunks(body, size) + LAST_CHUNK)


def _bodies(size: int, fields: Callable[[bytes], str], encode: Callable[[bytes], bytes]) -> list[Exchange]:
    """Bodies of about this size, each of another length."""
    bodies = [payload[number:] for number, payload in enumerate(payloads(size))]
    return [
        (
            request("POST", LENGTH, fields(body)) + encode(body),
            Replies(partial(check_body, expected=b"%d" % len(body))),
        )
        for body in bodies
    ]


def switches(protocol: str) -> list[Exchange]:
    """Upgrade requests that differ in their keys."""
    return [(upgrade(protocol, key=key), Replies(partial(check_switch, protocol=protocol, key=key))) for key in KEYS]


def switches_with_body(protocol: str, size: int) -> list[Exchange]:
    """Upgrade requests with bodies of about this size, each of another length."""
    found = []
    for length in range(size, size - VARIETY, -1):
        head = request("POST", "/", f"Connection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: {length}\r\n")
        found.append((head + b"x" * length, Replies(partial(check_body_length, protocol=protocol, length=length))))
    return found
