"""`send_nowait` and `broadcast`: nobody waits, and what is buffered is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_upgrade import Server, websocket
from trio_upgrade._patience import MOST_EXTRA

from ..support.client import Connect, open_client, reset, serving
from ..support.websocket_client import Message, Peer, close, open_peer, server_of, shake


class Room:
    """A handler that keeps its WebSockets."""

    def __init__(self) -> None:
        self.members: list[websocket.WebSocket[Message]] = []

    async def __call__(self, ws: websocket.WebSocket[Message]) -> None:
        self.members.append(ws)
        try:
            async for message in ws:
                websocket.broadcast(self.members, message)
        finally:
            self.members.remove(ws)


@asynccontextmanager
async def peers(server: Server, number: int) -> AsyncIterator[list[Peer]]:
    """Peers over TCP, for whom the server's kernel buffers little."""
    async with serving(server) as listener:
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)  # those accepted inherit it
        made = [await shake(await open_client(listener)) for _ in range(number)]
        yield made
        for peer in made:
            await peer.aclose()


@pytest.mark.parametrize("message", ["text é", "", b"binary", b"", "x" * 70_000])
async def test_everybody_gets_what_is_broadcast(message: Message) -> None:
    room = Room()
    async with peers(server_of(room), 3) as everybody:
        await trio.testing.wait_all_tasks_blocked()
        websocket.broadcast(room.members, message)
        for peer in everybody:
            assert await peer.message() == message


async def test_a_broadcast_is_not_compressed(connect: Connect) -> None:
    room = Room()
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    peer = await open_peer(connect, room, offer, compression="deflate")
    await trio.testing.wait_all_tasks_blocked()
    websocket.broadcast(room.members, "x" * 1000)
    assert await peer.message() == "x" * 1000


async def test_a_broadcast_to_nobody_is_fine() -> None:
    websocket.broadcast([], "hello")
    with pytest.raises(TypeError, match="a message is a str or bytes"):
        websocket.broadcast([], 1)  # type: ignore[arg-type]


async def test_those_that_are_closed_are_passed_over(connect: Connect) -> None:
    left = trio.Event()
    gone: list[websocket.WebSocket[Message]] = []

    async def leave(ws: websocket.WebSocket[Message]) -> None:
        gone.append(ws)
        try:
            async for _ in ws:
                pass
        finally:
            left.set()

    peer = await open_peer(connect, leave)
    await trio.testing.wait_all_tasks_blocked()
    await peer.aclose()
    await left.wait()
    websocket.broadcast(gone, "is anybody there?")
    assert gone[0].close_code == 1006


async def test_nothing_is_broadcast_after_a_close(connect: Connect, nursery: trio.Nursery) -> None:
    """The peer has not answered it yet."""
    room = Room()
    server = server_of(room)
    peer = await shake(await connect(server))
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    assert len(room.members) == 1
    websocket.broadcast(room.members, "too late")
    await peer.send(close(1001))
    assert await peer.ended()


async def test_a_peer_that_vanished_unnoticed_is_no_matter(connect: Connect) -> None:
    room = Room()
    peer = await open_peer(connect, room)
    await trio.testing.wait_all_tasks_blocked()
    await peer.aclose()
    for _ in range(3):
        websocket.broadcast(room.members, "is anybody there?")
    while room.members:
        await trio.lowlevel.checkpoint()


async def test_who_reads_too_slowly_is_closed_and_holds_nobody_up(mock_clock: trio.testing.MockClock) -> None:
    room = Room()
    async with peers(server_of(room, send_buffer=100_000, close_timeout=4), 2) as (slow, quick):
        await trio.testing.wait_all_tasks_blocked()
        slow_ws = room.members[0]
        sent = 0
        while slow_ws.close_code is None:
            websocket.broadcast(room.members, b"%05d" % sent + bytes(5000))
            assert await quick.message() == b"%05d" % sent + bytes(5000)
            sent += 1
            assert sent < 10_000
        assert slow_ws.close_code == 1013
        websocket.broadcast(room.members, "the others go on")
        assert await quick.message() == "the others go on"
        # The close frame follows all that was taken before: nothing is lost in front of it.
        for number in range(sent - 1):
            assert await slow.message() == b"%05d" % number + bytes(5000)
        assert await slow.close_code() == 1013
        assert room.members[0] is slow_ws
        mock_clock.jump(4 + MOST_EXTRA)  # it does not answer the close, although it had time to read all that was sent
        while slow_ws in room.members:
            await trio.lowlevel.checkpoint()
        assert await slow.ended()


async def test_who_is_gone_is_not_closed_for_slowness() -> None:
    made: list[websocket.WebSocket[Message]] = []
    full, gone = trio.Event(), trio.Event()

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        made.append(ws)
        with pytest.raises(trio.WouldBlock):
            while True:
                ws.send_nowait(bytes(5000))
        full.set()
        await gone.wait()

    async with peers(server_of(talk, send_buffer=50_000), 1) as (peer,):
        await full.wait()
        reset(peer.client)
        await trio.testing.wait_all_tasks_blocked()
        websocket.broadcast(made, "x")
        with pytest.raises(websocket.ConnectionClosed) as caught:
            made[0].send_nowait("x")
        assert caught.value.code == 1006
        gone.set()


async def test_a_close_for_slowness_ends_the_iteration(mock_clock: trio.testing.MockClock) -> None:
    ended: list[int | None] = []

    async def listen(ws: websocket.WebSocket[Message]) -> None:
        for _ in range(200):
            websocket.broadcast([ws], bytes(100_000))
        async for _message in ws:
            pass
        ended.append(ws.close_code)

    async with peers(server_of(listen, send_buffer=100_000), 1):
        await trio.testing.wait_all_tasks_blocked(0.1)
        while not ended:  # once its host has acknowledged nothing for the send timeout; what it can hold, it does late
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(10)
            assert trio.current_time() < 500
    assert ended == [1013]


async def test_send_nowait_sends_until_the_buffer_is_full() -> None:
    done = trio.Event()
    sent = 0

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        nonlocal sent
        with pytest.raises(trio.WouldBlock, match="the send buffer is full"):
            while True:
                ws.send_nowait(b"%05d" % sent + bytes(5000))
                sent += 1
        done.set()
        await ws.send("room again")

    async with peers(server_of(talk, send_buffer=50_000), 1) as (peer,):
        await done.wait()
        for number in range(sent):
            assert await peer.message() == b"%05d" % number + bytes(5000)
        assert await peer.message() == "room again"


async def test_send_nowait_to_a_peer_that_is_gone(connect: Connect) -> None:
    failed: list[int] = []

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        with pytest.raises(websocket.ConnectionClosed) as caught:
            await ws.receive()
        failed.append(caught.value.code)
        with pytest.raises(websocket.ConnectionClosed):
            ws.send_nowait("hello?")
        failed.append(caught.value.code)

    peer = await open_peer(connect, talk)
    await trio.testing.wait_all_tasks_blocked()
    await peer.aclose()
    while len(failed) < 2:
        await trio.lowlevel.checkpoint()
    assert failed == [1006, 1006]


async def test_send_nowait_finds_out_that_the_peer_is_gone(connect_tcp: Connect) -> None:
    left = trio.Event()

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        await left.wait()
        with pytest.raises(websocket.ConnectionClosed):
            ws.send_nowait("hello?")
        found.set()

    found = trio.Event()
    peer = await open_peer(connect_tcp, talk)
    reset(peer.client)
    left.set()
    await found.wait()
