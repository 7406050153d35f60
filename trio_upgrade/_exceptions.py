"""The errors of this package, and how to tell whose failure an exception was."""

from __future__ import annotations

import logging
import sys

import trio

from ._printable import printable

__all__ = ["BodyTooLarge", "ConnectionBroken", "Malformed", "ProtocolError", "flatten", "is_failure_of", "log_bug"]

logger = logging.getLogger("trio_upgrade")


class ConnectionBroken(trio.BrokenResourceError):
    """The transport of one connection failed: its peer reset it, vanished or stopped reading.

    It knows which transport failed, so that a handler's own broken database is never taken for its
    vanished peer; see `is_failure_of`.
    """

    def __init__(self, message: str, transport: object) -> None:
        super().__init__(message)
        self._transport = transport

    def __str__(self) -> str:
        return printable(super().__str__())  # the peer may have written a part of it


class ProtocolError(ConnectionBroken):
    """The peer broke HTTP: a malformed head or body, or one that was cut off or came too late.

    It is a `trio.BrokenResourceError`: nothing more can be read from that connection.

    Attributes:
      status: an int, the status of the response that tells the client, if one can still be sent:
        400, 408, 413, 414, 431, 501 or 505.
      headers: the fields of that response, as pairs of str.
    """

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str, transport: object = None, *, status: int = 400) -> None:
        super().__init__(message, transport)
        self.status = status


class BodyTooLarge(ProtocolError):
    """A request's body is longer than its reader, or `Limits.max_body_size`, allows.

    If a request handler does not catch it, the client gets a 413 (Content Too Large).
    """

    def __init__(self, message: str, transport: object = None) -> None:
        super().__init__(message, transport, status=413)


class Malformed(Exception):
    """Bytes that are not HTTP/1.1, for a parser, which knows no connection.

    Whoever has called the parser raises a `ProtocolError` of the connection instead.

    Attributes:
      status: the status of the response that tells the client.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def flatten(exc: BaseException) -> list[BaseException]:
    """The exceptions at the leaves of a group, in order; a plain exception is its own leaf."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    return [leaf for member in exc.exceptions for leaf in flatten(member)]


def is_failure_of(transport: object, exc: BaseException, kind: type[ConnectionBroken] = ConnectionBroken) -> bool:
    """Whether every exception in `exc` is a failure of this kind, of this transport or one that it carries."""
    return all(isinstance(leaf, kind) and _is_carried_by(leaf._transport, transport) for leaf in flatten(exc))


def _is_carried_by(inner: object, transport: object) -> bool:
    """Whether a transport is `transport`, or goes through it: where a server serves inside of another's upgrade."""
    while inner is not transport and inner is not None:
        inner = getattr(inner, "carrier", None)
    return inner is transport


def log_bug(message: str, *args: object) -> None:
    """Log the exception that is being handled: only a mistake in this package can have raised it.

    There is one other case, which is not logged: Trio itself has failed, and its tasks are garbage. Their cleanup
    cannot succeed without Trio.
    """
    if not is_garbage(sys.exc_info()[1]):
        logger.exception(message + "; please report this", *args)


def is_garbage(exc: BaseException | None) -> bool:
    """Whether an exception comes from the cleanup of a coroutine that was dropped before its end."""
    while exc is not None and not isinstance(exc, GeneratorExit):
        exc = exc.__context__
    return exc is not None
