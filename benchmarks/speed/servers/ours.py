"""trio-upgrade, with its default settings."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream, websocket

WebSocket = websocket.WebSocket[str | bytes]
members: set[WebSocket] = set()


async def on_request(request: Request) -> Response:
    if request.method == "POST":
        return Response(200, b"%d" % await body_size(request), content_type="text/plain")
    return Response(200, b"hello", content_type="text/plain")


async def body_size(request: Request) -> int:
    """Read the body, a large one piece by piece."""
    if request.target != "/upload":
        return len(await request.body.read())
    size = 0
    async for part in request.body:
        size += len(part)
    return size


def on_upgrade(request: Request, stream: UpgradedStream) -> Awaitable[Response | None]:
    if not websocket.is_handshake(request):
        return echo(request, stream)
    return (broadcast_messages if request.path == "/broadcast" else echo_messages)(request, stream)


async def echo(request: Request, stream: UpgradedStream) -> None:
    if request.target == "/body":
        await request.body.read()
    await request.accept("echo")
    async for data in stream:
        await stream.send_all(data)


@websocket.handler
async def echo_messages(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@websocket.handler
async def broadcast_messages(ws: WebSocket) -> None:
    members.add(ws)
    try:
        async for message in ws:
            websocket.broadcast(members, message)
    finally:
        members.discard(ws)


def serve(port: int, certificate: str | None = None) -> None:
    """Serve, over TLS if there is a file with a certificate and its key."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    trio_upgrade.run(Server(on_request, on_upgrade=on_upgrade), port=port, ssl_context=context)
