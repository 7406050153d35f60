"""What a handler may choose for its WebSockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .._headers import FieldsArgument, encode_fields

__all__ = ["Compression", "Options", "Origins"]

TICK = 0.25  # seconds

Origins: TypeAlias = Literal["same", "*"] | Iterable[str]
Compression: TypeAlias = Literal["deflate", "deflate-takeover"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `accept`, checked; see there.

    Attributes:
      tick: how late something may be noticed, in seconds, so that no wait takes longer than it says.
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
    tick: float = field(init=False)

    def __post_init__(self) -> None:
        if self.message_type not in (None, str, bytes):
            raise TypeError(f"message_type is str, bytes or None, not {self.message_type!r}")
        if self.compression not in (None, "deflate", "deflate-takeover"):
            raise ValueError(f"compression is 'deflate', 'deflate-takeover' or None, not {self.compression!r}")
        for name in ("max_message_size", "receive_buffer", "send_buffer"):
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"{name} is a number of bytes, not {size!r}")
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size!r}")
        for name in ("ping_interval", "ping_timeout", "close_timeout"):
            seconds = getattr(self, name)
            if seconds is None and name != "close_timeout":
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
            if not seconds > 0:
                raise ValueError(f"{name} must be more than 0, not {seconds!r}")
        self._fix("subprotocols", listed("subprotocols", self.subprotocols))
        if self.origins not in ("same", "*"):
            self._fix("origins", frozenset(origin.lower() for origin in listed("origins", self.origins)))
        self._fix("headers", tuple(encode_fields(self.headers)))
        waits = [wait for wait in (self.ping_interval, self.ping_timeout, self.close_timeout) if wait is not None]
        self._fix("tick", min(TICK, *(wait / 4 for wait in waits)))

    def _fix(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def listed(name: str, strings: Iterable[str]) -> tuple[str, ...]:
    """The strings of a list, which is not itself a str."""
    if isinstance(strings, str):
        raise TypeError(f"{name} is a list of strings, not {strings!r}: write [{strings!r}]?")
    items = tuple(strings)
    if not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} is a list of strings, not {items!r}")
    return items
