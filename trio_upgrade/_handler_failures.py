"""What a handler raised: whose fault it was, what is logged, and what must end the task."""

from __future__ import annotations

import logging

from ._exceptions import is_failure_of
from ._request import Request, transport_of
from ._statistics import Counters

__all__ = ["log_failure"]

logger = logging.getLogger("trio_upgrade")


def log_failure(request: Request, exc: BaseException, counters: Counters) -> None:
    """Log what a handler raised, on DEBUG if it was only that its own peer failed.

    Raises:
      BaseException: the part of it that must end the task, such as Cancelled or KeyboardInterrupt.
    """
    failure, others = split(exc)
    if failure is not None:
        is_peers = is_failure_of(transport_of(request), failure)
        if not is_peers:
            counters.handler_errors += 1
        level = logging.DEBUG if is_peers else logging.ERROR
        logger.log(level, "%r: the handler raised", request, exc_info=failure)
    if others is not None:
        try:
            raise others
        finally:
            del exc, others  # its traceback leads here


def split(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The part of an exception or a group that is made of `Exception`s, and the rest."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(Exception)
    return (exc, None) if isinstance(exc, Exception) else (None, exc)
