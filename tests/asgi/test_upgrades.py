"""Raw upgrades and CONNECT in an application, and native handlers beside it."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server, UpgradedStream, asgi

from ..support.applications import http, read, respond
from ..support.client import UPGRADE, Connect, get, reset, upgrade
from ..support.client import echo as native_echo
from ..support.websocket_client import handshake


async def echo(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    body = await read(receive)
    stream = await asgi.upgrade(scope)
    await stream.send_all(body)
    async for data in stream:
        await stream.send_all(data)


async def test_an_application_takes_the_connection_over(connect: Connect) -> None:
    async with asgi.server(http(echo)) as server:
        client = await connect(server)
        await client.send(upgrade(after=b"early"))
        reply = await client.reply()
        assert (reply.status, reply.headers["upgrade"]) == (101, "echo")
        assert await client.exactly(5) == b"early"
        await client.send(b"late")
        assert await client.exactly(4) == b"late"
        await client.send_eof()
        await client.end()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().upgrades == 1


async def test_a_body_comes_before_the_stream(connect: Connect) -> None:
    async with asgi.server(http(echo)) as server:
        client = await connect(server)
        await client.send(get("/", UPGRADE + b"Content-Length: 4\r\n", "POST") + b"bodyafter")
        assert (await client.reply()).status == 101
        assert await client.exactly(9) == b"bodyafter"
        await client.vanish()


async def test_an_application_chooses_the_protocol_and_the_fields(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        protocols = scope["extensions"]["trio_upgrade.upgrade"]["protocols"]
        await asgi.upgrade(scope, protocols[1], {"x-a": "b"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/", b"Connection: upgrade\r\nUpgrade: a/1, b/2\r\n"))
        reply = await client.reply()
        assert (reply.headers["upgrade"], reply.headers["x-a"]) == ("b/2", "b")
        await client.end()


async def test_an_upgrade_request_may_get_an_ordinary_response(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"or", "more_body": True})
        await send({"type": "http.response.body", "body": b"dinary"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):  # the connection is kept
            await client.send(upgrade())
            reply = await client.reply()
            assert (reply.status, reply.content) == (200, b"ordinary")
        assert server.statistics().upgrades == 0


async def test_what_a_framework_sends_after_an_upgrade_is_dropped(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        stream = await asgi.upgrade(scope)
        await stream.send_all(b"hello")
        await respond(send, b"null")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(upgrade())
        await client.reply()
        assert await client.rest() == b"hello"


async def test_an_exception_after_the_upgrade_closes(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        stream = await asgi.upgrade(scope)
        await stream.send_all(b"hello")
        raise KeyError("oops")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(upgrade())
        await client.reply()
        assert await client.exactly(5) == b"hello"
        await client.end()
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    caplog.clear()


async def test_a_request_that_asks_for_no_upgrade_cannot_be_taken_over(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        with pytest.raises(RuntimeError, match="asks for no upgrade"):
            await asgi.upgrade(scope)
        await respond(send)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 200


async def test_a_response_that_was_begun_excludes_an_upgrade(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(RuntimeError, match="begun a response"):
            await asgi.upgrade(scope)
        await send({"type": "http.response.body"})
        with pytest.raises(OSError, match="gone"):
            await asgi.upgrade(scope)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(upgrade())
        assert (await client.reply()).status == 200


async def test_connect_is_taken_over_in_the_same_way(connect: Connect) -> None:
    async with asgi.server(http(echo)) as server:
        client = await connect(server)
        await client.send(get("other:80", method="CONNECT"))
        assert await client.line() == b"HTTP/1.1 200 OK"
        assert await client.line() == b""
        await client.send(b"through")
        assert await client.exactly(7) == b"through"
        await client.vanish()


async def test_connect_may_be_refused(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"no", 403)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("other:80", method="CONNECT"))
        reply = await client.reply("GET")
        assert (reply.status, reply.closes) == (403, True)


# ---- native handlers


async def test_native_handlers_stand_beside_the_application(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"application")

    async def on_connect(request: Request, stream: UpgradedStream) -> Response:
        return Response(418)

    def should_upgrade(request: Request) -> bool:
        return request.path == "/native"

    options = {"on_upgrade": native_echo, "should_upgrade": should_upgrade, "on_connect": on_connect}
    async with asgi.server(http(endpoint), **options) as server:  # type: ignore[arg-type]
        client = await connect(server)
        await client.send(upgrade(target="/other"))
        assert (await client.reply()).content == b"application"
        await client.send(get("other:80", method="CONNECT"))
        assert (await client.reply("GET")).status == 418
        client = await connect(server)
        await client.send(upgrade(target="/native"), b"hello")
        assert (await client.reply()).status == 101
        assert await client.exactly(5) == b"hello"


async def test_a_server_without_the_extra_answers_a_handshake_as_a_request(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(asgi, "_websocket", raising=False)
    monkeypatch.setitem(sys.modules, "trio_upgrade.asgi._websocket", None)

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"plain")

    async with asgi.server(http(endpoint)) as server:
        assert isinstance(server, Server)
        client = await connect(server)
        for _ in range(2):
            await client.send(handshake())
            assert (await client.reply()).content == b"plain"
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    caplog.clear()


async def test_a_client_that_is_gone_cannot_be_upgraded(connect_tcp: Connect) -> None:
    ready, gone, done = trio.Event(), trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        ready.set()
        await gone.wait()
        with pytest.raises(OSError, match="gone"):
            await asgi.upgrade(scope)
        with pytest.raises(OSError, match="gone"):
            await respond(send, b"what a framework makes of an exception", 500)
        done.set()

    async with asgi.server(http(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(upgrade())
        await ready.wait()
        reset(client)
        gone.set()
        await done.wait()
