"""ASGI applications of real frameworks on a TCP port, and a client of another project that visits them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio
import websockets.trio.client

from trio_upgrade import Server, asgi

from .client import Client, open_client, serving

__all__ = ["Visit", "visit"]

logging.getLogger("httpcore").setLevel("WARNING")  # at DEBUG it has a line for each step
logging.getLogger("httpx").setLevel("WARNING")


class Visit:
    """An application that is being served, and its clients."""

    def __init__(self, server: Server, listener: trio.SocketListener, http: httpx.AsyncClient) -> None:
        self.server = server
        self.http = http
        self._listener = listener

    def websocket(self, path: str, **options: Any) -> websockets.trio.client.connect:
        """A WebSocket, as an async context manager."""
        port = self._listener.socket.getsockname()[1]
        return websockets.trio.client.connect(f"ws://127.0.0.1:{port}{path}", **options)

    async def client(self) -> Client:
        """A client that speaks bytes."""
        return await open_client(self._listener)


@asynccontextmanager
async def visit(app: Any, **options: Any) -> AsyncIterator[Visit]:
    """Serve an application on a TCP port, with its lifespan, until the end of the block."""
    async with asgi.server(app, **options) as server, serving(server) as listener:
        address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, trust_env=False) as http:
            yield Visit(server, listener, http)
