"""What becomes of a request: who answers it, and with what."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import NamedTuple

from ._body import IncomingBody
from ._error_responses import CONNECT_1_0, MISDIRECTED, NO_CONNECT, refusal
from ._exceptions import BodyTooLarge
from ._handlers import Settings, UpgradeHandler
from ._request import Request
from ._response import Response

__all__ = ["DROP", "Action", "Route", "ask", "route"]


class Action(Enum):
    """What is done with a request."""

    RESPOND = "RESPOND"  # `on_request` answers it
    ASK = "ASK"  # `should_upgrade` decides
    UPGRADE = "UPGRADE"  # a handler gets the connection
    REFUSE = "REFUSE"  # the server answers it, and closes the connection
    DROP = "DROP"  # the connection is closed without a word


class Route(NamedTuple):
    """An action, with the handler of an UPGRADE, or the response of a REFUSE."""

    action: Action
    handler: UpgradeHandler | None = None
    response: Response | None = None


RESPOND = Route(Action.RESPOND)
ASK = Route(Action.ASK)
DROP = Route(Action.DROP)


def route(request: Request, body: IncomingBody, settings: Settings) -> Route:
    """What becomes of a request, as far as its head tells."""
    if is_misdirected(request, settings):
        return Route(Action.REFUSE, response=MISDIRECTED)
    if request.method == "CONNECT":
        return route_connect(request, settings)
    try:
        body.check_length()
    except BodyTooLarge as exc:
        return Route(Action.REFUSE, response=refusal(exc))
    if request.upgrade:
        if settings.should_upgrade is not None:
            return ASK
        if settings.on_upgrade is not None:
            return Route(Action.UPGRADE, handler=settings.on_upgrade)
    return RESPOND


def route_connect(request: Request, settings: Settings) -> Route:
    """What becomes of a CONNECT request."""
    if request.http_version == "1.0":
        return Route(Action.REFUSE, response=CONNECT_1_0)
    if settings.on_connect is None:
        return Route(Action.REFUSE, response=NO_CONNECT)
    return Route(Action.UPGRADE, handler=settings.on_connect)


async def ask(request: Request, settings: Settings) -> Route:
    """Let `should_upgrade` decide (Node's shouldUpgradeCallback).

    Raises:
      Exception: what it raises.
    """
    assert settings.should_upgrade is not None
    answer = settings.should_upgrade(request)
    if not (await answer if inspect.isawaitable(answer) else answer):
        return RESPOND
    return DROP if settings.on_upgrade is None else Route(Action.UPGRADE, handler=settings.on_upgrade)


def is_misdirected(request: Request, settings: Settings) -> bool:
    """Whether it asks without TLS for what needs TLS (RFC 9110 section 7.4)."""
    if request.target[0] == "/" or not request.target.lower().startswith("https://"):
        return False
    proxies = settings.proxies
    return request.scheme == "http" and not (proxies and proxies.trusts_peer(request.peername))
