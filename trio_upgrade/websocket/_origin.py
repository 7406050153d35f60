"""The Origin check: which pages may open a WebSocket (RFC 6455 sections 4.2.2 and 10.2).

Any page can open a WebSocket to any server, and the browser sends the user's cookies along. What protects the user is
that the browser tells in the Origin field where the page is from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

from .._headers import Headers

__all__ = ["AllowedOrigins", "Origins", "check_origins", "is_allowed"]

Origins: TypeAlias = Literal["same", "*"] | Iterable[str]
AllowedOrigins: TypeAlias = Literal["same", "*"] | frozenset[str]

ORIGIN = re.compile(r"null|[a-z][-+.a-z0-9]*://[^\s/?#@]*")  # RFC 6454 section 6.2, in lower case
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def check_origins(origins: Origins) -> AllowedOrigins:
    """Check the option `origins`.

    Raises:
      TypeError: it is neither "same", nor "*", nor a list of strings.
      ValueError: an item of the list is not an origin.
    """
    if origins == "same" or origins == "*":
        return origins
    if isinstance(origins, str):
        raise TypeError(f"origins is 'same', '*' or a list of strings, not {origins!r}: write [{origins!r}]?")
    allowed = set()
    for origin in origins:
        if not isinstance(origin, str):
            raise TypeError(f"origins is 'same', '*' or a list of strings; {origin!r} is not a string")
        if not ORIGIN.fullmatch(origin.lower()):
            raise ValueError(f"an origin is a scheme, a host and a port, such as 'https://example.com', not {origin!r}")
        allowed.add(origin.lower())
    return frozenset(allowed)


def is_allowed(headers: Headers, allowed: AllowedOrigins) -> bool:
    """Whether the page that a handshake comes from may open a WebSocket."""
    if allowed == "*":
        return True
    origins = headers.get_list("origin")
    if not origins:
        return allowed == "same"  # this is not a browser
    if len(origins) > 1:
        return False
    origin = origins[0].lower()
    if allowed == "same":
        return is_same(origin, headers["host"].lower())
    return origin in allowed


def is_same(origin: str, host: str) -> bool:
    """Whether a page of `origin` came from `host`; either of them may name the default port."""
    scheme, _, authority = origin.partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    return bool(authority) and authority.removesuffix(port) == host.removesuffix(port)
