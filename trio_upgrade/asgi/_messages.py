"""The types of ASGI, and what is said of a message that comes out of order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["ASGIApplication", "Message", "Receive", "Scope", "Send", "unexpected"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[object]]


def unexpected(kind: object, expected: str) -> RuntimeError:
    """The error of a message that cannot be sent now."""
    return RuntimeError(f"the application has sent {kind!r}, but expected is {expected}")
