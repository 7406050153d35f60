"""trio-websocket."""

from __future__ import annotations

import logging

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from .place import Place

members: set[WebSocketConnection] = set()


async def handle(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        if request.path == "/broadcast":
            await broadcast(ws)
        else:
            while True:
                await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def broadcast(ws: WebSocketConnection) -> None:
    members.add(ws)
    try:
        while True:
            message = await ws.get_message()
            for member in list(members):
                await member.send_message(message)
    finally:
        members.discard(ws)


def serve(place: Place) -> None:
    logging.disable()  # each reset is an error to it
    trio.run(trio_websocket.serve_websocket, handle, "127.0.0.1", place.port, place.context())
