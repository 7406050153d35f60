"""The options of `accept` and `handler`: their names, types and defaults, and what is valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypedDict

from websockets.frames import CloseCode

from .._headers import TOKEN, FieldsArgument, encode_fields
from .._request import NOT_GIVEN
from ._close_codes import encode_close
from ._deciding_functions import check_plain
from ._origin import AllowedOrigins, Origins

__all__ = ["TICK", "Arguments", "Compression", "Options", "Subprotocols"]

TICK = 0.25  # seconds between two looks of the keepalive, at most

# Fields of the 101 that the handshake sets (RFC 6455 section 11.3), and the option that decides about each of them.
SET_BY = {
    b"sec-websocket-accept": None,
    b"sec-websocket-extensions": "compression",
    b"sec-websocket-key": None,
    b"sec-websocket-protocol": "subprotocols",
    b"sec-websocket-version": None,
}

Subprotocols: TypeAlias = Iterable[str | None] | Callable[[list[str]], str | None]
Compression: TypeAlias = Literal["deflate", "deflate-takeover"] | None


class Arguments(TypedDict, total=False):
    """The options for type checkers, but for `message_type`, which chooses an overload of `accept`."""

    subprotocols: Subprotocols
    origins: Origins
    compression: Compression
    headers: FieldsArgument
    max_message_size: int
    receive_buffer: int
    send_buffer: int
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float
    send_timeout: float | None
    message_timeout: float | None
    shutdown_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `accept`, which documents them. Their defaults stand here alone.

    Attributes:
      tick: seconds between two looks of the keepalive. It is at most a quarter of each time that the options name, so
        that nothing takes longer than they say.
      allowed_origins: `origins`, checked.

    Raises:
      TypeError: an option has the wrong type.
      ValueError: an option has an invalid value.
    """

    message_type: type[str] | type[bytes] | None = None
    subprotocols: Subprotocols = ()
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
    shutdown_code: int | None = 1001
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
        encode_close(self.code_in_shutdown, "")
        waits = [self.close_timeout]
        for name in ("ping_interval", "ping_timeout", "send_timeout", "message_timeout"):
            seconds = getattr(self, name)
            if seconds is not None:
                check_seconds(name, seconds)
                waits.append(seconds)
        self._set("subprotocols", check_subprotocols(self.subprotocols))
        self._set("allowed_origins", AllowedOrigins(self.origins))
        self._set("headers", check_headers(self.headers))
        self._set("tick", min(TICK, *(wait / 4 for wait in waits)))

    @property
    def code_in_shutdown(self) -> int:
        """The code of a close by which our side obeys a shutdown of the server."""
        return CloseCode.GOING_AWAY if self.shutdown_code is None else self.shutdown_code

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


def check_subprotocols(subprotocols: Subprotocols) -> tuple[str | None, ...] | Callable[[list[str]], str | None]:
    """Check the names of subprotocols, which are tokens (RFC 6455 section 4.1); None among them is not a name."""
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols is a list of str, not {subprotocols!r}: write [{subprotocols!r}]?")
    if callable(subprotocols):
        check_plain(subprotocols, "subprotocols")
        return subprotocols
    if not isinstance(subprotocols, Iterable):
        raise TypeError(f"subprotocols is a list of str, or a function, not {subprotocols!r}")
    names = tuple(subprotocols)
    for name in names:
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"subprotocols is a list of str, or a function; {name!r} in the list is not a str")
        if not re.fullmatch(TOKEN, name):
            raise ValueError(f"the name of a subprotocol is a token (RFC 9110 section 5.6.2), not {name!r}")
    return names


def check_headers(headers: FieldsArgument) -> tuple[tuple[bytes, bytes], ...]:
    """Check the further fields of the 101."""
    fields = encode_fields(headers, NOT_GIVEN)
    for name, _ in fields:
        if name.lower() in SET_BY:
            option = SET_BY[name.lower()]
            hint = f": give the option {option}" if option else ""
            raise ValueError(f"headers cannot have {name.decode()}, which the handshake sets{hint}")
    return tuple(fields)
