"""How a WebSocket ends: close codes and what carries them (RFC 6455 section 7.4)."""

from __future__ import annotations

import functools

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode

from .._exceptions import ConnectionBroken

__all__ = ["ORDERLY", "ConnectionClosed", "Violation", "close_payload", "parse_close"]

ORDERLY = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)


class ConnectionClosed(ConnectionBroken):
    """The WebSocket is closed, and not in the way that ends an iteration.

    Attributes:
      code: the close code (RFC 6455 section 7.4); 1006 where the peer vanished without one.
      reason: what the close frame said, or what happened.
    """

    def __init__(self, code: int, reason: str, transport: object = None) -> None:
        super().__init__(reason, transport)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the WebSocket is closed: {Close(self.code, self.reason)}"


class Violation(Exception):
    """The peer broke the protocol, and the connection fails with this close code (section 7.1.7)."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@functools.lru_cache(maxsize=32)
def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame (RFC 6455 section 5.5.1).

    Raises:
      ValueError: no close frame can say so.
    """
    try:
        payload = Close(code, reason).serialize()
    except ProtocolError:
        raise ValueError(f"no close frame may have the code {code!r}") from None
    if len(payload) > 125:
        raise ValueError("the reason of a close has at most 123 bytes in UTF-8")
    return payload


def parse_close(payload: bytes) -> Close:
    """The code and the reason of a close frame.

    Raises:
      Violation: it has none that a close frame may have.
    """
    try:
        return Close.parse(payload)
    except ProtocolError as exc:
        raise Violation(CloseCode.PROTOCOL_ERROR, str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise Violation(CloseCode.INVALID_DATA, "a close reason that is not UTF-8") from exc
