"""The errors of a WebSocket, public and internal."""

from __future__ import annotations

from websockets.frames import Close

from .._exceptions import ConnectionBroken, ProtocolError
from .._printable import printable

__all__ = ["ConnectionClosed", "HandshakeError", "Violation"]


class ConnectionClosed(ConnectionBroken):
    """The WebSocket is closed, and not in the way that ends an iteration.

    Attributes:
      code: the close code, an int (RFC 6455 section 7.4); 1006 if the connection ended without a close frame.
      reason: the reason in the close frame, a str; for 1006, what happened.
    """

    def __init__(self, code: int, reason: str, transport: object = None) -> None:
        super().__init__(reason, transport)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the WebSocket is closed: {printable(str(Close(self.code, self.reason)))}"


class HandshakeError(ProtocolError):
    """A request that cannot become a WebSocket, or may not.

    If you don't catch it, the client gets a response with its `status`, and the error is logged at DEBUG only:
    it is the client's fault. A handler that catches it may return a response of its own.

    Attributes:
      status: 400 (an invalid handshake), 403 (an Origin that is not allowed), or 426 (the request does not ask for a
        WebSocket of version 13).
    """


class Violation(Exception):
    """The peer broke the protocol, and the connection fails with this close code (RFC 6455 section 7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
