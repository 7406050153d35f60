"""What a server is told to do with requests: its handlers, limits and trusted proxies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from ._limits import Limits
from ._request import Request
from ._response import Response
from ._trusted_proxies import TrustedProxies
from ._upgraded_stream import UpgradedStream

__all__ = ["RequestHandler", "Settings", "ShouldUpgrade", "UpgradeHandler"]

RequestHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
UpgradeHandler: TypeAlias = Callable[[Request, UpgradedStream], Awaitable[Response | None]]
ShouldUpgrade: TypeAlias = Callable[[Request], bool | Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told to do with requests."""

    on_request: RequestHandler
    on_upgrade: UpgradeHandler | None
    should_upgrade: ShouldUpgrade | None
    on_connect: UpgradeHandler | None
    limits: Limits
    proxies: TrustedProxies
