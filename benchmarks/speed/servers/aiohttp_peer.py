"""aiohttp on asyncio."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

members: set[web.WebSocketResponse] = set()


async def handle(request: web.Request) -> web.StreamResponse:
    if "upgrade" not in request.headers:
        return web.Response(text="hello")
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


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


def serve(port: int) -> None:
    application = web.Application()
    application.router.add_get("/", handle)
    application.router.add_get("/broadcast", broadcast)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None)
