"""The server's own responses: to errors of clients and handlers, and to one connection too many."""

from __future__ import annotations

from ._exceptions import ProtocolError
from ._headers import FieldsArgument
from ._response import Response

__all__ = [
    "HANDLER_FAILED",
    "MISDIRECTED",
    "NOT_FOUND",
    "NO_CONNECT",
    "TOO_MANY_CONNECTIONS",
    "error_response",
]


def plain(status: int, text: str, headers: FieldsArgument = ()) -> Response:
    """A response of one line."""
    return Response(status, text + "\n", headers)


NOT_FOUND = plain(404, "Not Found")
NO_CONNECT = plain(405, "CONNECT is not served here", {"Allow": ""})  # RFC 9110 section 15.5.6: it allows nothing
MISDIRECTED = plain(421, "https is not served on this connection")  # RFC 9110 section 7.4
HANDLER_FAILED = plain(500, "Internal Server Error")
TOO_MANY_CONNECTIONS = plain(503, "There are too many connections", {"Retry-After": "1"})


def error_response(exc: ProtocolError) -> Response:
    """The response that tells a client how it broke the protocol."""
    return plain(exc.status, str(exc), exc.headers)
