"""What a user of `trio_upgrade.websocket` sees: names, signatures, and errors for wrong arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, assert_type

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Server, UpgradedStream, websocket

from ..support.client import Connect
from ..support.websocket_client import BINARY, KEY, Peer, close, echo, frame, handshake, open_peer, shake, text

DEFAULTS = {
    "message_type": None,
    "subprotocols": (),
    "origins": "same",
    "compression": None,
    "headers": (),
    "max_message_size": 1_048_576,
    "receive_buffer": 65_536,
    "send_buffer": 1_048_576,
    "ping_interval": 20,
    "ping_timeout": 20,
    "close_timeout": 10,
    "send_timeout": 60,
    "message_timeout": 300,
    "shutdown_code": 1001,
}
OF_EVERY_EXCEPTION = {"add_note", "args", "with_traceback"}


def public_names(thing: object) -> set[str]:
    """What completion offers."""
    return {name for name in dir(thing) if not name.startswith("_")}


# ---- names


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (
            websocket.WebSocket,
            {
                "aclose",
                "cancel_on_close",
                "close_code",
                "close_reason",
                "receive",
                "request",
                "send",
                "send_nowait",
                "subprotocol",
                "wait_closed",
            },
        ),
        (websocket.ConnectionClosed, {"code", "reason"} | OF_EVERY_EXCEPTION),
        (websocket.HandshakeError, {"headers", "status"} | OF_EVERY_EXCEPTION),
    ],
)
async def test_a_class_shows_its_public_names_and_no_others(
    connect_memory: Connect, cls: type, names: set[str]
) -> None:
    seen: dict[type, set[str]] = {}

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        try:
            async with websocket.accept(request, stream) as ws:
                seen[type(ws)] = public_names(ws)
                await ws.receive()
        except (websocket.HandshakeError, websocket.ConnectionClosed) as exc:
            seen[type(exc)] = public_names(exc)
            raise

    server = Server(on_upgrade=on_upgrade)
    client = await connect_memory(server)
    await client.send(handshake(version=b""))
    await client.rest()
    peer = await shake(await connect_memory(server))
    await peer.send(close(4000))
    await peer.client.rest()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert seen[cls] == names


def test_every_public_class_is_in_the_test_above() -> None:
    classes = {name for name in websocket.__all__ if isinstance(getattr(websocket, name), type)}
    assert classes == {"ConnectionClosed", "HandshakeError", "WebSocket"}


async def test_what_accept_returns_is_an_async_context_manager_and_nothing_else(connect_memory: Connect) -> None:
    seen: list[set[str]] = []

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        accepting = websocket.accept(request, stream)
        seen.append(public_names(accepting))
        async with accepting as ws:
            await echo(ws)

    await shake(await connect_memory(Server(on_upgrade=on_upgrade)))
    assert seen == [set()]


# ---- signatures


@pytest.mark.parametrize("function", [websocket.accept, websocket.handler])
def test_a_signature_names_every_option_with_its_default(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    options = {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    assert options == DEFAULTS
    assert all(each.annotation is not inspect.Parameter.empty for each in parameters)
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def test_the_documentation_of_accept_tells_every_option() -> None:
    documentation = inspect.getdoc(websocket.accept)
    assert documentation is not None
    for name in DEFAULTS:
        (told,) = re.findall(rf"^  {name}: (.*?)(?=^  \w+:|^\S|\Z)", documentation, re.MULTILINE | re.DOTALL)
        assert "efault" in told, f"{name} tells no default"


# ---- `handler` as a decorator


async def test_a_handler_may_be_decorated(connect_memory: Connect) -> None:
    @websocket.handler
    async def bare(ws: websocket.WebSocket[str | bytes]) -> None:
        await echo(ws)

    @websocket.handler(message_type=str, subprotocols=["shout"])
    async def shout(ws: websocket.WebSocket[str]) -> None:
        async for message in ws:
            assert_type(message, str)
            await ws.send(message.upper())

    peer = await shake(await connect_memory(Server(on_upgrade=bare)))
    await peer.send(frame(BINARY, b"a") + text("a"))
    assert [await peer.message(), await peer.message()] == [b"a", "a"]

    peer = await shake(await connect_memory(Server(on_upgrade=shout)), b"Sec-WebSocket-Protocol: shout\r\n")
    assert peer.reply.headers["sec-websocket-protocol"] == "shout"
    await peer.send(text("hello"))
    assert await peer.message() == "HELLO"
    await peer.send(frame(BINARY, b"a"))
    assert await peer.close_code() == 1003


def test_a_decorator_checks_its_options_before_it_gets_a_function() -> None:
    with pytest.raises(ValueError, match="close_timeout"):
        websocket.handler(close_timeout=-1)
    with pytest.raises(TypeError, match="async function"):
        websocket.handler(close_timeout=1)(None)  # type: ignore[arg-type]


# ---- wrong arguments


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"message_type": "str"}, TypeError),
        ({"compression": 15}, TypeError),
        ({"compression": ""}, ValueError),
        ({"subprotocols": 1}, TypeError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"subprotocols": [""]}, ValueError),
        ({"origins": 1}, TypeError),
        ({"origins": None}, TypeError),
        ({"origins": ["*"]}, ValueError),
        ({"origins": ["example.com"]}, ValueError),
        ({"origins": ["https://example.com/"]}, ValueError),
        ({"origins": ["https://example.com", "https://example.com/page"]}, ValueError),
        ({"headers": 1}, TypeError),
        ({"headers": [("X-Mine", 1)]}, TypeError),
        ({"headers": {"Connection": "close"}}, ValueError),
        ({"max_message_size": None}, TypeError),
        ({"ping_interval": float("nan")}, ValueError),
    ],
)
async def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error(
    connect_memory: Connect, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        websocket.handler(echo, **options)
    raised: list[type[Exception]] = []

    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        try:
            websocket.accept(request, stream, **options)
        except Exception as exc:
            raised.append(type(exc))
        await request.accept()

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(handshake())
    await client.rest()
    assert raised == [error]


@pytest.mark.parametrize(
    "origin", ["null", "https://example.com", "HTTP://Example.COM:8000", "http://[::1]:8000", "chrome-extension://abc"]
)
async def test_origins_of_every_kind_can_be_listed(connect_memory: Connect, origin: str) -> None:
    await open_peer(connect_memory, echo, f"Origin: {origin}\r\n".encode(), origins=[origin])


async def test_accept_takes_a_request_and_its_stream(connect_memory: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        with pytest.raises(TypeError, match="request is the Request"):
            websocket.accept(stream, request)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="stream is the"):
            websocket.accept(request, None)  # type: ignore[call-overload]
        async with websocket.accept(request, stream) as ws:
            await ws.send("fine")

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(handshake(key=f"Sec-WebSocket-Key: {KEY}\r\n".encode()))
    assert await Peer(client, await client.reply()).message() == "fine"


async def test_aclose_takes_a_code_and_a_reason(connect_memory: Connect) -> None:
    async def leave(ws: websocket.WebSocket[Any]) -> None:
        for code, reason in [("1000", ""), (1000.0, ""), (True, ""), (None, ""), (1000, b""), (1000, None)]:
            with pytest.raises(TypeError):
                await ws.aclose(code, reason)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            await ws.aclose(1000, "\ud800")
        await ws.send("still open")

    peer = await open_peer(connect_memory, leave)
    assert await peer.message() == "still open"
    assert await peer.close_code() == 1000
