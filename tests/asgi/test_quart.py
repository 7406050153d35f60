"""Quart-Trio: routes, bodies, streams, background tasks, WebSockets and what runs around serving."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from quart import request, websocket
from quart_trio import QuartTrio
from websockets.exceptions import InvalidStatus

from trio_upgrade import asgi

from ..support.client import get
from ..support.frameworks import visit

pytestmark = pytest.mark.once


async def test_routes_bodies_and_files() -> None:
    app = QuartTrio(__name__)

    @app.route("/json/<int:number>", methods=["POST"])
    async def json(number: int) -> dict[str, Any]:
        return {"number": number, "got": await request.get_json()}

    @app.route("/upload", methods=["POST"])
    async def upload() -> dict[str, Any]:
        files = await request.files
        return {name: len(file.read()) for name, file in files.items()}

    @app.route("/plain")
    def plain() -> str:  # in a thread
        return "plain"

    async with visit(app) as at:
        assert (await at.http.post("/json/3", json=[1])).json() == {"number": 3, "got": [1]}
        assert (await at.http.post("/upload", files={"file": bytes(700_000)})).json() == {"file": 700_000}
        assert (await at.http.get("/plain")).text == "plain"
        assert (await at.http.get("/nothing")).status_code == 404
        assert (await at.http.get("/json/3")).status_code == 405


async def test_a_stream_ends_when_its_client_leaves() -> None:
    app, ended = QuartTrio(__name__), trio.Event()
    app.config["RESPONSE_TIMEOUT"] = None

    @app.route("/")
    async def stream() -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await trio.sleep_forever()
            finally:
                ended.set()

        return pieces()

    async with visit(app) as at:
        client = await at.client()
        await client.send(get())
        await client.head(200)
        assert await client.exactly(10) == b"5\r\nfirst\r\n"
        await client.vanish()
        with trio.fail_after(10):
            await ended.wait()


async def test_websockets() -> None:
    app = QuartTrio(__name__)

    @app.websocket("/echo/<name>")
    async def echo(name: str) -> None:
        await websocket.accept()
        while True:
            message = await websocket.receive()
            await websocket.send(f"{name}: {message}" if isinstance(message, str) else message)

    @app.websocket("/closed")
    async def closed() -> tuple[str, int]:
        return "not here", 401

    async with visit(app) as at:
        async with at.websocket("/echo/ann") as ws:
            await ws.send("hello")
            assert await ws.recv() == "ann: hello"
            await ws.send(b"\0")
            assert await ws.recv() == b"\0"
        with pytest.raises(InvalidStatus) as caught:
            async with at.websocket("/closed"):
                pass
        assert (caught.value.response.status_code, caught.value.response.body) == (401, b"not here")


async def test_what_runs_around_serving() -> None:
    app, steps = QuartTrio(__name__), []
    done = trio.Event()

    @app.before_serving
    async def before() -> None:
        steps.append("before")
        app.nursery.start_soon(work)

    async def work() -> None:
        steps.append("worked")
        done.set()

    @app.after_serving
    async def after() -> None:
        steps.append("after")

    @app.route("/")
    async def endpoint() -> str:
        await done.wait()
        steps.append("request")
        return "done"

    async with visit(app) as at:
        assert (await at.http.get("/")).text == "done"
    assert steps == ["before", "worked", "request", "after"]


async def test_a_raw_upgrade_in_an_endpoint() -> None:
    app = QuartTrio(__name__)

    @app.route("/shout")
    async def shout() -> str:
        stream = await asgi.upgrade(request.scope, "shout/1")
        async for data in stream:
            await stream.send_all(data.upper())
        return ""

    async with visit(app) as at:
        client = await at.client()
        await client.send(get("/shout", b"Connection: Upgrade\r\nUpgrade: shout/1\r\n") + b"hello")
        await client.head(101)
        assert await client.exactly(5) == b"HELLO"
        await client.send_eof()
        await client.end()
        await client.aclose()
