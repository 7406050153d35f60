"""The options of `accept` and `handler`, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .._headers import TOKEN, FieldsArgument, encode_fields
from .._request import NOT_GIVEN
from ._origin import AllowedOrigins, Origins, check_origins

__all__ = ["Compression", "Options"]

TICK = 0.25  # seconds

Compression: TypeAlias = Literal["deflate", "deflate-takeover"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `accept`, which documents them.

    Attributes:
      tick: seconds between two looks of the keepalive. It is at most a quarter of each time that the options name, so
        that nothing takes longer than they say.
      allowed_origins: `origins`, checked.

    Raises:
      TypeError: an option has the wrong type.
      ValueError: an option has an invalid value.
    """

    message_type: type[str] | type[bytes] | None = None
    subprotocols: Iterable[str] = ()
    origins: Origins = "same"
    compression: Compression = None
    headers: FieldsArgument = ()
    max_message_size: int = 2**20
    receive_buffer: int = 2**16
    send_buffer: int = 2**20
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    close_timeout: float = 10
    send_timeout: float | None = 60
    message_timeout: float | None = 300
    allowed_origins: AllowedOrigins = field(init=False)
    tick: float = field(init=False)

    def __post_init__(self) -> None:
        if self.message_type not in (None, str, bytes):
            raise TypeError(f"message_type is str, bytes or None, not {self.message_type!r}")
        check_compression(self.compression)
        check_size("max_message_size", self.max_message_size)
        check_size("receive_buffer", self.receive_buffer)
        check_size("send_buffer", self.send_buffer)
        check_seconds("close_timeout", self.close_timeout)
        waits = [self.close_timeout]
        for name in ("ping_interval", "ping_timeout", "send_timeout", "message_timeout"):
            seconds = getattr(self, name)
            if seconds is not None:
                check_seconds(name, seconds)
                waits.append(seconds)
        self._set("subprotocols", check_subprotocols(self.subprotocols))
        self._set("allowed_origins", check_origins(self.origins))
        self._set("headers", tuple(encode_fields(self.headers, NOT_GIVEN)))
        self._set("tick", min(TICK, *(wait / 4 for wait in waits)))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def check_compression(compression: object) -> None:
    if compression is not None and not isinstance(compression, str):
        raise TypeError(f"compression is a string or None, not {compression!r}")
    if compression not in (None, "deflate", "deflate-takeover"):
        raise ValueError(f"compression is 'deflate', 'deflate-takeover' or None, not {compression!r}")


def check_size(name: str, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} is a number of bytes, not {size!r}")
    if size < 1:
        raise ValueError(f"{name} must be at least 1, not {size!r}")


def check_seconds(name: str, seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0, not {seconds!r}")


def check_subprotocols(subprotocols: Iterable[str]) -> tuple[str, ...]:
    """Check the names of subprotocols, which are tokens (RFC 6455 section 4.1)."""
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols is a list of strings, not {subprotocols!r}: write [{subprotocols!r}]?")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"subprotocols is a list of strings; {name!r} is not a string")
        if not re.fullmatch(TOKEN, name):
            raise ValueError(f"the name of a subprotocol is a token (RFC 9110 section 5.6.2), not {name!r}")
    return names
