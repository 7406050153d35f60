"""Real clients: websockets on asyncio, on threads and on trio, aiohttp, and trio-websocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
import trio
import trio.testing
import trio_websocket
import websockets.asyncio.client
import websockets.sync.client
import websockets.trio.client
from websockets.exceptions import ConnectionClosed

from trio_upgrade import Server, websocket

from ..support.client import serving
from ..support.websocket_client import Message, echo, server_of

COMPRESSIONS = [None, "deflate", "deflate-takeover"]
MESSAGES: list[Message] = ["", "é" * 100, "x" * 100_000, b"", bytes(range(256)) * 1000, "last"]


@pytest.fixture(params=COMPRESSIONS, ids=["plain", "deflate", "deflate-takeover"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """Of a server that echoes, with and without compression."""
    async with listening(server_of(echo, compression=request.param)) as port:
        yield port


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[int]:
    async with serving(server) as listener:
        yield listener.socket.getsockname()[1]


async def in_thread(function: Callable[[], None]) -> None:
    with trio.fail_after(30):
        await trio.to_thread.run_sync(function, abandon_on_cancel=True)


async def test_websockets_on_trio(port: int) -> None:
    async with websockets.trio.client.connect(f"ws://127.0.0.1:{port}/") as ws:
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["in ", "", "fragments"])
        assert await ws.recv() == "in fragments"
        await (await ws.ping()).wait()
    assert ws.close_code == 1000


async def test_websockets_on_asyncio(port: int) -> None:
    async def talk() -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws:
            for message in MESSAGES:
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "", "fragments"])
            assert await ws.recv() == "in fragments"
            await (await ws.ping())
            for message in MESSAGES:  # without waiting for answers
                await ws.send(message)
            assert [await ws.recv() for _ in MESSAGES] == MESSAGES
        assert ws.close_code == 1000

    await in_thread(partial(asyncio.run, talk()))


async def test_websockets_on_threads(port: int) -> None:
    def talk() -> None:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws:
            for message in MESSAGES:
                ws.send(message)
                assert ws.recv() == message
            ws.send(["in ", "", "fragments"])
            assert ws.recv() == "in fragments"
            assert ws.ping().wait(10)

    await in_thread(talk)


async def test_aiohttp(port: int) -> None:
    async def talk() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{port}/", compress=15, max_msg_size=0) as ws:
                for message in MESSAGES:
                    await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
                    answer = await ws.receive(10)
                    assert answer.data == message
                await ws.ping(b"are you there?")
                await ws.send_str("done")
                assert (await ws.receive(10)).data == "done"
            assert ws.close_code == 1000

    await in_thread(partial(asyncio.run, talk()))


async def test_trio_websocket(port: int) -> None:
    async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{port}/") as ws:
        for message in MESSAGES:
            await ws.send_message(message)
            assert await ws.get_message() == message
        await ws.ping(b"are you there?")


async def test_over_tls(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server_context, client_context = tls_contexts
    async with trio.open_nursery() as nursery:
        server = server_of(echo, compression="deflate")
        (listener,) = await nursery.start(server.serve_ssl_over_tcp, 0, server_context)
        stream = await trio.testing.open_stream_to_socket_listener(listener.transport_listener)
        connect: Any = websockets.trio.client.connect
        async with connect("wss://test.example/", stream=stream, ssl=client_context) as ws:
            for message in MESSAGES:
                await ws.send(message)
                assert await ws.recv() == message
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_a_clients_close_arrives(code: int) -> None:
    closed: list[tuple[int | None, str]] = []

    async def listen(ws: websocket.WebSocket[Message]) -> None:
        try:
            async for _ in ws:
                pass
        except websocket.ConnectionClosed:
            pass
        closed.append((ws.close_code, ws.close_reason))

    async with listening(server_of(listen)) as port:
        async with websockets.trio.client.connect(f"ws://127.0.0.1:{port}/") as ws:
            await ws.aclose(code, "good bye")
        assert ws.close_code == code
    assert closed == [(code, "good bye")]


async def test_the_servers_close_arrives() -> None:
    async def leave(ws: websocket.WebSocket[Message]) -> None:
        await ws.aclose(4321, "enough")

    async with listening(server_of(leave)) as port:
        async with websockets.trio.client.connect(f"ws://127.0.0.1:{port}/") as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()
        assert (ws.close_code, ws.close_reason) == (4321, "enough")


async def test_many_messages_both_ways_at_once(port: int) -> None:
    numbers = [str(number) for number in range(2000)]
    async with websockets.trio.client.connect(f"ws://127.0.0.1:{port}/") as ws:
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                for number in numbers:
                    await ws.send(number)

            nursery.start_soon(talk)
            assert [await ws.recv() for _ in numbers] == numbers


async def test_a_subprotocol_is_agreed_on() -> None:
    async with listening(server_of(echo, subprotocols=["chat.2", "chat.1"])) as port:
        offered: Any = ["chat.1", "chat.2"]
        async with websockets.trio.client.connect(f"ws://127.0.0.1:{port}/", subprotocols=offered) as ws:
            assert ws.subprotocol == "chat.2"
