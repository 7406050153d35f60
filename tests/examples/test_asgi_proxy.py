"""The proxy that is an ASGI application."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio
import trio.testing

from examples.asgi_proxy import app
from trio_upgrade import Request, Response, Server, asgi

from ..support.client import open_client, serving


def address_of(listener: trio.SocketListener) -> str:
    return f"127.0.0.1:{listener.socket.getsockname()[1]}"


@pytest.fixture
async def proxy() -> AsyncIterator[trio.SocketListener]:
    async with asgi.server(app) as server, serving(server) as listener:
        yield listener


async def say_what_came(request: Request) -> Response:
    body = await request.body.read()
    return Response(200, f"{request.method} {request.target} {len(body)} {'proxy-authorization' in request.headers}")


async def test_a_client_sends_plain_http_through_it(proxy: trio.SocketListener) -> None:
    async with serving(Server(say_what_came)) as target:
        async with httpx.AsyncClient(proxy=f"http://user:word@{address_of(proxy)}") as client:
            answer = await client.post(f"http://{address_of(target)}/a%2Fb?c=d", content=bytes(1000))
            assert answer.text == "POST /a%2Fb?c=d 1000 False"
            assert (await client.get("http://127.0.0.1:1/")).status_code == 502


async def test_connect_makes_a_tunnel(proxy: trio.SocketListener) -> None:
    async with serving(Server(say_what_came)) as target:
        client = await open_client(proxy)
        await client.send(f"CONNECT {address_of(target)} HTTP/1.1\r\nHost: {address_of(target)}\r\n\r\n".encode())
        assert (await client.reply("CONNECT")).status == 200
        await client.send(b"GET /there HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n")
        reply = await client.reply()
        assert reply.content == b"GET /there 0 False"
        await client.end()
        await client.aclose()


async def test_a_target_that_does_not_listen_is_a_502(proxy: trio.SocketListener) -> None:
    client = await open_client(proxy)
    await client.send(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
    assert (await client.reply("CONNECT")).status == 502
    await client.aclose()


async def test_the_end_of_each_direction_is_carried_through(proxy: trio.SocketListener, nursery: trio.Nursery) -> None:
    received = trio.Event()

    async def answer_at_the_end(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass
        received.set()
        await stream.send_all(b"late")

    (target,) = await nursery.start(partial(trio.serve_tcp, answer_at_the_end, 0, host="127.0.0.1"))
    client = await open_client(proxy)
    await client.send(f"CONNECT {address_of(target)} HTTP/1.1\r\nHost: {address_of(target)}\r\n\r\n".encode())
    assert (await client.reply("CONNECT")).status == 200
    await client.send(b"first")
    await client.send_eof()
    await received.wait()
    assert await client.rest() == b"late"
    await client.aclose()
    nursery.cancel_scope.cancel()
