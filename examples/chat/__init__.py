"""A chat for the browser: a page and its WebSockets, on one server and one port.

    python -m examples.chat

`pages` has what the browser loads, `connection` what one person may send, `limits` how much, `words`
what may be a name or a message, `rooms` who is where, and `store` what was said. This module puts
them together.
"""

import contextlib
from collections.abc import AsyncIterator

from trio_upgrade import Request, Server, websocket

from .connection import MAX_FRAME_SIZE, Doorkeeper
from .pages import CHAT_PATH, on_request
from .rooms import Rooms
from .store import MemoryStore, Store

__all__ = ["chat", "make_server", "server"]


def is_chat(request: Request) -> bool:
    """Whether a request asks for the chat's WebSocket."""
    return request.path == CHAT_PATH and websocket.is_handshake(request)


def make_server(store: Store | None = None) -> Server:
    """A chat with what is in `store`; by default with nothing, in this process's memory."""
    doorkeeper = Doorkeeper(Rooms(store or MemoryStore()))
    on_upgrade = websocket.handler(doorkeeper.serve, message_type=str, max_message_size=MAX_FRAME_SIZE)
    return Server(on_request, on_upgrade=on_upgrade, should_upgrade=is_chat)


@contextlib.asynccontextmanager
async def chat() -> AsyncIterator[Server]:
    """A chat, with whatever must run around its server.

    This is for a program that runs Trio already, and the place to open a database.
    `python -m examples.chat` does without: `trio_upgrade.run` starts Trio itself, with a server that
    was made before, and a store in memory needs nothing around it.
    """
    yield make_server()


server = make_server()
