"""The lifespan of an application: what it does before the first request, and after the last."""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

import trio

from ._failures import reason, split
from ._messages import ASGIApplication, Message, unexpected

__all__ = ["Lifespan", "StartupFailed"]

logger = logging.getLogger("trio_upgrade.asgi")


class StartupFailed(Exception):
    """The application says that it cannot start (`lifespan.startup.failed`). The message is the application's."""


class Stage(Enum):
    """How far the lifespan is."""

    STARTING = "lifespan.startup.complete or lifespan.startup.failed"
    SERVING = "nothing before lifespan.shutdown was received"
    STOPPING = "lifespan.shutdown.complete or lifespan.shutdown.failed"
    OVER = "nothing more"


STARTING, SERVING, STOPPING, OVER = Stage


class Lifespan:
    """Runs the lifespan of an application.

    Attributes:
      state: what the application keeps for its requests.
    """

    def __init__(self, app: ASGIApplication) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._stage = STARTING
        self._startup_told = False
        self._started = trio.Event()  # or it will not start
        self._stopping = trio.Event()
        self._stopped = trio.Event()  # or it has ended
        self._failure: str | None = None  # what the application says of its failure

    async def run(self) -> None:
        """Run the application with the scope "lifespan", in a task of its own.

        Raises:
          Exception: what it raises while requests are served.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except BaseException as exc:
            failure, passes = split(exc)
            try:
                if failure is not None:
                    self._take(failure)
                if passes is not None:
                    raise passes from None
            finally:
                del failure, passes  # their tracebacks lead here
        finally:
            self._stage = OVER
            self._started.set()
            self._stopped.set()

    def _take(self, failure: Exception) -> None:
        if self._stage is SERVING:
            raise failure  # what runs around all requests has died, and so does the server
        if self._stage is STARTING:
            logger.info("the application has no lifespan: %r", failure)
            logger.debug("what it has raised", exc_info=failure)
        elif self._failure is None:
            logger.error("the application's lifespan has failed at its end", exc_info=failure)

    async def start(self) -> None:
        """Wait until the application has started, or is known to have no lifespan.

        Raises:
          StartupFailed: it says that it cannot start.
        """
        await self._started.wait()
        if self._failure is not None:
            raise StartupFailed(self._failure)

    async def stop(self) -> None:
        """Tell the application that no request will come, and wait until it has shut down."""
        if self._stage is SERVING:
            self._stage = STOPPING
        self._stopping.set()
        await self._stopped.wait()

    async def _receive(self) -> Message:
        if not self._startup_told:
            await trio.lowlevel.checkpoint()
            self._startup_told = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        kind = message["type"]
        match self._stage, kind:
            case Stage.STARTING, "lifespan.startup.complete":
                self._stage = SERVING
                self._started.set()
            case Stage.STARTING, "lifespan.startup.failed":
                self._stage = OVER
                self._failure = reason(message.get("message", ""))
                self._started.set()
            case Stage.STOPPING, "lifespan.shutdown.complete":
                self._stage = OVER
                self._stopped.set()
            case Stage.STOPPING, "lifespan.shutdown.failed":
                self._stage = OVER
                self._failure = message.get("message", "")
                logger.error("the application has not shut down in order: %s", self._failure)
                self._stopped.set()
            case _:
                raise unexpected(kind, self._stage.value)
