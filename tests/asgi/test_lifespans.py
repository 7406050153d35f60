"""The lifespan of an application, and the end of its server."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_upgrade import asgi

from ..support.applications import http, respond, websocket
from ..support.client import Connect, connect_tcp, get, open_client
from ..support.websocket_client import close, handshake, shake


class Living:
    """An application that says what it goes through.

    Args:
      at: the message at which it does something else.
      does: what it sends instead, or raises.
    """

    def __init__(self, at: str = "", does: asgi.Message | Exception | None = None) -> None:
        self.events: list[str] = []
        self._at = at
        self._does = does

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "lifespan":
            self.events.append(scope["type"])
            scope["state"]["count"] = scope["state"].get("count", 0) + 1
            return await respond(send, str(scope["state"]).encode())
        scope["state"]["database"] = "open"
        while True:
            kind = (await receive())["type"]
            self.events.append(kind)
            does = self._does if kind == self._at else None
            if isinstance(does, Exception):
                raise does
            await send(does or {"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


async def test_the_lifespan_is_around_all_requests(connect: Connect) -> None:
    app = Living()
    async with asgi.server(app) as server:
        assert app.events == ["lifespan.startup"]
        client = await connect(server)
        for _ in range(2):  # each request has a copy of the state
            await client.send(get())
            assert (await client.reply()).content == b"{'database': 'open', 'count': 1}"
        await client.aclose()
    assert app.events == ["lifespan.startup", "http", "http", "lifespan.shutdown"]


async def test_an_application_that_cannot_start_says_so() -> None:
    app = Living("lifespan.startup", {"type": "lifespan.startup.failed", "message": "no database"})
    with pytest.raises(asgi.StartupFailed, match="no database"):
        async with asgi.server(app):
            pytest.fail("it was served")


@pytest.mark.parametrize("error", [KeyError("lifespan"), AssertionError()])
async def test_an_application_that_raises_at_its_start_has_no_lifespan(connect: Connect, error: Exception) -> None:
    async with asgi.server(Living("lifespan.startup", error)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 200


async def test_an_application_whose_lifespan_returns_has_none(connect: Connect) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            await respond(send)

    async with asgi.server(app) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 200


async def test_a_lifespan_that_crashes_while_serving_ends_the_server() -> None:
    crash = trio.Event()

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await crash.wait()
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        async with asgi.server(app) as server:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve_tcp, 0)
                crash.set()


@pytest.mark.parametrize(
    "does", [{"type": "lifespan.shutdown.failed", "message": "oops"}, KeyError("oops")], ids=["told", "raised"]
)
async def test_a_lifespan_that_fails_at_its_end_is_logged(
    does: asgi.Message | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with asgi.server(Living("lifespan.shutdown", does)):
        pass
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    caplog.clear()


async def test_a_lifespan_message_out_of_order_raises_in_the_application() -> None:
    seen: list[str] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        for kind in ("lifespan.shutdown.complete", "lifespan.startup.complete", "lifespan.startup.complete"):
            try:
                await send({"type": kind})
            except RuntimeError as exc:
                seen.append(str(exc))
        await receive()

    async with asgi.server(app):
        pass
    assert len(seen) == 2
    assert "lifespan.startup.complete or lifespan.startup.failed" in seen[0]


async def test_what_the_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with asgi.server(Living()):
            raise KeyError("mine")


# ---- a shutdown


async def test_a_shutdown_waits_for_the_response(connect_tcp: Connect) -> None:
    go = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        extension = scope["extensions"]["trio_upgrade.shutdown"]
        await extension["shutting_down"].wait()
        await respond(send, b"goodbye")

    async with asgi.server(http(endpoint)) as server, trio.open_nursery() as nursery:
        client = await connect_tcp(server)
        await client.send(get())
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 5)
        go.set()
        reply = await client.reply()
        assert (reply.content, reply.closes) == (b"goodbye", True)
        await client.aclose()


async def test_an_application_that_is_cut_off_by_the_grace_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    told: list[str] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await receive()
        told.append((await receive())["type"])
        with pytest.raises(OSError, match="gone"):
            await send({"type": "http.response.body", "body": b"two"})
        told.append("send")

    async with asgi.server(http(endpoint)) as server:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        client = await open_client(listener)
        await client.send(get())
        await client.head(200)
        await server.shutdown(2)
        await trio.testing.wait_all_tasks_blocked()
        assert told == ["http.disconnect", "send"]
        await client.vanish()


@pytest.mark.parametrize("code", [1001, 1012])
async def test_a_websocket_closes_at_a_shutdown_and_the_application_hears_it(nursery: trio.Nursery, code: int) -> None:
    heard: list[asgi.Message] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        heard.append(await receive())

    async with asgi.server(websocket(endpoint), websocket_options={"shutdown_code": code}) as server:
        peer = await shake(await connect_tcp(nursery, server))
        async with trio.open_nursery() as inner:
            inner.start_soon(server.shutdown, 5)
            assert await peer.close_code() == code
            await peer.send(close(code))
        await peer.aclose()
    assert [message["code"] for message in heard] == [code]


async def test_a_websocket_that_is_not_accepted_hears_of_a_shutdown(nursery: trio.Nursery) -> None:
    heard: list[asgi.Message] = []
    asked = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        asked.set()
        heard.append(await receive())

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect_tcp(nursery, server)
        await client.send(handshake())
        await asked.wait()
        async with trio.open_nursery() as inner:
            inner.start_soon(server.shutdown, 5)
            assert (await client.reply()).status == 503
            await client.aclose()
    assert [message["code"] for message in heard] == [1001]


async def test_a_request_after_the_end_of_the_block_is_a_500(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with asgi.server(Living()) as server:
        client = await connect(server)
    await client.send(get())
    assert (await client.reply()).status == 500
    assert "inside of the block" in str(caplog.records[-1].exc_info)
    caplog.clear()
