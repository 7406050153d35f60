"""sse-starlette: endless responses, and the client that leaves them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from ..support.client import Client, get
from ..support.frameworks import visit

pytestmark = pytest.mark.once


def numbers(ended: trio.Event, ping: float) -> Starlette:
    async def events() -> AsyncGenerator[dict[str, str], None]:
        try:
            for number in range(3):
                yield {"id": str(number), "data": f"number {number}"}
            await trio.sleep_forever()
        finally:
            ended.set()

    async def endpoint(request: Request) -> EventSourceResponse:
        return EventSourceResponse(events(), ping=ping)

    return Starlette(routes=[Route("/", endpoint)])


async def until(client: Client, text: bytes) -> bytes:
    """Read until this has come."""
    got = b""
    while text not in got:
        got += await client.some()
    return got


@pytest.mark.parametrize("ping", [0, 0.01])
async def test_events_arrive_and_a_client_that_leaves_ends_them(ping: float) -> None:
    ended = trio.Event()
    async with visit(numbers(ended, ping)) as at:
        client = await at.client()
        await client.send(get())
        reply = await client.head(200)
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert b"id: 0" in await until(client, b"data: number 2\r\n")
        if ping:
            await until(client, b": ping")
        await client.vanish()
        with trio.fail_after(10):
            await ended.wait()


async def test_head_opens_no_stream() -> None:
    ended = trio.Event()
    async with visit(numbers(ended, 0)) as at:
        client = await at.client()
        await client.send(get(method="HEAD"))
        assert (await client.reply("HEAD")).status == 200
        await client.send(get())
        await client.head(200)
        await client.vanish()
        with trio.fail_after(10):
            await ended.wait()
