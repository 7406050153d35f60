"""trio-upgrade, with its default settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable

import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream, websocket

from ..answers import BODY, BODY_LENGTH, FIELDS
from .events import Events
from .place import Place

WebSocket = websocket.WebSocket[str | bytes]
members: set[WebSocket] = set()
events = Events(trio.Event)
place = Place(0)


async def on_request(request: Request) -> Response:
    match request.path:
        case "/" if request.method == "POST":
            return Response(200, str(len(await request.body.read())))
        case "/":
            return Response(200, BODY, content_type="text/plain")
        case "/fields":
            return Response(200, BODY, FIELDS, content_type="text/plain")
        case "/upload":
            return Response(200, str(await length_of(request)))
        case "/events":
            return answer_events(request)
        case "/download":
            return Response(200, place.content)
        case "/stream":
            return Response(200, stream_content())
        case "/file" if place.file is not None:
            return Response.file(place.file)
    return Response(404)


async def length_of(request: Request) -> int:
    """The length of a body that would be too large for memory."""
    length = 0
    async for data in request.body:
        length += len(data)
    return length


def answer_events(request: Request) -> Response:
    if request.method == "GET":
        return Response(200, events.follow(), content_type="text/event-stream")
    if request.method == "POST":
        events.tell_next()
    else:
        events.end()
    return Response(200, BODY)


async def stream_content() -> AsyncGenerator[bytes, None]:
    for _ in range(place.repeated):
        for piece in place.pieces:
            yield piece


def on_upgrade(request: Request, stream: UpgradedStream) -> Awaitable[Response | None]:
    if not websocket.is_handshake(request):
        return echo(request, stream)
    return (broadcast_messages if request.path == "/broadcast" else echo_messages)(request, stream)


async def echo(request: Request, stream: UpgradedStream) -> None:
    fields = {BODY_LENGTH: str(len(await request.body.read()))} if request.method == "POST" else {}
    await request.accept("echo", fields)
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


def serve(at: Place) -> None:
    global place
    place = at
    trio_upgrade.run(Server(on_request, on_upgrade=on_upgrade), port=at.port, ssl_context=at.context())
