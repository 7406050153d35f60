"""A chat for the browser: a page and its WebSockets, on one server and one port.

    python -m examples.chat

`rooms` knows who is where and what was said, `connection` what one person may do, `pages` what the
browser loads. This module puts them together.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from trio_upgrade import Request, Server, websocket

from .connection import MAX_FRAME_SIZE, serve
from .pages import on_request
from .rooms import MemoryStore, Rooms, Store

__all__ = ["chat", "make_server", "server"]

PATH = "/chat"


def is_chat(request: Request) -> bool:
    """Whether a request asks for the chat's WebSocket."""
    return request.path == PATH and websocket.is_handshake(request)


def make_server(store: Store | None = None) -> Server:
    """A chat with what is in `store`; by default with nothing, in this process's memory."""
    on_upgrade = websocket.handler(
        partial(serve, Rooms(store or MemoryStore())), message_type=str, max_message_size=MAX_FRAME_SIZE
    )
    return Server(on_request, on_upgrade=on_upgrade, should_upgrade=is_chat)


@contextlib.asynccontextmanager
async def chat() -> AsyncIterator[Server]:
    """A chat, with whatever must run around its server."""
    yield make_server()


server = make_server()
