"""Starlette: routes, responses, files, middleware, WebSockets and lifespans."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from trio_upgrade import asgi

from ..support.client import chunked, get, post_head, reset
from ..support.frameworks import visit

pytestmark = pytest.mark.once

TEXT = bytes(range(256)) * 1000


def app_of(*routes: BaseRoute, **options: Any) -> Starlette:
    return Starlette(routes=list(routes), **options)


def one(endpoint: Callable[[Request], Any], **options: Any) -> Starlette:
    """An application of one endpoint."""
    return app_of(Route("/", endpoint, methods=["GET", "POST"]), **options)


# ---- routes


async def test_routes_with_parameters_mounts_and_urls() -> None:
    async def user(request: Request) -> Response:
        address = str(request.url_for("api:user", name="ann"))
        return JSONResponse({"name": request.path_params["name"], "to": address, "query": dict(request.query_params)})

    app = app_of(Mount("/api", name="api", routes=[Route("/users/{name}", user, name="user")]))
    async with visit(app) as at:
        answer = await at.http.get("/api/users/J%C3%BCrgen%20P", params={"a": "1 2"})
        assert answer.json() == {
            "name": "Jürgen P",
            "to": f"{at.http.base_url}/api/users/ann",
            "query": {"a": "1 2"},
        }
        assert (await at.http.get("/other")).status_code == 404
        assert (await at.http.post("/api/users/x")).status_code == 405
        head = await at.http.head("/api/users/x")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert (await at.http.get("/api/users/x/")).status_code == 307  # Starlette leads to the path without a slash


async def test_an_application_below_a_path_of_a_proxy() -> None:
    async def where(request: Request) -> Response:
        return PlainTextResponse(f"{request.scope['root_path']} {request.url.path} {request.url_for('where').path}")

    async with visit(app_of(Route("/here", where, name="where")), root_path="/app") as at:
        assert (await at.http.get("/here")).text == "/app /app/here /app/here"


async def test_a_plain_function_runs_in_a_thread() -> None:
    def endpoint(request: Request) -> Response:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        return PlainTextResponse("done")

    async with visit(one(endpoint)) as at:
        assert (await at.http.get("/")).text == "done"


async def test_an_exception_is_a_500_and_the_connection_goes_on(logged: Callable[[], list[str]]) -> None:
    async def endpoint(request: Request) -> Response:
        if request.query_params:
            return PlainTextResponse("fine")
        raise RuntimeError("on purpose")

    async with visit(one(endpoint)) as at:
        assert (await at.http.get("/")).status_code == 500  # ServerErrorMiddleware answers, and raises it again
        assert (await at.http.get("/?fine")).text == "fine"
    assert "ERROR RuntimeError" in logged()


# ---- bodies and streams


async def test_a_body_is_read_in_each_of_starlettes_ways() -> None:
    async def endpoint(request: Request) -> Response:
        match request.query_params["way"]:
            case "json":
                return JSONResponse(await request.json())
            case "form":
                async with request.form() as form:
                    return JSONResponse(dict(form.items()))
            case _:
                size = 0
                async for piece in request.stream():
                    size += len(piece)
                return JSONResponse(size)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(100_000)

    async with visit(one(endpoint)) as at:
        assert (await at.http.post("/?way=json", json=[1, 2])).json() == [1, 2]
        assert (await at.http.post("/?way=form", data={"a": "ä"})).json() == {"a": "ä"}
        assert (await at.http.post("/?way=stream", content=pieces())).json() == 300_000


async def test_a_stream_arrives_piece_by_piece() -> None:
    go_on = trio.Event()

    async def content() -> AsyncGenerator[str, None]:
        yield "first"
        await go_on.wait()
        yield "second"

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(content())

    async with visit(one(endpoint)) as at:
        client = await at.client()
        await client.send(get())
        await client.head(200)
        assert await client.exactly(10) == b"5\r\nfirst\r\n"
        go_on.set()
        assert await client.exactly(16) == b"6\r\nsecond\r\n0\r\n\r\n"
        await client.vanish()


async def test_a_stream_of_a_plain_iterator_runs_in_threads() -> None:
    def content() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(50_000)

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(content())

    async with visit(one(endpoint)) as at:
        assert (await at.http.get("/")).content == bytes(250_000)


@pytest.mark.parametrize("way", ["end", "reset"])
async def test_a_quiet_stream_ends_when_its_client_leaves(way: str) -> None:
    ended = trio.Event()

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(content())

    async with visit(one(endpoint)) as at:
        client = await at.client()
        await client.send(get())
        await client.head(200)
        if way == "end":
            await client.aclose()
        else:
            reset(client)
        with trio.fail_after(10):
            await ended.wait()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_a_disconnect() -> None:
    heard: list[type[BaseException]] = []
    done = trio.Event()

    async def endpoint(request: Request) -> Response:
        try:
            await request.body()
        except ClientDisconnect as exc:
            heard.append(type(exc))
            done.set()
            raise
        return Response()

    async with visit(one(endpoint)) as at:
        client = await at.client()
        await client.send(post_head(100) + b"some")
        await client.vanish()
        with trio.fail_after(10):
            await done.wait()
    assert heard == [ClientDisconnect]


async def test_polled_disconnects_take_nothing_of_the_body() -> None:
    async def endpoint(request: Request) -> Response:
        answers = [await request.is_disconnected() for _ in range(3)]
        body = await request.body()
        answers += [await request.is_disconnected() for _ in range(3)]
        return JSONResponse([answers, len(body)])

    async with visit(one(endpoint)) as at:
        client = await at.client()
        for part in (b"12345", chunked(b"123", b"45")):
            fields = b"Content-Length: 5\r\n" if part == b"12345" else b"Transfer-Encoding: chunked\r\n"
            await client.send(get("/", fields, "POST") + part)
            assert (await client.reply()).content == b"[[false,false,false,false,false,false],5]"
        await client.vanish()


async def test_a_polled_disconnect_is_seen() -> None:
    seen = trio.Event()
    asked = trio.Event()

    async def endpoint(request: Request) -> Response:
        await request.body()
        while not await request.is_disconnected():
            asked.set()
            await trio.sleep(0.001)
        seen.set()
        return Response()

    async with visit(one(endpoint)) as at:
        client = await at.client()
        await client.send(get())
        await asked.wait()
        await client.vanish()
        with trio.fail_after(10):
            await seen.wait()


# ---- background


async def test_a_background_task_does_not_hold_the_response_up_and_is_waited_for() -> None:
    go_on, done = trio.Event(), trio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("soon", background=BackgroundTask(work))

    async with visit(one(endpoint)) as at:
        client = await at.client()
        for _ in range(2):  # the connection goes on meanwhile
            await client.send(get())
            assert (await client.reply()).content == b"soon"
        await client.vanish()
        go_on.set()
    assert done.is_set()


# ---- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def files(file: Path) -> Starlette:
    """A file as a response of its own, and in a folder."""

    async def endpoint(request: Request) -> Response:
        return FileResponse(file, filename="náme.txt")

    return app_of(Route("/file", endpoint), Mount("/static", StaticFiles(directory=file.parent)))


@pytest.mark.parametrize("path", ["/file", "/static/text.txt"])
async def test_a_file_whole_in_ranges_and_conditionally(files: Starlette, path: str) -> None:
    async with visit(files) as at:

        async def fetch(method: str = "GET", **fields: str) -> tuple[int, bytes, Mapping[str, str]]:
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            answer = await at.http.request(method, path, headers=headers)
            return answer.status_code, answer.content, answer.headers

        status, content, headers = await fetch()
        assert (status, content, headers["content-length"]) == (200, TEXT, str(len(TEXT)))
        etag, modified = headers["etag"], headers["last-modified"]
        assert (await fetch("HEAD"))[:2] == (200, b"")
        status, content, headers = await fetch(range="bytes=10-19")
        assert (status, content, headers["content-range"]) == (206, TEXT[10:20], f"bytes 10-19/{len(TEXT)}")
        assert (await fetch(range="bytes=-5"))[:2] == (206, TEXT[-5:])
        assert (await fetch(range=f"bytes={len(TEXT)}-"))[0] == 416
        status, content, headers = await fetch(range="bytes=0-1,4-5")
        assert status == 206
        assert headers["content-type"].startswith("multipart/byteranges")
        assert content.count(TEXT[4:6]) >= 1
        assert (await fetch(range="bytes=1-2", if_range=etag))[0] == 206
        assert (await fetch(range="bytes=1-2", if_range='"other"'))[:2] == (200, TEXT)
        if path.startswith("/static"):  # a FileResponse alone does not look at these
            assert (await fetch(if_none_match=etag))[:2] == (304, b"")
            assert (await fetch(if_modified_since=modified))[:2] == (304, b"")


async def test_a_file_goes_on_with_the_next_request(files: Starlette) -> None:
    async with visit(files) as at:
        client = await at.client()
        for _ in range(2):
            await client.send(get("/file"))
            assert (await client.reply()).content == TEXT
            await client.send(get("/file", b"Range: bytes=0-2\r\n"))
            assert (await client.reply()).content == TEXT[:3]
            await client.send(get("/static/nothing"))
            assert (await client.reply()).status == 404
        await client.vanish()


# ---- middleware


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        size = len(await request.body()) if request.method == "POST" else 0
        response = await call_next(request)
        response.headers["x-size"] = str(size)
        return response


async def test_base_http_middleware() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(b"%d" % len(await request.body()))

    async with visit(one(endpoint, middleware=[Middleware(Stamp)] * 2)) as at:
        answer = await at.http.post("/", content=b"12345")
        assert (answer.text, answer.headers["x-size"]) == ("5", "5")
        assert (await at.http.get("/")).headers["x-size"] == "0"


async def test_a_stream_under_base_http_middleware_ends_when_its_client_leaves() -> None:
    ended = trio.Event()

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(content())

    async with visit(one(endpoint, middleware=[Middleware(Stamp)])) as at:
        client = await at.client()
        await client.send(get())
        await client.head(200)
        assert await client.exactly(10) == b"5\r\nfirst\r\n"
        await client.vanish()
        with trio.fail_after(10):
            await ended.wait()


async def test_cors_gzip_and_sessions() -> None:
    async def endpoint(request: Request) -> Response:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return PlainTextResponse(f"{request.session['visits']} " + "x" * 10_000)

    middleware = [
        Middleware(CORSMiddleware, allow_origins=["https://page.example"]),
        Middleware(GZipMiddleware),
        Middleware(SessionMiddleware, secret_key="s"),
    ]
    async with visit(one(endpoint, middleware=middleware)) as at:
        for visits in (1, 2, 3):
            answer = await at.http.get("/", headers={"origin": "https://page.example"})
            assert answer.headers["content-encoding"] == "gzip"
            assert int(answer.headers["content-length"]) < 200
            assert answer.text == f"{visits} " + "x" * 10_000
            assert answer.headers["access-control-allow-origin"] == "https://page.example"
        asked = {"origin": "https://page.example", "access-control-request-method": "GET"}
        assert (await at.http.options("/", headers=asked)).status_code == 200
        assert (await at.http.options("/", headers={**asked, "origin": "https://other.example"})).status_code == 400


async def test_gzip_of_a_stream() -> None:
    async def content() -> AsyncGenerator[bytes, None]:
        for _ in range(10):
            yield b"x" * 10_000

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(content())

    async with visit(one(endpoint, middleware=[Middleware(GZipMiddleware)])) as at:
        client = await at.client()
        await client.send(get("/", b"Accept-Encoding: gzip\r\n"))
        assert gzip.decompress((await client.reply()).content) == b"x" * 100_000
        await client.vanish()


# ---- WebSockets


async def echo(ws: WebSocket) -> None:
    await ws.accept(ws.scope["subprotocols"][0] if ws.scope["subprotocols"] else None, [(b"x-extra", b"yes")])
    try:
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") == "close":
                await ws.close(4000, "as you like")
                break
            if message.get("text") is not None:
                await ws.send_text(message["text"])
            else:
                await ws.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


async def test_a_websocket_route() -> None:
    async with visit(app_of(Mount("/in", routes=[WebSocketRoute("/echo/{room}", echo)]))) as at:
        async with at.websocket("/in/echo/1", subprotocols=["first", "second"]) as ws:
            assert ws.subprotocol == "first"
            assert ws.response is not None
            assert ws.response.headers["x-extra"] == "yes"
            for message in ("hé", "", b"\0\1", b"", "x" * 200_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send("close")
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4000, "as you like")
        with pytest.raises(InvalidStatus, match="403"):  # no such route
            async with at.websocket("/other"):
                pass


async def test_a_websocket_endpoint_hears_how_its_client_closes() -> None:
    codes: list[int] = []
    closed = trio.Event()

    class Numbers(WebSocketEndpoint):
        encoding = "json"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_json(data + 1)

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            codes.append(close_code)
            closed.set()

    async with visit(app_of(WebSocketRoute("/", Numbers))) as at:
        async with at.websocket("/") as ws:
            await ws.send("41")
            assert await ws.recv() == "42"
            await ws.aclose(4001, "enough")
        await closed.wait()
    assert codes == [4001]


@pytest.mark.parametrize("way", ["close", "response"])
async def test_a_websocket_is_refused(way: str) -> None:
    async def refuse(ws: WebSocket) -> None:
        if way == "close":
            await ws.close()
        else:
            await ws.send_denial_response(JSONResponse({"why": "no"}, 401, {"x-why": "no"}))

    async with visit(app_of(WebSocketRoute("/", refuse))) as at:
        with pytest.raises(InvalidStatus) as caught:
            async with at.websocket("/"):
                pass
        response = caught.value.response
        if way == "close":
            assert response.status_code == 403
        else:
            assert (response.status_code, response.headers["x-why"], response.body) == (401, "no", b'{"why":"no"}')


# ---- lifespan


async def test_a_lifespan_with_a_task_group_around_all_requests() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with anyio.create_task_group() as group:
            steps.append("opened")
            yield {"group": group}
            steps.append("closing")
        steps.append("closed")

    async def endpoint(request: Request) -> Response:
        ready = anyio.Event()

        async def work() -> None:
            ready.set()
            await anyio.sleep(0.01)
            steps.append("worked")

        request.state.group.start_soon(work)
        await ready.wait()
        return PlainTextResponse("begun")

    async with visit(one(endpoint, lifespan=lifespan)) as at:
        assert (await at.http.get("/")).text == "begun"
    assert sorted(steps) == ["closed", "closing", "opened", "worked"]
    assert (steps[0], steps[-1]) == ("opened", "closed")


async def test_a_lifespan_that_cannot_start() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("the database is down")
        yield

    with pytest.raises(asgi.StartupFailed, match="the database is down"):
        async with visit(app_of(lifespan=lifespan)):
            pass


async def test_a_lifespan_that_needs_asyncio_is_told_in_one_line() -> None:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        await asyncio.sleep(1)
        yield

    with pytest.raises(asgi.StartupFailed, match=r"^the application needs asyncio, but .*[^\n]$"):
        async with asgi.server(Starlette(lifespan=lifespan)):
            pass
