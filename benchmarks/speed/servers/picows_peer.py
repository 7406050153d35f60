"""picows on uvloop."""

from __future__ import annotations

import logging

import picows
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

from .place import Place

members: set[WSTransport] = set()


class Echo(WSListener):
    """Sends each message back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(WSListener):
    """Sends each message to all."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        members.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            message = frame.get_payload_as_bytes()
            for member in members:
                member.send(frame.msg_type, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        members.discard(transport)


def listen(request: WSUpgradeRequest) -> WSListener:
    return Broadcast() if request.path == b"/broadcast" else Echo()


async def run(place: Place) -> None:
    server = await picows.ws_create_server(listen, "127.0.0.1", place.port, ssl=place.context())
    await server.serve_forever()


def serve(place: Place) -> None:
    logging.disable()  # each reset is an error to it
    uvloop.run(run(place))
