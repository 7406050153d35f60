"""Litestar: routes, validation, streams, files, background tasks, WebSockets and lifespans."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import File, Response, Stream

from ..support import client as raw
from ..support.frameworks import visit

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning"
    ),  # how handlers are written changes from release to release
]


app_of = partial(Litestar, logging_config=None)  # it would replace the handlers of all loggers


@dataclass
class Item:
    name: str
    price: float


async def test_routes_validation_and_threads() -> None:
    @post("/items/{number:int}")
    async def create(number: int, data: Item) -> Item:
        return Item(data.name * number, data.price)

    @get("/plain", sync_to_thread=True)
    def plain() -> str:
        return "plain"

    async with visit(app_of([create, plain])) as at:
        answer = await at.http.post("/items/2", json={"name": "a", "price": 1.5})
        assert (answer.status_code, answer.json()) == (201, {"name": "aa", "price": 1.5})
        assert (await at.http.post("/items/2", json={"name": 1})).status_code == 400
        assert (await at.http.get("/plain")).text == "plain"
        assert (await at.http.get("/nothing")).status_code == 404


async def test_uploads() -> None:
    @post("/")
    async def upload(data: UploadFile = Body(media_type=RequestEncodingType.MULTI_PART)) -> int:  # noqa: B008
        return len(await data.read())

    async with visit(app_of([upload])) as at:
        assert (await at.http.post("/", files={"data": bytes(700_000)})).json() == 700_000


async def test_streams_and_files(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(500_000))

    async def pieces() -> AsyncGenerator[bytes, None]:
        for number in range(3):
            yield b"%d" % number

    @get("/stream")
    async def stream() -> Stream:
        return Stream(pieces())

    @get("/file")
    async def file() -> File:
        return File(path)

    async with visit(app_of([stream, file])) as at:
        assert (await at.http.get("/stream")).text == "012"
        assert (await at.http.get("/file")).content == bytes(500_000)


async def test_a_stream_ends_when_its_client_leaves() -> None:
    ended = trio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    @get("/")
    async def stream() -> Stream:
        return Stream(pieces())

    async with visit(app_of([stream])) as at:
        client = await at.client()
        await client.send(raw.get())
        await client.head(200)
        assert await client.exactly(10) == b"5\r\nfirst\r\n"
        await client.vanish()
        with trio.fail_after(10):
            await ended.wait()


async def test_background_tasks() -> None:
    done = trio.Event()

    async def work() -> None:
        done.set()

    @get("/")
    async def endpoint() -> Response[str]:
        return Response("soon", background=BackgroundTask(work))

    async with visit(app_of([endpoint])) as at:
        assert (await at.http.get("/")).text == "soon"
    assert done.is_set()


async def test_websockets() -> None:
    @websocket("/{name:str}")
    async def echo(socket: WebSocket[Any, Any, Any], name: str) -> None:
        await socket.accept()
        async for message in socket.iter_data("text"):
            await socket.send_data(f"{name}: {message}")

    async with visit(app_of([echo])) as at:
        async with at.websocket("/ann") as ws:
            await ws.send("hello")
            assert await ws.recv() == "ann: hello"


async def test_a_lifespan_with_a_task_group() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            app.state.answer = 42
            yield
            group.cancel_scope.cancel()
        steps.append("closed")

    @get("/")
    async def endpoint(request: Request[Any, Any, Any], state: State) -> int:
        return int(state.answer)

    async with visit(app_of([endpoint], lifespan=[lifespan])) as at:
        assert (await at.http.get("/")).json() == 42
    assert steps == ["closed"]
