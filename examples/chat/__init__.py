"""A chat for the browser: a page and its WebSockets, on one server and one port.

    python -m examples.chat
    python -m examples.chat --redis redis://localhost:6379

`pages` has what the browser loads, `connection` what one person may send, `limits` how much, `words`
what may be a name or a message, `rooms` who is where, `store` what was said, in this process's
memory, and `redis` the same for several processes, on as many machines, with `link`, its connection,
and `scripts`, what Redis does in one go. This module puts them together.
"""

import contextlib
import os
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
async def chat(redis: str | None = None) -> AsyncIterator[Server]:
    """A chat, with whatever runs around its server.

    Args:
      redis: the URL of the Redis that it shares with others; by default it is alone.

    Raises:
      SystemExit: the URL is none, or coredis is not installed.
    """
    if redis is None:
        yield make_server()
        return
    try:
        from .redis import open_redis_store
    except ImportError as exc:
        raise SystemExit(f"chat: Redis needs the package coredis ({exc}): pip install coredis") from exc
    async with contextlib.AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(open_redis_store(redis))
        except ValueError as exc:
            raise SystemExit(f"chat: {exc}") from None
        yield make_server(store)


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """The chat for `python -m trio_upgrade` and gunicorn: over the Redis of CHAT_REDIS_URL, if that is set.

    Raises:
      SystemExit: there are several processes and no Redis, and each would have rooms of its own.
    """
    redis = os.environ.get("CHAT_REDIS_URL") or None
    is_worker = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    if redis is None and is_worker and int(os.environ.get("WEB_CONCURRENCY", "1")) > 1:
        raise SystemExit(
            "chat: several workers share their rooms through Redis only: set CHAT_REDIS_URL, or use one worker"
        )
    async with chat(redis) as opened:
        yield opened
