"""websockets on asyncio, with uvloop."""

from __future__ import annotations

import logging

import uvloop
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection

from .place import Place

members: set[ServerConnection] = set()


async def handle(ws: ServerConnection) -> None:
    assert ws.request is not None
    if ws.request.path == "/broadcast":
        await broadcast(ws)
    else:
        async for message in ws:
            await ws.send(message)


async def broadcast(ws: ServerConnection) -> None:
    members.add(ws)
    try:
        async for message in ws:
            websockets.asyncio.server.broadcast(members, message)
    finally:
        members.discard(ws)


async def run(place: Place) -> None:
    context = place.context()
    async with websockets.asyncio.server.serve(
        handle, "127.0.0.1", place.port, ssl=context, compression=None
    ) as server:
        await server.serve_forever()


def serve(place: Place) -> None:
    logging.disable()  # each reset is an error to it
    uvloop.run(run(place))
