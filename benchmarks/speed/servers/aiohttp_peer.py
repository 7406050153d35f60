"""aiohttp on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from ..answers import BODY, FIELDS
from .events import Events
from .place import Place

members: set[web.WebSocketResponse] = set()


async def handle(request: web.Request) -> web.StreamResponse:
    if "upgrade" not in request.headers:
        return web.Response(body=BODY, content_type="text/plain")
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def answer_with_fields(request: web.Request) -> web.Response:
    return web.Response(body=BODY, headers=FIELDS, content_type="text/plain")


async def tell_length(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


async def take_upload(request: web.Request) -> web.Response:
    length = 0
    async for data in request.content.iter_any():
        length += len(data)
    return web.Response(text=str(length))


class Downloads:
    """The content in every way."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def at_once(self, request: web.Request) -> web.Response:
        return web.Response(body=self._place.content)

    async def in_pieces(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(self._place.repeated):
            for piece in self._place.pieces:
                await response.write(piece)
        return response

    async def from_a_file(self, request: web.Request) -> web.FileResponse:
        assert self._place.file is not None
        return web.FileResponse(self._place.file)


class EventStreams:
    """Event streams, and what is done to them."""

    def __init__(self) -> None:
        self._events = Events(asyncio.Event)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        items: AsyncIterator[bytes] = self._events.follow()
        async for item in items:
            await response.write(item)
        return response

    async def tell_next(self, request: web.Request) -> web.Response:
        self._events.tell_next()
        return web.Response(body=BODY)

    async def end(self, request: web.Request) -> web.Response:
        self._events.end()
        return web.Response(body=BODY)


async def broadcast(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    members.add(ws)
    try:
        async for message in ws:
            await asyncio.gather(*(member.send_bytes(message.data) for member in members))
    finally:
        members.discard(ws)
    return ws


def serve(place: Place) -> None:
    application = web.Application()
    downloads, streams = Downloads(place), EventStreams()
    application.add_routes(
        [
            web.get("/", handle),
            web.get("/broadcast", broadcast),
            web.get("/fields", answer_with_fields),
            web.post("/", tell_length),
            web.post("/upload", take_upload),
            web.get("/download", downloads.at_once),
            web.get("/stream", downloads.in_pieces),
            web.get("/file", downloads.from_a_file),
            web.get("/events", streams.follow),
            web.post("/events", streams.tell_next),
            web.delete("/events", streams.end),
        ]
    )
    context = place.context()
    web.run_app(application, host="127.0.0.1", port=place.port, print=None, access_log=None, ssl_context=context)
