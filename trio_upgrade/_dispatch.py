"""Deciding who answers a request: which handler, or the server itself."""

from __future__ import annotations

import inspect
from enum import Enum

from ._error_responses import MISDIRECTED, NO_CONNECT, error_response
from ._exceptions import BodyTooLarge
from ._request import Request
from ._request_body import IncomingBody
from ._response import Response
from ._settings import Settings, UpgradeHandler

__all__ = ["ASK", "DROP", "RESPOND", "UPGRADE", "Action", "ask", "dispatch", "handler_of"]


class Action(Enum):
    """What is done with a request, unless the server refuses it."""

    RESPOND = "RESPOND"  # `on_request` answers it
    ASK = "ASK"  # `should_upgrade` decides
    UPGRADE = "UPGRADE"  # a handler gets the connection; see `handler_of`
    DROP = "DROP"  # the connection is closed without a word


RESPOND, ASK, UPGRADE, DROP = Action


def dispatch(request: Request, body: IncomingBody, settings: Settings) -> Action | Response:
    """Decide who answers a request, as far as its head tells.

    Returns:
      What to do; or the response with which the server refuses it, and closes the connection.
    """
    if is_misdirected(request, settings):
        return MISDIRECTED
    if request.method == "CONNECT":
        return dispatch_connect(settings)
    try:
        body.check_length()
    except BodyTooLarge as exc:
        return error_response(exc)
    if request.upgrade:
        if settings.should_upgrade is not None:
            return ASK
        if settings.on_upgrade is not None:
            return UPGRADE
    return RESPOND


def dispatch_connect(settings: Settings) -> Action | Response:
    """Decide who answers a CONNECT request."""
    if settings.on_connect is not None:
        return UPGRADE
    return NO_CONNECT if settings.application is None else RESPOND


async def ask(request: Request, settings: Settings) -> Action:
    """Let `should_upgrade` decide (Node's shouldUpgradeCallback).

    Raises:
      Exception: what it raises.
    """
    assert settings.should_upgrade is not None
    answer = settings.should_upgrade(request)
    if not (await answer if inspect.isawaitable(answer) else answer):
        return RESPOND
    return DROP if settings.on_upgrade is None else UPGRADE


def handler_of(request: Request, settings: Settings) -> UpgradeHandler:
    """The handler that gets the connection of a request."""
    handler = settings.on_connect if request.method == "CONNECT" else settings.on_upgrade
    assert handler is not None
    return handler


def is_misdirected(request: Request, settings: Settings) -> bool:
    """Whether it asks without TLS for what needs TLS (RFC 9110 section 7.4)."""
    if request.target[0] == "/" or not request.target.lower().startswith("https://"):
        return False
    proxies = settings.proxies
    return request.scheme == "http" and not (proxies and proxies.trusts_peer(request.peername))
