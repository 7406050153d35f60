"""What an application raises: whose fault it was, and what must end the task that runs it."""

from __future__ import annotations

import logging
import math

import trio
from trio.lowlevel import in_trio_task

from .._exceptions import flatten

__all__ = ["ClientDisconnected", "is_disconnect", "reason", "split"]

logger = logging.getLogger("trio_upgrade.asgi")

NEEDS_ASYNCIO = (
    "the application needs asyncio, but trio-upgrade runs on Trio: serve it with uvicorn, or write it for Trio or AnyIO"
)

ASYNCIO_LACKS = ("no running event loop", "no current event loop")

# What Starlette and Litestar raise once they are told. They are known by name, since neither need be installed.
TOLD = ("ClientDisconnect", "WebSocketDisconnect")


class ClientDisconnected(OSError):
    """An application has sent something to a client that is gone."""


def split(exc: BaseException) -> tuple[Exception | None, BaseException | None]:
    """Divide what an application raised.

    Returns:
      What is to be logged and answered, as an `Exception`; and what must end the task: KeyboardInterrupt,
      SystemExit, and Cancelled if the task itself is cancelled. Either may be None. After Trio has failed, an
      application's coroutine is garbage, and all that it raises must end the task.
    """
    if not in_trio_task():
        return None, exc
    passing: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)
    if trio.current_effective_deadline() == -math.inf:
        passing = (*passing, trio.Cancelled)
    passes: BaseException | None
    failure: BaseException | None
    if isinstance(exc, BaseExceptionGroup):
        passes, failure = exc.split(passing)
    else:
        passes, failure = (exc, None) if isinstance(exc, passing) else (None, exc)
    return None if failure is None else as_exception(failure), passes


def as_exception(failure: BaseException) -> Exception:
    """The same as an `Exception`; that of an application that needs asyncio in words that say so."""
    if any(map(tells_of_asyncio, flatten(failure))):
        logger.debug("the application needs asyncio here:", exc_info=failure)
        return RuntimeError(NEEDS_ASYNCIO)
    if isinstance(failure, Exception):
        return failure
    error = RuntimeError(f"the application has raised {failure!r}")  # asyncio.CancelledError, say
    error.__cause__ = failure
    return error


def tells_of_asyncio(exc: BaseException) -> bool:
    """Whether it is what a call of asyncio raises under Trio."""
    message = str(exc)
    if isinstance(exc, RuntimeError):
        return message in ASYNCIO_LACKS
    return isinstance(exc, TypeError) and "unrecognized yield message" in message


def reason(message: str) -> str:
    """Why an application cannot start, in its own words. Starlette gives a traceback, perhaps one of asyncio."""
    lines = message.strip().splitlines()
    if lines and lines[-1].removeprefix("RuntimeError: ") in ASYNCIO_LACKS:
        logger.debug("the application cannot start: %s", message)
        return NEEDS_ASYNCIO
    return message


def is_disconnect(failure: BaseException) -> bool:
    """Whether it says only that the client is gone: our own error, or that of a framework that was told so."""
    return all(isinstance(leaf, ClientDisconnected) or type(leaf).__name__ in TOLD for leaf in flatten(failure))
