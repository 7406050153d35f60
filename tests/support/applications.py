"""Small ASGI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from trio_upgrade import asgi

__all__ = ["Endpoint", "http", "read", "respond", "scopes_of", "websocket"]

Endpoint: TypeAlias = Callable[[asgi.Scope, asgi.Receive, asgi.Send], Awaitable[object]]


def only(kind: str, endpoint: Endpoint) -> asgi.ASGIApplication:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != kind:
            raise NotImplementedError(scope["type"])
        await endpoint(scope, receive, send)

    return app


def http(endpoint: Endpoint) -> asgi.ASGIApplication:
    """An application for HTTP alone."""
    return only("http", endpoint)


def websocket(endpoint: Endpoint) -> asgi.ASGIApplication:
    """An application for WebSockets alone."""
    return only("websocket", endpoint)


async def respond(send: asgi.Send, content: bytes = b"", status: int = 200, *fields: tuple[bytes, bytes]) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


async def read(receive: asgi.Receive) -> bytes:
    """Receive the whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        more = message["more_body"]
    return body


def scopes_of(scopes: list[asgi.Scope]) -> asgi.ASGIApplication:
    """An application that keeps the scopes of its requests."""

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        scopes.append(scope)
        await respond(send)

    return http(endpoint)
