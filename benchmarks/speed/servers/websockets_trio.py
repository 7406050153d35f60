"""websockets on trio."""

from __future__ import annotations

import logging
from functools import partial

import trio
import websockets.trio.server
from websockets.trio.server import ServerConnection

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
            await websockets.trio.server.broadcast(set(members), message)
    finally:
        members.discard(ws)


async def run(place: Place) -> None:
    await websockets.trio.server.serve(handle, place.port, ssl=place.context(), compression=None)


def serve(place: Place) -> None:
    logging.disable()  # each reset is an error to it
    trio.run(partial(run, place))
