"""The numbers that bound what one connection may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on time (seconds) and size (bytes on the wire). None means no limit, for the limits that allow it.

    Bytes that trickle in do not extend a timeout.

    Attributes:
      header_timeout: for a request's head. It counts from the accept (over TLS, from the end of
        the handshake) for the first request of a connection, and from the first byte for a later
        one. Then the client gets a 408, or a silent close if it has not sent a byte. May be None.
      request_timeout: for a request's body: how long the server waits for it in all. Then the
        client gets a 408, if a response can still be sent. May be None.
      keep_alive_timeout: for the first byte of a connection's next request. Then the connection
        is closed silently. May be None.
      send_timeout: for the peer's host to acknowledge at least one more byte of a response. On a
        socket, less than 30 counts as 30: a slow and steady reader may make its host acknowledge
        nothing for so long. Then the connection is dropped. May be None.
      tls_handshake_timeout: for the TLS handshake. May be None.
      linger_timeout: for the peer to close, once we have sent our last byte and half-closed. What
        it still sends in this time is read and discarded, since closing on unread data makes TCP
        reset the connection and destroy what was sent (RFC 9112 section 9.6). The time counts from
        when the peer's host has acknowledged everything, as long as it acknowledges something every
        `send_timeout` seconds. The peer gets one second more for each 16 KiB that were sent since it
        was last heard, at most 300: its host may hold them unread. With 0, nothing is awaited.
      max_header_size: of a request's head, of one chunk's line, and of a trailer section. A larger
        head or trailer section gets a 431, a request line that is too long by itself a 414, a
        chunk's line a 400.
      max_headers: how many fields a head or a trailer section may have. More get a 431.
      max_body_size: of a request's body, with the overhead of its chunks. A larger one gets a 413.
        May be None; `Body.read` has a limit of its own.
      max_connections: how many may be open at once. One more takes the place of the connection that
        has waited longest for a request, if that has lasted a second at least: that one is closed.
        If no connection has waited so long, the new one gets a 503 and is closed. May be None.
      max_drain: how much of a body that the handler did not read is read and thrown away so that
        the connection can be kept. If more is left, or may be left of a chunked body whose end has not
        arrived, the response says `Connection: close`.

    Raises:
      TypeError: a limit is not a number.
      ValueError: a limit is negative, or zero where that makes no sense.
    """

    header_timeout: float | None = 60
    request_timeout: float | None = 300
    keep_alive_timeout: float | None = 5
    send_timeout: float | None = 60
    tls_handshake_timeout: float | None = 10
    linger_timeout: float = 2
    max_header_size: int = 16 * 1024
    max_headers: int = 100
    max_body_size: int | None = None
    max_drain: int = 256 * 1024
    max_connections: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_timeout"):
                self._check_timeout(field.name, value)
            else:
                self._check_size(field.name, value)

    @staticmethod
    def _check_timeout(name: str, value: object) -> None:
        if value is None and name != "linger_timeout":
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number of seconds, not {value!r}")
        least_ok = value >= 0 if name == "linger_timeout" else value > 0
        if not least_ok or math.isinf(value) or math.isnan(value):
            raise ValueError(f"{name} must be a positive, finite number of seconds, not {value!r}")

    @staticmethod
    def _check_size(name: str, value: object) -> None:
        if value is None and name in {"max_body_size", "max_connections"}:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, not {value!r}")
        if value < (0 if name in {"max_body_size", "max_drain"} else 1):
            raise ValueError(f"{name} is too small: {value!r}")
