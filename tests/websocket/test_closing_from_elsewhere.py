"""A WebSocket that another task closes: its handler ends in order, and who sends to it gets one kind of error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Server, websocket

from ..support.client import Connect
from ..support.websocket_client import Peer, close, frame, server_of, shake, text


class Person:
    """A handler that receives, and whose WebSocket others may close.

    Attributes:
      pause: how many seconds the handler is busy for after each message.
      messages: what came.
    """

    ws: websocket.WebSocket[Any]

    def __init__(self, pause: float = 0) -> None:
        self.pause = pause
        self.messages: list[str | bytes] = []
        self.came = trio.Event()
        self.left = trio.Event()

    async def __call__(self, ws: websocket.WebSocket[Any]) -> None:
        self.ws = ws
        self.came.set()
        async for message in ws:
            self.messages.append(message)
            await trio.sleep(self.pause)
        self.left.set()  # what is raised above would be logged, which fails the test


async def meet(connect: Connect, person: Callable[..., Awaitable[None]], **options: Any) -> tuple[Server, Peer]:
    server = server_of(person, **options)
    return server, await shake(await connect(server))


async def answer(peer: Peer) -> None:
    await peer.send(close(4000))


async def answer_late(peer: Peer) -> None:
    await trio.sleep(1)
    await peer.send(text("one more thing"), close(4000))


async def say_something_else(peer: Peer) -> None:
    await peer.send(frame(15))


async def vanish(peer: Peer) -> None:
    await peer.aclose()


async def be_silent(peer: Peer) -> None:
    pass


ANSWERS = [answer, answer_late, say_something_else, vanish, be_silent]


@pytest.mark.parametrize("react", ANSWERS)
async def test_the_iteration_of_its_handler_ends(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, react: Any
) -> None:
    person = Person()
    server, peer = await meet(connect_memory, person)
    await person.came.wait()
    nursery.start_soon(person.ws.aclose, 4000, "thrown out")
    assert await peer.close_code() == 4000
    await react(peer)
    with trio.fail_after(15):
        await person.left.wait()
    assert (person.ws.close_code, person.ws.close_reason) == (4000, "thrown out")
    assert server.statistics().handler_errors == 0


@pytest.mark.parametrize("react", ANSWERS)
async def test_it_ends_also_where_the_handler_was_busy(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, react: Any
) -> None:
    """The message that was read ahead is discarded: it was not received before the close."""
    person = Person(pause=100)
    server, peer = await meet(connect_memory, person)
    await peer.send(text("hello"))
    await trio.sleep(1)
    await peer.send(text("somebody reads this ahead"))
    await trio.sleep(1)
    nursery.start_soon(person.ws.aclose, 4000)
    assert await peer.close_code() == 4000
    await react(peer)
    with trio.fail_after(200):
        await person.left.wait()
    assert person.messages == ["hello"]
    assert server.statistics().handler_errors == 0


async def test_over_sockets_and_tls(connect_socket: Connect, nursery: trio.Nursery) -> None:
    person = Person()
    server, peer = await meet(connect_socket, person)
    await person.came.wait()
    nursery.start_soon(person.ws.aclose, 4000)
    assert await peer.close_code() == 4000
    await peer.send(close(4000))
    assert await peer.ended()
    await person.left.wait()
    assert server.statistics().handler_errors == 0


async def test_a_close_that_is_cancelled_ends_it_too(connect: Connect) -> None:
    person = Person()
    server, peer = await meet(connect, person)
    await person.came.wait()
    with trio.move_on_after(0.01):
        await person.ws.aclose(4000)
    assert await peer.close_code() == 4000
    await person.left.wait()
    assert server.statistics().handler_errors == 0


async def test_who_sends_to_it_gets_the_error_of_every_closed_websocket(
    connect: Connect, nursery: trio.Nursery
) -> None:
    """Closed by us, by the peer, or by its handler's return: the sender, some other handler, need not care."""

    async def wait(ws: websocket.WebSocket[Any]) -> None:
        people.append(ws)
        await ws.send("here")
        async for message in ws:
            if message == "leave":
                break

    async def check(ws: websocket.WebSocket[Any], code: int) -> None:
        for send in (ws.send, ws.send_nowait):
            with pytest.raises(websocket.ConnectionClosed) as caught:
                if (sent := send("hello")) is not None:
                    await sent
            assert caught.value.code == code
        websocket.broadcast([ws], "hello")

    people: list[websocket.WebSocket[Any]] = []
    server = server_of(wait)
    peers = []
    for _ in range(3):
        peers.append(await shake(await connect(server)))
        assert await peers[-1].message() == "here"
    nursery.start_soon(people[0].aclose, 4000)
    await peers[1].send(close(4001))
    await peers[2].send(text("leave"))
    codes = [4000, 4001, 1000]
    for peer, code in zip(peers, codes, strict=True):
        assert await peer.close_code() == code
    for ws, code in zip(people, codes, strict=True):
        await check(ws, code)
    for peer, code in ((peers[0], 4000), (peers[2], 1000)):
        await peer.send(close(code))
        assert await peer.ended()
    await trio.testing.wait_all_tasks_blocked(0.01)
    for ws, code in zip(people, codes, strict=True):
        await check(ws, code)


async def test_a_handler_that_only_sends_is_ended_without_an_error_in_the_log(
    connect: Connect, nursery: trio.Nursery
) -> None:
    people: list[websocket.WebSocket[Any]] = []
    raised = trio.Event()

    async def push(ws: websocket.WebSocket[Any]) -> None:
        people.append(ws)
        try:
            while True:
                await ws.send("news")
                await trio.sleep(0.001)
        except websocket.ConnectionClosed:
            raised.set()
            raise

    server, peer = await meet(connect, push)
    assert await peer.message() == "news"
    nursery.start_soon(people[0].aclose, 4000)
    await raised.wait()
    await peer.send(close(4000))
    await peer.client.rest()
    assert server.statistics().handler_errors == 0


async def test_a_failure_that_came_before_is_not_hidden(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    codes = []

    async def busy(ws: websocket.WebSocket[Any]) -> None:
        await trio.sleep(5)
        await ws.aclose(4000)  # as a task may that tidies up
        with pytest.raises(websocket.ConnectionClosed) as caught:
            await ws.receive()
        codes.append(caught.value.code)

    _, peer = await meet(connect_memory, busy)
    await peer.aclose()
    await trio.sleep(10)
    assert codes == [1006]
