"""A server that is full: idle connections make room, and who is refused is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Client, Connect, echo, get, okay, open_client, reset, serving, upgrade

Warnings = Callable[[], list[str]]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    """Takes the warnings out of the log."""

    def take() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return messages

    return take


async def ask(client: Client) -> int:
    """The status of a response."""
    await client.send(get())
    return (await client.reply()).status


def full(limit: int) -> Server:
    return Server(okay, on_upgrade=echo, limits=Limits(max_connections=limit, keep_alive_timeout=60))


async def test_the_connection_that_is_idle_for_longest_makes_room(
    connect_socket: Connect, autojump_clock: trio.testing.MockClock, warnings: Warnings
) -> None:
    server = full(2)
    first, second = await connect_socket(server), await connect_socket(server)
    assert [await ask(client) for client in (first, second, first)] == [200, 200, 200]
    await trio.sleep(0.5)
    assert await ask(first) == 200
    await trio.sleep(1.5)
    third = await connect_socket(server)
    assert await ask(third) == 200
    assert await second.rest() == b""
    assert await ask(first) == 200
    now = server.statistics()
    assert (now.open, now.connections, now.refused) == (2, 3, 0)
    assert warnings() == []


async def test_a_connection_that_has_said_nothing_yet_makes_room(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(full(1)) as listener:
        silent = await open_client(listener)
        await trio.sleep(1)
        client = await open_client(listener)
        assert await ask(client) == 200
        assert await silent.rest() == b""
        for one in (silent, client):
            await one.aclose()
    assert caplog.messages == []  # it was not late


@pytest.mark.parametrize("busy", ["with a response", "upgraded", "with half a head", "just now"])
async def test_a_connection_that_is_not_idle_makes_no_room(
    connect_socket: Connect, autojump_clock: trio.testing.MockClock, warnings: Warnings, busy: str
) -> None:
    async def on_request(request: Request) -> Response:
        if request.path == "/slow":
            await trio.sleep(20)
        return await okay(request)

    server = Server(on_request, on_upgrade=echo, limits=Limits(max_connections=1))
    client = await connect_socket(server)
    if busy == "upgraded":
        await client.send(upgrade())
        await client.reply()
    elif busy == "with a response":
        await client.send(get("/slow"))
    elif busy == "with half a head":
        await client.send(b"GET /half")
    else:
        assert await ask(client) == 200
    await trio.sleep(0.9 if busy == "just now" else 10)
    refused, begin = await connect_socket(server), trio.current_time()
    assert (await refused.reply()).status == 503
    assert trio.current_time() == begin
    if busy == "upgraded":
        await client.send(b"hello")
        assert await client.exactly(5) == b"hello"
    elif busy == "with a response":
        assert (await client.reply()).status == 200
    elif busy == "with half a head":
        await client.send(b" HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.reply()).content == b"okay /half\n"
    else:
        assert await ask(client) == 200
    assert len(warnings()) == 1


async def test_a_connection_of_another_listener_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    server = full(1)
    async with serving(server) as one, serving(server) as other:
        idle = await open_client(one)
        assert await ask(idle) == 200
        await trio.sleep(1)
        client = await open_client(other)
        assert await ask(client) == 200
        assert await idle.rest() == b""
        for closed in (idle, client):
            await closed.aclose()


async def test_a_stream_that_was_not_accepted_makes_no_room(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, warnings: Warnings
) -> None:
    server = full(1)
    alone = await connect_memory(server)
    assert await ask(alone) == 200
    async with serving(server) as listener:
        busy = await open_client(listener)
        await busy.send(upgrade())
        await busy.reply()
        await trio.sleep(10)
        refused = await open_client(listener)
        assert (await refused.reply()).status == 503
        assert await ask(alone) == 200
        for client in (busy, refused):
            await client.aclose()
    assert len(warnings()) == 1


async def test_of_many_at_once_as_many_get_in_as_there_are_idle_ones(
    autojump_clock: trio.testing.MockClock, warnings: Warnings
) -> None:
    server = full(10)
    async with serving(server) as listener:
        idle = [await open_client(listener) for _ in range(10)]
        for client in idle:
            assert await ask(client) == 200
        for client in idle[:6]:
            await client.send(b"GET / HT")  # these are not idle any more
        await trio.sleep(2)
        newcomers = [await open_client(listener) for _ in range(20)]
        most = 0
        statuses = []
        for client in newcomers:
            await client.send(get())
            statuses.append((await client.reply()).status)
            most = max(most, server.statistics().open)
        assert (statuses.count(200), statuses.count(503), most) == (4, 16, 10)
        assert server.statistics().refused == 16
        for client in (*idle, *newcomers):
            reset(client)
    assert len(warnings()) == 1


async def test_a_place_is_not_lost_if_the_serving_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    server = full(1)
    for turns in range(10):
        async with serving(server) as listener:
            idle = await open_client(listener)
            assert await ask(idle) == 200
            await trio.sleep(2)
            newcomer = await open_client(listener)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
        assert server.statistics().open == 0
        for client in (idle, newcomer):
            await client.aclose()


async def test_refusals_are_told_once_a_minute_with_their_number(
    autojump_clock: trio.testing.MockClock, warnings: Warnings
) -> None:
    async with serving(full(1)) as listener:
        busy = await open_client(listener)
        await busy.send(upgrade())
        await busy.reply()

        async def be_refused(times: int) -> None:
            for _ in range(times):
                client = await open_client(listener)
                assert (await client.reply()).status == 503
                await client.aclose()

        await be_refused(30)
        assert warnings() == ["1 connections are open, as many as max_connections allows; more are refused"]
        await trio.sleep(61)
        assert warnings() == ["29 more connections were refused in the last minute: max_connections allows 1"]
        await trio.sleep(120)
        assert warnings() == []
        await be_refused(2)
        assert warnings() == ["1 connections are open, as many as max_connections allows; more are refused"]
        await busy.aclose()
