"""Honest mistakes with WebSockets get an error that says what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_upgrade.websocket
from trio_upgrade import Request, Server, UpgradedStream, websocket
from trio_upgrade.websocket._options import Arguments, Options

from ..support.client import Connect
from ..support.websocket_client import close, echo, handshake, open_peer, shake, text

untyped: Any = trio_upgrade.websocket  # as it is used without a type checker

CHECKED = ("message_type", "allowed_origins", "tick")  # fields that are no option of an overload


def test_type_checkers_are_told_of_every_option() -> None:
    assert set(Arguments.__annotations__) == {field.name for field in dataclasses.fields(Options)} - set(CHECKED)
    for field in dataclasses.fields(Options):
        if field.name not in CHECKED:
            assert Arguments.__annotations__[field.name].__forward_arg__ == field.type


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("max_size", "do you mean 'max_message_size'?"),
        ("max_msg_size", "do you mean 'max_message_size'?"),
        ("max_queue", "do you mean 'receive_buffer'?"),
        ("write_limit", "do you mean 'send_buffer'?"),
        ("heartbeat", "do you mean 'ping_interval'?"),
        ("extra_headers", "do you mean 'headers'?"),
        ("protocols", "do you mean 'subprotocols'?"),
        ("check_origin", "do you mean 'origins'?"),
        ("origin", "do you mean 'origins'?"),
        ("ping_intervall", "do you mean 'ping_interval'?"),
        ("close_time_out", "do you mean 'close_timeout'?"),
        ("zebra", "it has message_type, subprotocols, origins, "),
    ],
)
async def test_an_option_that_does_not_exist_is_answered_with_the_right_one(
    connect_memory: Connect, name: str, words: str
) -> None:
    said = []
    for mistake in (partial(untyped.handler, echo, **{name: 1}), partial(untyped.handler, **{name: 1})):
        with pytest.raises(TypeError) as caught:
            mistake()
        said.append(str(caught.value))

    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        with pytest.raises(TypeError) as caught:
            untyped.accept(request, stream, **{name: 1})
        said.append(str(caught.value).replace("accept", "handler"))
        async with websocket.accept(request, stream):
            pass

    peer = await shake(await connect_memory(Server(on_upgrade=on_upgrade)))
    assert await peer.close_code() == 1000
    assert set(said) == {said[0]}
    assert f"handler has no option {name!r}" in said[0]
    assert words in said[0]


# ---- the function of a handler


async def plain(ws: Any) -> None:
    """Not the mistake; what is made of it below is."""


async def generator(ws: Any) -> AsyncIterator[str]:
    yield "hello"


@pytest.mark.parametrize(
    ("func", "words"),
    [
        (None, "handler takes an async function, not None"),
        ("chat", "handler takes an async function, not 'chat'"),
        (generator, "generator has a `yield`; messages are sent by `await ws.send"),
    ],
)
def test_what_is_no_async_function_is_refused_at_once(func: Any, words: str) -> None:
    for mistake in (partial(untyped.handler, func), partial(untyped.handler(close_timeout=1), func)):
        with pytest.raises(TypeError) as caught:
            mistake()
        assert words in str(caught.value)


def test_the_call_of_a_function_is_not_the_function() -> None:
    with pytest.raises(TypeError, match=r"the function itself, not its call: plain, without `\(\.\.\.\)`"):
        untyped.handler(plain(None))


async def test_a_plain_def_is_told_when_it_is_called(
    connect: Connect, caplog: pytest.LogCaptureFixture, logged: Callable[[], list[str]]
) -> None:
    def chat(ws: Any) -> None:
        pass

    peer = await open_peer(connect, chat)  # type: ignore[arg-type]
    assert await peer.close_code() == 1011
    await peer.send(close(1011))
    assert await peer.ended()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert "chat must be an `async def`, but its call returned None" in caplog.text
    assert logged() == ["ERROR TypeError"]


async def test_everything_whose_call_can_be_awaited_is_a_function(connect_memory: Connect) -> None:
    class Room:
        async def __call__(self, ws: websocket.WebSocket[Any]) -> None:
            await echo(ws)

        async def enter(self, ws: websocket.WebSocket[Any], times: int = 1) -> None:
            await echo(ws)

    def wrapped(ws: websocket.WebSocket[Any]) -> Awaitable[None]:
        return echo(ws)

    room = Room()
    funcs: list[Callable[[websocket.WebSocket[Any]], Awaitable[None]]] = [
        *(room, room.enter, wrapped, lambda ws: room.enter(ws, 2), partial(room.enter, times=3)),
    ]
    for func in funcs:
        peer = await open_peer(connect_memory, func)
        await peer.send(text("hello"))
        assert await peer.message() == "hello"


# ---- `accept` without `async with`


async def test_accept_without_async_with_says_how_it_is_used(connect_memory: Connect) -> None:
    said: list[str] = []

    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        accepting: Any = untyped.accept(request, stream)

        async def awaiting() -> None:
            await accepting

        async def sending() -> None:
            await accepting.send("hello")

        async def receiving() -> None:
            await accepting.receive()

        async def iterating() -> None:
            async for _ in accepting:
                pass

        async def entering() -> None:
            with accepting:
                pass

        async def asking() -> None:
            assert accepting.subprotocol is None

        for mistake in (awaiting, sending, receiving, iterating, entering, asking):
            with pytest.raises((TypeError, AttributeError)) as caught:
                await mistake()
            said.append(str(caught.value))
        assert not hasattr(accepting, "__wrapped__")
        async with accepting as ws:
            await ws.send("fine")

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(handshake())
    assert (await client.reply()).status == 101
    assert await client.exactly(6) == b"\x81\x04fine"
    assert len(said) == 6
    assert all("write `async with websocket.accept(request, stream) as ws:`" in each for each in said)
    assert "'send'" in said[1]


async def test_an_upgrade_handler_that_returns_it_says_so_too(
    connect_memory: Connect, caplog: pytest.LogCaptureFixture, logged: Callable[[], list[str]]
) -> None:
    def on_upgrade(request: Request, stream: UpgradedStream) -> Any:
        return untyped.accept(request, stream)

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(handshake())
    assert (await client.reply()).status == 500
    assert "accept cannot be awaited: write `async with" in caplog.text
    assert logged() == ["ERROR TypeError"]


# ---- `broadcast`


async def test_broadcast_takes_a_list_of_websockets_and_then_the_message(connect_memory: Connect) -> None:
    async def talk(ws: websocket.WebSocket[Any]) -> None:
        for mistake in ((ws, "hello"), ("hello", [ws]), (None, "hello")):
            with pytest.raises(TypeError, match=r"a list of WebSockets first.*broadcast\(\[ws\], message\)"):
                untyped.broadcast(*mistake)
        for wrong in (5, "somebody", None):
            with pytest.raises(TypeError, match=r"in it is not one") as caught:
                untyped.broadcast([ws, wrong], "hello")
            assert repr(wrong) in str(caught.value)
        with pytest.raises(TypeError, match="a message is a str or bytes"):
            untyped.broadcast([ws], {"hello": 1})

    peer = await open_peer(connect_memory, talk)
    for _ in range(3):
        assert await peer.message() == "hello"
    assert await peer.close_code() == 1000
