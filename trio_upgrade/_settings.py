"""What a server is told to do with requests: its handlers, limits and trusted proxies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ._error_responses import NOT_FOUND
from ._limits import Limits
from ._request import Request
from ._response import Response
from ._response_writer import ResponseWriter
from ._trusted_proxies import TrustedProxies
from ._upgraded_stream import UpgradedStream

__all__ = ["Application", "RequestHandler", "Settings", "ShouldUpgrade", "UpgradeHandler", "not_found"]

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
UpgradeHandler: TypeAlias = Callable[[Request, UpgradedStream], Awaitable[Response | None]]
ShouldUpgrade: TypeAlias = Callable[[Request], bool | Awaitable[bool]]


class Application(Protocol):
    """Answers requests in tasks of its own, which may go on running after the response."""

    def start(self, writer: ResponseWriter) -> None:
        """Start the task that writes the response to a request."""

    def handler_of(self, request: Request) -> UpgradeHandler | None:
        """The upgrade handler for a request, which the connection's own task runs; None to `start` a task."""

    def end_by(self, deadline: float) -> None:
        """Cancel the tasks that still run at a time of `trio.current_time`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told to do with requests.

    Raises:
      TypeError: a handler cannot be called, or the limits are not `Limits`.
    """

    on_request: RequestHandler
    on_upgrade: UpgradeHandler | None
    should_upgrade: ShouldUpgrade | None
    on_connect: UpgradeHandler | None
    limits: Limits
    proxies: TrustedProxies
    application: Application | None = None  # answers in place of `on_request`, and where another handler is None

    def __post_init__(self) -> None:
        for name in ("on_request", "on_upgrade", "should_upgrade", "on_connect"):
            handler = getattr(self, name)
            if handler is not None and not callable(handler):
                raise TypeError(f"{name} must be a function, not {handler!r}")
        if not isinstance(self.limits, Limits):
            raise TypeError(f"limits must be a trio_upgrade.Limits, not {self.limits!r}")


async def not_found(request: Request) -> Response:
    """The default for `on_request`."""
    return NOT_FOUND
