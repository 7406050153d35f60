"""Honest mistakes get an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream

from ..support.client import Connect, get, okay, upgrade

untyped: Any = trio_upgrade  # as it is used without a type checker


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: untyped.Response("hello"), TypeError, r"Response\(200, content\)\?"),
        (lambda: untyped.Response(200, "x", "text/html"), TypeError, r"Response\(\.\.\., content_type='text/html'\)\?"),
        (lambda: untyped.Response(200, "x", {"X-N": 5}), TypeError, "the value of 'X-N' is a str or bytes, not 5"),
        (lambda: untyped.Response(200, "x", {5: "x"}), TypeError, "the name of a field is a str or bytes, not 5"),
        (lambda: untyped.Response(200, "x", {"X-N": "\u20ac"}), ValueError, "the value of 'X-N' has a character"),
        (lambda: untyped.Server(Response(200)), TypeError, "on_request must be a function"),
        (lambda: untyped.Server(on_upgrade="x"), TypeError, "on_upgrade must be a function"),
        (lambda: untyped.Server(should_upgrade=True), TypeError, "should_upgrade must be a function"),
        (lambda: untyped.Server(on_connect=5), TypeError, "on_connect must be a function"),
        (lambda: untyped.Server(limits={"header_timeout": 5}), TypeError, "trio_upgrade.Limits"),
        (lambda: untyped.run(okay), TypeError, r"run\(Server\(on_request\)\)\?"),
        (lambda: untyped.run(untyped.Server(), 99999), ValueError, "0 to 65535"),
        (lambda: untyped.run(untyped.Server(), 0, ssl_context="cert.pem"), TypeError, "SSLContext"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(mistake: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mistake()


async def test_a_handler_that_is_not_async_is_named(
    connect: Connect, caplog: pytest.LogCaptureFixture, logged: Callable[[], list[str]]
) -> None:
    def on_request(request: Request) -> Response:
        return Response(200)

    def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        pass

    server = Server(on_request, on_upgrade=on_upgrade)  # type: ignore[arg-type]
    for data, words in [
        (get(), "on_request must be an async function, but its call returned <Response 200>"),
        (upgrade(), "the upgrade handler must be an async function, but its call returned None"),
    ]:
        client = await connect(server)
        await client.send(data)
        assert (await client.reply()).status == 500
        assert words in caplog.text
        assert logged() == ["ERROR TypeError"]


@pytest.mark.parametrize("port", ["80", 80.0, None, True])
async def test_a_port_of_the_wrong_type_is_refused(port: Any) -> None:
    with pytest.raises(TypeError, match="a port is an int"):
        await Server().serve_tcp(port)


@pytest.mark.parametrize(
    ("grace", "error"), [("5", TypeError), (None, TypeError), (-1, ValueError), (float("nan"), ValueError)]
)
async def test_a_grace_that_makes_no_sense_is_refused(grace: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="grace"):
        await Server().shutdown(grace)


async def test_a_port_that_is_taken_is_named() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            await Server().serve_tcp(port)
    assert caught.value.__notes__ == [f"(while opening port {port} of '127.0.0.1' to listen)"]


async def test_a_str_on_a_stream_is_told_to_be_encoded(connect_socket: Connect, connect_memory: Connect) -> None:
    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        untyped_stream: Any = stream
        for _ in range(2):
            with pytest.raises(TypeError, match=r"send_all takes bytes, not a str: send_all\('hello'\.encode\(\)\)\?"):
                await untyped_stream.send_all("hello")
            if request.transport and not heard:
                await request.accept()
                heard.append(True)
        await stream.send_all(b"bytes")
        heard.clear()

    for connect in (connect_socket, connect_memory):
        heard: list[bool] = []
        client = await connect(Server(on_upgrade=on_upgrade))
        await client.send(upgrade())
        assert (await client.reply()).status == 101
        assert await client.exactly(5) == b"bytes"


async def test_run_inside_trio_says_what_to_do_instead() -> None:
    with pytest.raises(RuntimeError, match=r"outside of Trio.*await server\.serve_tcp\(port\)"):
        trio_upgrade.run(Server(), 0)


async def test_run_in_another_thread_says_what_to_do_instead() -> None:
    with pytest.raises(RuntimeError, match=r"main thread.*trio\.run\(server\.serve_tcp, port\)"):
        await trio.to_thread.run_sync(trio_upgrade.run, Server(), 0)
