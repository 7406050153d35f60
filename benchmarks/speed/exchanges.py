"""Requests, each with what receives its response: what a load repeats on its connections."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

from .connections import Replies
from .wire import (
    KEYS,
    check_body,
    check_body_length,
    check_fields,
    check_switch,
    get,
    payloads,
    post,
    upgrade,
)

__all__ = ["Exchange", "gets", "gets_with_fields", "posts", "switches", "switches_with_body"]

Exchange: TypeAlias = tuple[bytes, Replies]


def gets() -> list[Exchange]:
    """GET /"""
    return [(get(), Replies(check_body))]


def gets_with_fields() -> list[Exchange]:
    """A GET whose response has many fields."""
    return [(get("/fields"), Replies(check_fields))]


def posts(size: int, chunked: bool = False) -> list[Exchange]:
    """Bodies of about this size, each of another length; with a Content-Length, or in one chunk."""
    bodies = [payload[number:] for number, payload in enumerate(payloads(size))]
    return [
        (post(body, size if chunked else None), Replies(partial(check_body, expected=b"%d" % len(body))))
        for body in bodies
    ]


def switches(protocol: str) -> list[Exchange]:
    """Upgrade requests that differ in their keys."""
    return [(upgrade(protocol, key=key), Replies(partial(check_switch, protocol=protocol, key=key))) for key in KEYS]


def switches_with_body(protocol: str, size: int) -> list[Exchange]:
    """Upgrade requests with bodies of about this size, each of another length."""
    bodies = [payload[number:] for number, payload in enumerate(payloads(size))]
    return [
        (
            upgrade(protocol, body=body),
            Replies(partial(check_body_length, protocol=protocol, length=len(body))),
        )
        for body in bodies
    ]
