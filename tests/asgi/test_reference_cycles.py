"""What a request has held is freed when it ends, and not when the garbage collector finds it."""

from __future__ import annotations

import gc
import logging
from collections import Counter

import pytest
import trio
import trio.testing

from trio_upgrade import Request, asgi
from trio_upgrade.asgi._exchange import HTTPExchange

from ..support.applications import http, read, respond
from ..support.client import get, open_client, post_head, reset, serving, upgrade


async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await read(receive)
    if scope["path"] == "/raise":
        raise LookupError
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
    if scope["path"] == "/upgrade":
        stream = await asgi.upgrade(scope)
        await stream.receive_some()
    await respond(send, b"hello")
    if scope["path"] == "/late":
        raise LookupError
    await receive()


def count() -> Counter[str]:
    return Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in (HTTPExchange, Request))


@pytest.mark.parametrize(
    "data",
    [get("/"), get("/raise"), get("/late"), get("/stream"), post_head(5) + b"he", upgrade(target="/upgrade")],
    ids=["answered", "raised", "raised late", "streamed", "in the body", "upgraded"],
)
async def test_the_end_of_a_connection_frees_what_its_request_held(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trio_upgrade", "trio_upgrade.asgi"):  # pytest keeps what is logged
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    async with asgi.server(http(endpoint)) as server, serving(server) as listener:
        client = await open_client(listener)  # what is made once is made now
        await client.send(get())
        await client.reply()
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()
        gc.disable()
        try:
            before = count()
            for _ in range(5):
                client = await open_client(listener)
                await client.send(data)
                await trio.testing.wait_all_tasks_blocked(0.01)
                reset(client)
                await trio.testing.wait_all_tasks_blocked(0.05)
            assert count() == before
        finally:
            gc.enable()
