"""FastAPI: dependencies, validation, uploads, threads, WebSockets, and a raw upgrade beside all that."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import pytest
import trio
from fastapi import BackgroundTasks, Depends, FastAPI, Form, Header, HTTPException, Request, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from trio_upgrade import asgi

from ..support.client import chunked, get, post_head, reset, upgrade
from ..support.frameworks import visit

pytestmark = pytest.mark.once


class Item(BaseModel):
    name: str
    price: float


async def test_validation_of_a_json_body_and_of_parameters() -> None:
    app = FastAPI()

    @app.post("/items/{number}")
    async def create(number: int, item: Item, twice: bool = False) -> dict[str, Any]:
        return {"number": number, "price": item.price * (1 + twice)}

    async with visit(app) as at:
        answer = await at.http.post("/items/3?twice=true", json={"name": "a", "price": 1.5})
        assert answer.json() == {"number": 3, "price": 3.0}
        assert (await at.http.post("/items/x", json={"name": "a", "price": 1})).status_code == 422
        wrong = await at.http.post("/items/3", json={"name": "a"})
        assert wrong.json()["detail"][0]["loc"] == ["body", "price"]
        assert (await at.http.post("/items/3", content=b"{")).status_code == 422
        assert "/items/{number}" in (await at.http.get("/openapi.json")).json()["paths"]
        assert "swagger" in (await at.http.get("/docs")).text


async def test_dependencies_open_before_the_endpoint_and_close_after_the_response() -> None:
    app, steps = FastAPI(), []

    async def resource() -> AsyncIterator[str]:
        steps.append("opened")
        async with anyio.create_task_group():
            yield "resource"
        steps.append("closed")

    def token(authorization: Annotated[str, Header()]) -> str:  # in a thread
        if authorization != "Bearer t":
            raise HTTPException(401, "who are you?")
        return authorization

    @app.get("/", dependencies=[Depends(token)])
    async def endpoint(given: Annotated[str, Depends(resource)]) -> str:
        steps.append(given)
        return given

    async with visit(app) as at:
        assert (await at.http.get("/", headers={"authorization": "Bearer t"})).json() == "resource"
        refused = await at.http.get("/", headers={"authorization": "other"})
        assert (refused.status_code, refused.json()) == (401, {"detail": "who are you?"})
    assert steps == ["opened", "resource", "closed"]


async def test_uploads_and_forms() -> None:
    app = FastAPI()

    @app.post("/")
    async def upload(files: list[UploadFile], note: Annotated[str, Form()]) -> list[Any]:
        return [note, *[(file.filename, file.size, (await file.read())[-3:].hex()) for file in files]]

    big = bytes(3_000_000) + b"end"  # more than fits into memory: it goes to a temporary file
    async with visit(app) as at:
        files = [("files", ("a.bin", big)), ("files", ("b.txt", b"small"))]
        answer = await at.http.post("/", files=files, data={"note": "hé"})
        assert answer.json() == ["hé", ["a.bin", 3_000_003, b"end".hex()], ["b.txt", 5, b"all".hex()]]
        assert (await at.http.post("/", files=files)).status_code == 422


async def test_def_endpoints_run_in_threads_side_by_side() -> None:
    app = FastAPI()
    token = trio.lowlevel.current_trio_token()
    together, arrived, go_on = 5, trio.Semaphore(0), trio.Event()

    @app.get("/{number}")
    def endpoint(number: int) -> int:
        trio.from_thread.run_sync(arrived.release, trio_token=token)
        trio.from_thread.run(go_on.wait, trio_token=token)
        return number

    async with visit(app) as at:
        answers: list[int] = []

        async def ask(number: int) -> None:
            answers.append((await at.http.get(f"/{number}")).json())

        async with trio.open_nursery() as nursery:
            for number in range(together):
                nursery.start_soon(ask, number)
            for _ in range(together):
                await arrived.acquire()
            go_on.set()
        assert sorted(answers) == list(range(together))


async def test_a_streaming_response_and_background_tasks() -> None:
    app, done = FastAPI(), trio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces())

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> str:
        async def work() -> None:
            done.set()

        tasks.add_task(work)
        return "later"

    async with visit(app) as at:
        assert (await at.http.get("/stream")).text == "0\n1\n2\n"
        assert (await at.http.get("/later")).json() == "later"
        await done.wait()


async def test_websockets_with_dependencies() -> None:
    app = FastAPI()

    async def who(name: str = "nobody") -> str:
        return name

    @app.websocket("/ws/{room}")
    async def chat(ws: WebSocket, room: int, name: Annotated[str, Depends(who)]) -> None:
        await ws.accept()
        async for message in ws.iter_text():
            await ws.send_json([room, name, message])

    async with visit(app) as at:
        async with at.websocket("/ws/7?name=ann") as ws:
            await ws.send("hello")
            assert await ws.recv() == '[7,"ann","hello"]'


async def test_a_lifespan_with_a_task_group() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield {"answer": 42}
            group.cancel_scope.cancel()
        steps.append("closed")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def endpoint(request: Request) -> int:
        return int(request.state.answer)

    async with visit(app) as at:
        assert (await at.http.get("/")).json() == 42
    assert steps == ["closed"]


# ---- the raw upgrade


def shouting(app: FastAPI) -> None:
    """A protocol of our own, beside the routes: what comes goes back in capitals, after the length of the body."""

    async def user(name: str) -> str:
        if name == "mallory":
            raise HTTPException(403)
        return name

    @app.api_route("/shout/{name}", methods=["GET", "POST"])
    async def shout(request: Request, name: Annotated[str, Depends(user)]) -> None:
        body = await request.body()
        stream = await asgi.upgrade(request.scope, "shout/1", [("X-User", name)])
        await stream.send_all(b"%d\n" % len(body))
        async for data in stream:
            await stream.send_all(data.upper())


SHOUT = b"Connection: Upgrade\r\nUpgrade: shout/1\r\n"


@pytest.mark.parametrize("body", ["none", "length", "chunked"])
async def test_a_raw_upgrade_beside_the_routes_with_a_body_before_it(body: str) -> None:
    app = FastAPI()
    shouting(app)

    @app.get("/")
    async def hello() -> str:
        return "hello"

    request, length = {
        "none": (get("/shout/ann", SHOUT), 0),
        "length": (get("/shout/ann", SHOUT + b"Content-Length: 6\r\n", "POST") + b"123456", 6),
        "chunked": (get("/shout/ann", SHOUT + b"Transfer-Encoding: chunked\r\n", "POST") + chunked(b"123", b"4"), 4),
    }[body]
    async with visit(app) as at:
        client = await at.client()
        await client.send(get())
        assert (await client.reply()).content == b'"hello"'
        await client.send(request + b"after it")  # the stream's first bytes come with the request
        reply = await client.head(101)
        assert (reply.headers["upgrade"], reply.headers["x-user"]) == ("shout/1", "ann")
        assert await client.exactly(10) == b"%d\nAFTER IT" % length
        await client.send(b"more")
        assert await client.exactly(4) == b"MORE"
        await client.send_eof()
        await client.end()
        await client.aclose()


async def test_dependencies_decide_on_a_raw_upgrade() -> None:
    app = FastAPI()
    shouting(app)
    async with visit(app) as at:
        client = await at.client()
        await client.send(get("/shout/mallory", SHOUT))
        assert (await client.reply()).status == 403
        await client.send(get("/shout/ann", SHOUT))  # the connection was kept
        assert (await client.reply()).status == 101
        await client.vanish()


async def test_a_request_that_asks_for_no_upgrade_is_the_endpoints_error(logged: Callable[[], list[str]]) -> None:
    app = FastAPI()
    shouting(app)
    async with visit(app) as at:
        assert (await at.http.get("/shout/ann")).status_code == 500
        client = await at.client()
        await client.send(upgrade(target="/shout/ann"))  # to another protocol
        assert (await client.reply()).status == 500
        await client.vanish()
    assert [entry for entry in logged() if entry.startswith("ERROR")] == ["ERROR RuntimeError", "ERROR ValueError"]


async def test_uploads_that_break_off_end_nothing() -> None:
    app = FastAPI()

    @app.post("/")
    async def endpoint(file: UploadFile) -> int:
        return len(await file.read())

    fields = b"Content-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + bytes(500_000)
    whole = part + b"\r\n--b--\r\n"
    async with visit(app) as at:
        for length in range(0, 500_000, 25_000):
            client = await at.client()
            await client.send(post_head(len(whole), fields) + whole[:length])
            reset(client)
        client = await at.client()
        await client.send(post_head(len(whole), fields) + whole)
        assert (await client.reply()).content == b"500000"
        await client.vanish()
