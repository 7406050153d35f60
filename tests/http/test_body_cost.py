"""What a request's body may cost: time in proportion to its size, and no copy that is not needed."""

from __future__ import annotations

import fcntl
import sys
import termios
import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server

from ..support.client import Client, Connect, chunked, get, post_head, serving, upgrade
from ..support.longest_step import longest_step

CHUNKED = b"Transfer-Encoding: chunked\r\n"
MEBIBYTE = 2**20


async def count(request: Request) -> Response:
    size = 0
    async for part in request.body:
        size += len(part)
    return Response(200, f"{size}")


UPLOADS: dict[str, Callable[[int], bytes]] = {
    "a length": lambda size: post_head(size) + bytes(size),
    "large chunks": lambda size: get("/", CHUNKED, "POST") + chunked(*[bytes(2**16)] * (size // 2**16)),
    "small chunks": lambda size: get("/", CHUNKED, "POST") + chunked(*[bytes(2**10)] * (size // 2**10)),
    "tiny chunks": lambda size: get("/", CHUNKED, "POST") + chunked(*[b"x"] * (size // 2**6)),
    "extensions": lambda size: (
        get("/", CHUNKED, "POST") + chunked(*[b"x"] * (size // 2**8), extension=b";a=" + b"b" * 250)
    ),
}


async def upload_time(request: bytes) -> float:
    """How many seconds of processor time client and server take together."""
    async with serving(Server(count)) as listener:
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        client = Client(stream)
        async with stream:
            begin = time.thread_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, request)
                assert (await client.reply()).status == 200
            return time.thread_time() - begin


@pytest.mark.parametrize("make", UPLOADS.values(), ids=UPLOADS)
async def test_an_upload_takes_time_in_proportion_to_its_size(make: Callable[[int], bytes]) -> None:
    small, large = make(MEBIBYTE), make(16 * MEBIBYTE)
    for _ in range(4):  # the machine may have been busy with something else
        before = await upload_time(small)
        if await upload_time(large) < 16 * before * 3:
            return
    pytest.fail("sixteen times as much takes more than three times as long a byte, again and again")


@pytest.mark.parametrize("make", UPLOADS.values(), ids=UPLOADS)
async def test_a_body_holds_nobody_up_for_long(make: Callable[[int], bytes]) -> None:
    request = make(MEBIBYTE)
    async with serving(Server(count)) as listener:
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        async with stream:
            with longest_step() as longest:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.send_all, request)
                    assert (await Client(stream).reply()).status == 200
    assert longest.seconds < 0.02


async def test_small_chunks_come_in_large_pieces(connect_memory: Connect) -> None:
    sizes: list[int] = []

    async def on_request(request: Request) -> Response:
        sizes.extend([len(part) async for part in request.body])
        return Response(200)

    client = await connect_memory(Server(on_request))
    await client.send(get("/", CHUNKED, "POST") + chunked(*[b"0123456789"] * 500))
    assert (await client.reply()).status == 200
    assert sizes == [5000]


async def test_a_body_with_a_length_is_not_copied(nursery: trio.Nursery) -> None:
    """What the transport's read returned is the very object that the handler gets."""
    given: list[bytes] = []
    taken: list[bytes | bytearray] = []

    class Observed(trio.abc.Stream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            given.append(bytes(await theirs.receive_some(max_bytes)))
            return given[-1]

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await theirs.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await theirs.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await theirs.aclose()

    async def on_request(request: Request) -> Response:
        taken.extend([part async for part in request.body])
        return Response(200)

    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Server(on_request).serve_stream, Observed())
    client = Client(ours)
    await client.send(post_head(300_000))
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(3):
        await client.send(bytes(100_000))
    assert (await client.reply()).status == 200
    assert len(taken) >= 4
    assert all(any(part is data for data in given) for part in taken)
    await ours.aclose()


@pytest.mark.parametrize("how", ["read", "in parts", "discarded"])
async def test_nothing_is_received_from_after_a_body_with_a_length(connect_tcp: Connect, how: str) -> None:
    """It stays in the kernel for the upgraded stream, which costs nothing more."""
    begun, arrived, checked = trio.Event(), trio.Event(), trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        begun.set()
        await arrived.wait()
        if how == "read":
            await request.body.read()
        elif how == "in parts":
            while await request.body.receive_some(7):
                pass
        if how != "discarded":
            unread = fcntl.ioctl(request.transport.socket.fileno(), termios.FIONREAD, bytes(4))  # type: ignore[union-attr]
            assert int.from_bytes(unread, sys.byteorder) == 9
        await request.accept()
        assert await stream.receive_some(4) == b"what"
        assert await stream.receive_some() == b" next"
        checked.set()

    client = await connect_tcp(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 5000\r\n"))
    await begun.wait()
    await client.send(bytes(5000) + b"what next")
    await trio.testing.wait_all_tasks_blocked()
    arrived.set()
    with trio.fail_after(5):
        await checked.wait()
