"""WebSockets of an application."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import asgi

from ..support.applications import respond, websocket
from ..support.client import Connect, get, reset
from ..support.websocket_client import close, frame, handshake, shake, text


async def accept(receive: asgi.Receive, send: asgi.Send, **more: object) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


async def echo(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def test_messages_go_both_ways(connect: Connect) -> None:
    async with asgi.server(websocket(echo)) as server:
        peer = await shake(await connect(server))
        await peer.send(text("hello"), frame(2, b"bytes"))
        assert [await peer.message(), await peer.message()] == ["hello", b"bytes"]
        await peer.send(close())
        assert await peer.close_code() == 1000
        assert await peer.ended()


@pytest.mark.parametrize(("data", "code"), [(close(3001, "why"), 3001), (close(None), 1005), (b"", 1006)])
async def test_an_application_hears_how_the_client_has_closed(connect: Connect, data: bytes, code: int) -> None:
    heard: list[asgi.Message] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        heard.append(await receive())
        heard.append(await receive())
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "late"})
        done.set()

    done = trio.Event()
    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server), after=data)
        if not data:
            await peer.aclose()
        await done.wait()
    assert [message["type"] for message in heard] == ["websocket.disconnect"] * 2
    assert [message["code"] for message in heard] == [code, code]
    assert heard[0]["reason"] == "why" or code != 3001


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({}, 1000),
        ({"code": None, "reason": None}, 1000),
        ({"code": 1012, "reason": "later"}, 1012),
        ({"code": 4000}, 4000),
    ],
)
async def test_an_application_closes_with_its_code(connect: Connect, message: asgi.Message, code: int) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", **message})
        assert (await receive())["code"] == code

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server), after=close(code))
        assert await peer.close_code() == code
        assert await peer.ended()


async def test_the_return_of_an_application_closes_with_1000(connect: Connect) -> None:
    async with asgi.server(websocket(lambda scope, receive, send: accept(receive, send))) as server:
        peer = await shake(await connect(server))
        assert await peer.close_code() == 1000


async def test_an_exception_closes_with_1011(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        raise KeyError("oops")

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        assert await peer.close_code() == 1011
        await peer.send(close(1011))
        assert await peer.ended()
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert "ERROR" in [record.levelname for record in caplog.records]
    caplog.clear()


async def test_the_subprotocol_and_the_fields_are_the_applications(connect: Connect) -> None:
    scopes: list[asgi.Scope] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        scopes.append(scope)
        await accept(receive, send, subprotocol="b", headers=[(b"x-a", b"1"), (b"x-a", b"2")])

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server), b"Sec-WebSocket-Protocol: a, b\r\n", close())
        assert peer.reply.headers["sec-websocket-protocol"] == "b"
        assert peer.reply.headers["x-a"] == "1, 2"
    assert scopes[0]["subprotocols"] == ["a", "b"]


@pytest.mark.parametrize("more", [{"subprotocol": "c"}, {"headers": [(b"sec-websocket-protocol", b"a")]}])
async def test_a_subprotocol_that_is_not_offered_is_refused(connect: Connect, more: asgi.Message) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        with pytest.raises(ValueError, match="subprotocol"):
            await accept(receive, send, **more)
        await send({"type": "websocket.close"})

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(handshake(b"Sec-WebSocket-Protocol: a\r\n"))
        assert (await client.reply()).status == 403


# ---- before it is accepted


async def test_a_close_before_the_accept_is_a_403(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):  # the connection is kept
            await client.send(handshake())
            assert (await client.reply()).status == 403


async def test_bytes_after_a_handshake_that_is_refused_harm_nobody(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            return await respond(send, b"hello")
        await receive()
        await send({"type": "websocket.close"})

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "lifespan":
            await endpoint(scope, receive, send)

    async with asgi.server(app) as server:
        client = await connect(server)
        await client.send(handshake() + text("more") + bytes(1000))
        assert (await client.reply()).status == 403
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"hello"


async def test_a_response_of_its_own_refuses(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"b")]})
        await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"body"})

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(handshake())
        reply = await client.reply()
        assert (reply.status, reply.content, reply.headers["x-a"]) == (401, b"nobody", "b")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (handshake(key=b""), 400),
        (handshake(version=b"Sec-WebSocket-Version: 12\r\n"), 426),
        (handshake(method="POST"), 400),
    ],
)
async def test_an_invalid_handshake_never_reaches_the_application(connect: Connect, data: bytes, status: int) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        pytest.fail("it was reached")

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(data)
        assert (await client.reply()).status == status


async def test_a_client_that_leaves_before_the_accept_is_told(connect_tcp: Connect) -> None:
    asked, told = trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        asked.set()
        assert await receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        told.set()

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(handshake())
        await asked.wait()
        await client.vanish()
        await told.wait()


async def test_an_application_may_receive_before_it_accepts(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, receive, send)
            await trio.testing.wait_all_tasks_blocked()
            await send({"type": "websocket.accept"})

    async def answer(receive: asgi.Receive, send: asgi.Send) -> None:
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        await peer.send(text("hello"))
        assert await peer.message() == "hello"


# ---- options and mistakes


async def test_every_origin_may_connect_unless_the_options_say_otherwise(connect: Connect) -> None:
    origin = b"Origin: https://elsewhere.example\r\n"
    async with asgi.server(websocket(echo)) as server:
        await shake(await connect(server), origin, close())
    async with asgi.server(websocket(echo), websocket_options={"origins": "same"}) as server:
        client = await connect(server)
        await client.send(handshake(origin))
        assert (await client.reply()).status == 403


async def test_a_large_message_closes_with_1009(connect: Connect) -> None:
    async with asgi.server(websocket(echo), websocket_options={"max_message_size": 100}) as server:
        peer = await shake(await connect(server))
        await peer.send(text("x" * 101))
        assert await peer.close_code() == 1009


@pytest.mark.parametrize("options", [{"headers": []}, {"message_type": str}, {"no_such": 1}, {"compression": 1}])
async def test_an_invalid_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        async with asgi.server(websocket(echo), websocket_options=options):
            pass


async def test_a_message_out_of_order_names_what_was_expected(connect: Connect) -> None:
    seen: list[str] = []
    done = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        wrong: list[asgi.Message] = [
            {"type": "websocket.send", "text": "a"},
            {"type": "websocket.accept"},
            {"type": "websocket.accept"},
            {"type": "websocket.close"},
            {"type": "websocket.close"},
        ]
        for message in wrong:
            try:
                await send(message)
            except RuntimeError as exc:
                seen.append(str(exc))
        done.set()

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server), after=close())
        assert await peer.close_code() == 1000
        await peer.aclose()
        await done.wait()
    decision = "websocket.accept, websocket.close or websocket.http.response.start"
    assert seen == [
        f"the application has sent 'websocket.send', but expected is {decision}",
        "the application has sent 'websocket.accept', but expected is websocket.send or websocket.close",
        "the application has sent 'websocket.close', but expected is nothing more: the WebSocket was closed",
    ]


async def test_an_application_that_does_not_decide_is_a_500(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(handshake())
        assert (await client.reply()).status == 500
    assert "ERROR" in [record.levelname for record in caplog.records]
    caplog.clear()


async def test_a_client_that_is_gone_cannot_be_accepted(connect_tcp: Connect) -> None:
    ready, gone, done = trio.Event(), trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        ready.set()
        await gone.wait()
        done.set()
        await send({"type": "websocket.accept"})  # raises an OSError, which is logged at DEBUG

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(handshake())
        await ready.wait()
        reset(client)
        gone.set()
        await done.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)


class WebSocketDisconnect(Exception):
    """What Starlette makes of an OSError, and of a websocket.disconnect."""


async def test_what_a_framework_makes_of_a_disconnect_is_no_error(connect: Connect) -> None:
    raised = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        assert (await receive())["type"] == "websocket.disconnect"
        raised.set()
        raise WebSocketDisconnect

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        await peer.send(close(1001))
        await raised.wait()
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_what_an_application_raises_when_it_is_cancelled_is_logged(
    connect_memory: Connect, logged: Callable[[], list[str]]
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("cleanup")

    async with asgi.server(websocket(endpoint)) as server:
        await shake(await connect_memory(server))
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown(0)
        await trio.testing.wait_all_tasks_blocked()
    assert "ERROR" in " ".join(logged())
