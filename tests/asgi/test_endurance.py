"""What clients do to an application at random: nothing ends, and nothing is left of it."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Callable
from functools import partial

import pytest
import trio

from trio_upgrade import Server, asgi

from ..support.applications import respond
from ..support.client import Client, get, open_client, post_head, reset, serving
from ..support.websocket_client import close, handshake, shake, text


async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Does a bit of everything."""
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        case "http", "/stream":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick, send)
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()
        case "http", "/poll":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"wait", "more_body": True})
            while True:
                with trio.CancelScope() as scope_of_poll:
                    scope_of_poll.cancel()
                    if (await receive())["type"] == "http.disconnect":
                        return
                await trio.sleep(0.01)
        case "http", _:
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            await respond(send, b"done")
        case "websocket", "/refused":
            await receive()
            await send({"type": "websocket.close"})
        case "websocket", "/push":
            await receive()
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(0.01)
        case "websocket", _:
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})


async def tick(send: asgi.Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    while True:
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        await trio.sleep(0.01)


def tasks() -> int:
    """How many there are."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    waiting, count = [root], 0
    while waiting:
        task = waiting.pop()
        count += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))


async def settle(server: Server, tasks_before: int, descriptors_before: int) -> None:
    """Wait until nothing is left of the clients."""
    with trio.fail_after(10):
        while server.statistics().open or tasks() > tasks_before or descriptors() > descriptors_before:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def check_leaves_nothing(visit: Callable[[trio.SocketListener], object]) -> None:
    """Let clients visit the application; afterwards nothing is left of them, and it still answers."""
    async with asgi.server(app) as server, serving(server) as listener:
        client = await open_client(listener)
        await client.send(get())
        await client.reply()
        await shake(client)  # the first WebSocket, and the first wait for a disconnect, start what all of them share
        await client.vanish()
        client = await open_client(listener)
        await client.send(get("/stream"))
        await client.head(200)
        await client.vanish()
        await settle(server, 10_000, 10_000)
        before = tasks(), descriptors()
        await visit(listener)  # type: ignore[misc]
        await settle(server, *before)
        client = await open_client(listener)
        await client.send(get())
        assert (await client.reply()).content == b"done"
        await client.vanish()


async def at_once(count: int, visit: Callable[[Client], object], listener: trio.SocketListener) -> None:
    """So many clients at the same time."""

    async def one() -> None:
        await visit(await open_client(listener))  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)


@pytest.mark.parametrize("after", [b"more", text("hello") * 50, os.urandom(100_000), get(), handshake()])
async def test_bytes_after_a_handshake_that_is_refused(after: bytes) -> None:
    async def visit(client: Client) -> None:
        await client.send(handshake(target="/refused") + after)
        assert (await client.reply()).status == 403
        await client.vanish()

    await check_leaves_nothing(partial(at_once, 20, visit))


@pytest.mark.parametrize("way", ["close", "vanish", "reset"])
async def test_push_only_websockets_that_close(way: str) -> None:
    async def visit(client: Client) -> None:
        peer = await shake(client, target="/push")
        assert await peer.message() == "tick"
        if way == "close":
            await peer.send(close())
            await client.rest()
            await client.aclose()
        elif way == "reset":
            reset(client)
        else:
            await client.vanish()

    await check_leaves_nothing(partial(at_once, 50, visit))


@pytest.mark.parametrize("path", ["/poll", "/stream"])
@pytest.mark.parametrize("way", ["vanish", "reset"])
async def test_clients_that_leave_a_response_that_never_ends(path: str, way: str) -> None:
    async def visit(client: Client) -> None:
        await client.send(get(path))
        await client.head(200)
        reset(client) if way == "reset" else await client.vanish()

    await check_leaves_nothing(partial(at_once, 50, visit))


REQUESTS = [
    get(),
    get("/stream"),
    get("/poll"),
    post_head(200_000) + bytes(200_000),
    handshake(),
    handshake() + text("hello") * 20,
    handshake(target="/push"),
    handshake(target="/refused") + text("hello"),
    get() * 20,
]


def abort_at_random(address: tuple[str, int], seed: int) -> None:
    """Begin requests, and break off anywhere: by an end, a reset, or after having read a bit."""
    chance = random.Random(seed)
    for _ in range(40):
        with socket.create_connection(address) as sock:
            sock.settimeout(5)
            data = chance.choice(REQUESTS)
            try:
                sock.sendall(data[: chance.randint(1, len(data))])
                if chance.random() < 0.5:
                    sock.settimeout(0.01)
                    try:
                        sock.recv(1000)
                    except TimeoutError:
                        pass
                if chance.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            except OSError:
                pass  # the server was quicker


async def test_random_aborts_from_many_threads() -> None:
    async def visit(listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            for seed in range(8):
                address = listener.socket.getsockname()
                nursery.start_soon(trio.to_thread.run_sync, abort_at_random, address, seed)

    await check_leaves_nothing(visit)
