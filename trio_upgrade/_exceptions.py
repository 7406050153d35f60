"""The errors of this package, and whose failure an exception was."""

from __future__ import annotations

import logging

import trio

__all__ = ["BodyTooLarge", "ConnectionBroken", "ProtocolError", "flatten", "log_bug"]

logger = logging.getLogger("trio_upgrade")


class ConnectionBroken(trio.BrokenResourceError):
    """The transport of one connection failed: its peer reset it, vanished or stopped reading.

    `transport` is the one that failed, so that a handler's own broken database is never taken
    for its vanished peer.
    """

    def __init__(self, message: str, transport: object) -> None:
        super().__init__(message)
        self.transport = transport


class ProtocolError(ConnectionBroken):
    """The peer broke HTTP: a malformed head or body, or one that was cut off or came too late.

    A `trio.BrokenResourceError`: nothing more can be read from that connection.

    Attributes:
      status: the response status that tells the client, if one can still be sent:
        400, 408, 413, 414, 431, 501 or 505.
      headers: fields of that response, as pairs of str.
    """

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str, transport: object = None, *, status: int = 400) -> None:
        super().__init__(message, transport)
        self.status = status


class BodyTooLarge(ProtocolError):
    """A request's body is longer than its reader, or `Limits.max_body_size`, allows.

    Left unhandled by a request handler, it is answered with 413 (Content Too Large).
    """

    def __init__(self, message: str, transport: object = None) -> None:
        super().__init__(message, transport, status=413)


def flatten(exc: BaseException) -> list[BaseException]:
    """The exceptions at the leaves of a group, in order; a plain exception is its own leaf."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    return [leaf for member in exc.exceptions for leaf in flatten(member)]


def log_bug(what: str, *args: object) -> None:
    """Log, with the exception that is being handled, that something failed by a mistake of this package."""
    logger.exception(f"{what} failed inside the server; please report this", *args)
