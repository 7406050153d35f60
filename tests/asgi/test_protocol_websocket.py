"""What people who come from another ASGI server expect of WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from trio_upgrade import asgi

from ..support.applications import respond, websocket
from ..support.client import Connect, get, reset
from ..support.websocket_client import (
    BINARY,
    CONTINUATION,
    OFFER,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    frame,
    handshake,
    shake,
    text,
)

Message: TypeAlias = dict[str, Any]


async def accept(receive: asgi.Receive, send: asgi.Send, **more: object) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


async def echo(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# ---- the handshake


@pytest.mark.parametrize(
    "fields", [{"version": b"Sec-WebSocket-Version: 11\r\n"}, {"key": b""}, {"key": b"Sec-WebSocket-Key: x\r\n"}]
)
async def test_an_invalid_handshake_is_answered_by_the_server(connect: Connect, fields: dict[str, bytes]) -> None:
    async def never(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        raise AssertionError("the application was called")

    async with asgi.server(websocket(never)) as server:
        client = await connect(server)
        await client.send(handshake(**fields))  # type: ignore[arg-type]
        reply = await client.reply()
        assert reply.status == (426 if "version" in fields else 400)


async def test_the_fields_of_a_handshake_reach_the_application_as_they_are(connect: Connect) -> None:
    scopes: list[asgi.Scope] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        scopes.append(scope)
        await accept(receive, send)

    async with asgi.server(websocket(endpoint)) as server:
        await shake(await connect(server), "Username: abraão\r\n".encode(), target="/one%2Ftwo?a=b")
    assert dict(scopes[0]["headers"])[b"username"] == "abraão".encode()
    assert (scopes[0]["path"], scopes[0]["raw_path"]) == ("/one/two", b"/one%2Ftwo")
    assert (scopes[0]["query_string"], scopes[0]["scheme"]) == (b"a=b", "ws")


async def test_the_applications_fields_stand_in_the_101_and_no_others(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        fields = [(b"Server", b"first"), (b"server", b"second"), (b"extra", b"header")]
        await accept(receive, send, headers=iter(fields) if scope["path"] == "/fields" else ())

    async with asgi.server(websocket(endpoint)) as server:
        for target in ("/", "/fields"):
            client = await connect(server)
            await client.send(handshake(target=target))
            lines = []
            while line := await client.line():
                lines.append(line)
            ours = [line for line in lines if line.lower().startswith((b"server:", b"extra:"))]
            assert ours == ([] if target == "/" else [b"Server: first", b"server: second", b"extra: header"])


@pytest.mark.parametrize("compression", [True, False])
async def test_compression_is_an_option(connect: Connect, compression: bool) -> None:
    options = {} if compression else {"compression": None}
    async with asgi.server(websocket(echo), websocket_options=options) as server:
        peer = await shake(await connect(server), OFFER)
        assert ("permessage-deflate" in peer.reply.headers.get("sec-websocket-extensions", "")) is compression


@pytest.mark.parametrize("subprotocol", ["proto1", "proto2", None])
async def test_the_application_picks_the_subprotocol(connect: Connect, subprotocol: str | None) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert scope["subprotocols"] == ["proto1", "proto2"]
        await accept(receive, send, subprotocol=subprotocol)

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server), b"Sec-WebSocket-Protocol: proto1, proto2\r\n")
        assert peer.reply.headers.get("sec-websocket-protocol") == subprotocol


@pytest.mark.parametrize("messages", [[], [{"type": "websocket.send", "text": "123"}]], ids=["none", "send"])
async def test_an_application_that_does_not_accept_is_a_500(
    connect: Connect, messages: list[Message], logged: Callable[[], list[str]]
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        for message in messages:
            await send(message)

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(handshake())
        assert (await client.reply()).status == 500
    assert "ERROR RuntimeError" in logged()


async def test_a_second_accept_is_the_applications_error(connect: Connect, logged: Callable[[], list[str]]) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.accept"})

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        assert await peer.close_code() == 1011
        await peer.send(close(1011))
        assert await peer.ended()
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert "ERROR RuntimeError" in logged()


async def test_an_application_may_accept_before_it_receives(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "first"})
        assert await receive() == {"type": "websocket.connect"}

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        assert await peer.message() == "first"
        assert await peer.close_code() == 1000


# ---- the refusal


def response(status: int, *pieces: bytes, length: bool = False) -> list[Message]:
    """The messages of a response that refuses."""
    fields = [(b"content-type", b"text/plain")]
    if length:
        fields.append((b"Content-Length", b"%d" % len(b"".join(pieces))))
    messages: list[Message] = [{"type": "websocket.http.response.start", "status": status, "headers": fields}]
    for number, piece in enumerate(pieces, 1):
        more = number < len(pieces)
        messages.append({"type": "websocket.http.response.body", "body": piece, "more_body": more})
    return messages


@pytest.mark.parametrize(
    ("messages", "status", "content"),
    [
        ([{"type": "websocket.close"}], 403, None),
        ([{"type": "websocket.close", "code": 4000, "reason": "no"}], 403, None),
        (response(400, b"goodbye"), 400, b"goodbye"),
        (response(403, b"hardbody"), 403, b"hardbody"),
        (response(400, b"x" * 10, b"y" * 10, length=True), 400, b"x" * 10 + b"y" * 10),
        (response(404, b"", length=True), 404, b""),
        (response(307, b""), 307, b""),
    ],
    ids=["close", "code", "response", "no-length", "pieces", "empty", "redirect"],
)
async def test_an_application_refuses_and_the_connection_goes_on(
    connect: Connect, messages: list[Message], status: int, content: bytes | None
) -> None:
    heard: list[asgi.Message] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        for message in messages:
            await send(message)
        heard.append(await receive())

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(handshake())
            reply = await client.reply()
            assert reply.status == status
            assert content is None or reply.content == content
            assert reply.headers["content-length"] == str(len(reply.content))
    assert [(message["type"], message["code"]) for message in heard] == [("websocket.disconnect", 1006)] * 2


@pytest.mark.parametrize(
    "messages",
    [
        response(1000, b""),
        response(200),
        response(404) * 2,
        [{"type": "websocket.http.response.body", "body": b""}],
        [*response(400, b"whole"), *response(400, b"again")],
        [{"type": "websocket.close"}, {"type": "websocket.accept"}],
    ],
    ids=["status", "no-body", "twice", "no-start", "after-the-end", "accept-after-close"],
)
async def test_a_refusal_out_of_order_is_the_applications_error(
    connect: Connect, messages: list[Message], logged: Callable[[], list[str]]
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        for message in messages:
            await send(message)

    async with asgi.server(websocket(endpoint)) as server:
        client = await connect(server)
        await client.send(handshake())
        assert (await client.reply()).status == 500
    assert [entry for entry in logged() if entry.startswith("ERROR")]


# ---- messages


@pytest.mark.parametrize("size", [10, 11])
@pytest.mark.parametrize("most", [10, None])
async def test_the_size_of_a_message_is_bounded(connect_tcp: Connect, most: int | None, size: int) -> None:
    """By 16 MiB by default."""
    options = {} if most is None else {"max_message_size": most}
    length = size if most is not None else 2**24 + size - 10
    async with asgi.server(websocket(echo), websocket_options=options) as server:
        peer = await shake(await connect_tcp(server))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.client.send, frame(BINARY, bytes(length)))
            if size == 10:
                assert await peer.message() == bytes(length)
            else:
                assert await peer.close_code() == 1009
                nursery.cancel_scope.cancel()


async def test_a_message_is_text_or_bytes_never_both(connect: Connect) -> None:
    caught: list[type[BaseException]] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        for message in ({}, {"text": "a", "bytes": b"a"}, {"text": None, "bytes": None}):
            with pytest.raises(ValueError, match="either text or bytes") as info:
                await send({"type": "websocket.send", **message})
            caught.append(info.type)
        await send({"type": "websocket.send", "text": None, "bytes": b"\0"})
        await send({"type": "websocket.send", "text": "", "bytes": None})

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        assert [await peer.message(), await peer.message()] == [b"\0", ""]
    assert len(caught) == 3


async def test_messages_before_the_clients_close_are_received(connect: Connect) -> None:
    heard: list[object] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        await go_on.wait()  # all of it has arrived meanwhile
        while (message := await receive())["type"] == "websocket.receive":
            heard.append(message["bytes"])
        heard.append((message["code"], message["reason"]))
        done.set()

    go_on, done = trio.Event(), trio.Event()
    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        await peer.send(frame(BINARY, b"abc") * 3 + close(1001, "custom reason"))
        go_on.set()
        await done.wait()
    assert heard == [b"abc", b"abc", b"abc", (1001, "custom reason")]


async def test_fragments_are_one_message_and_pings_are_answered(connect: Connect) -> None:
    async with asgi.server(websocket(echo)) as server:
        peer = await shake(await connect(server))
        await peer.send(frame(TEXT, b"one", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"two"))
        assert await peer.frame() == Frame(PONG, b"p")
        assert await peer.message() == "onetwo"


async def test_an_idle_websocket_is_asked_every_20_seconds(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with asgi.server(websocket(echo)) as server:
        peer = await shake(await connect_memory(server))
        begin = trio.current_time()
        assert (await peer.frame()).opcode == PING
        assert trio.current_time() - begin == pytest.approx(20, abs=6)
        assert await peer.ended()  # nobody has answered


# ---- the end


@pytest.mark.parametrize("code", [None, 1000, 1001, 4999])
@pytest.mark.parametrize("reason", [{}, {"reason": None}, {"reason": "test"}], ids=["missing", "None", "given"])
async def test_an_application_closes(connect: Connect, code: int | None, reason: dict[str, str | None]) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.close", **({} if code is None else {"code": code}), **reason})
        with pytest.raises(RuntimeError, match="was closed"):
            await send({"type": "websocket.send", "text": "late"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        await peer.send(text("abc"))
        received = (await peer.frame()).payload
        assert int.from_bytes(received[:2]) == (code or 1000)
        assert received[2:].decode() == (reason.get("reason") or "")
        await peer.send(close(code or 1000))
        assert await peer.ended()


async def test_what_a_websocket_application_returns_means_nothing(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> int:
        await accept(receive, send)
        return 123

    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect(server))
        assert await peer.close_code() == 1000


async def test_a_connection_that_breaks_is_a_disconnect_with_1006(connect_tcp: Connect) -> None:
    heard: list[object] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        heard.append((await receive())["code"])
        done.set()

    async with asgi.server(websocket(endpoint)) as server:
        for _ in range(2):
            done = trio.Event()
            peer = await shake(await connect_tcp(server))
            reset(peer.client)
            with trio.fail_after(10):
                await done.wait()
    assert heard == [1006, 1006]


@pytest.mark.parametrize("way", ["close", "vanish"])
async def test_a_send_after_the_client_has_gone_raises_an_oserror(connect_tcp: Connect, way: str) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await accept(receive, send)
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(0.001)
        except OSError:
            done.set()
            raise  # it is no error of the application

    done = trio.Event()
    async with asgi.server(websocket(endpoint)) as server:
        peer = await shake(await connect_tcp(server))
        assert await peer.message() == "tick"
        if way == "close":
            await peer.send(close())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.client.rest)
        else:
            await peer.aclose()
        with trio.fail_after(10):
            await done.wait()


async def test_requests_and_websockets_share_what_the_lifespan_has_left(connect: Connect) -> None:
    seen = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"].update(number=123, numbers=[1])
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append((scope["type"], scope["state"]["number"], list(scope["state"]["numbers"])))
        scope["state"]["number"] = 456
        scope["state"]["numbers"].append(2)
        await (accept(receive, send) if scope["type"] == "websocket" else respond(send))

    async with asgi.server(app) as server:
        client = await connect(server)
        await client.send(get())
        await client.reply()
        await shake(client)
    assert seen == [("http", 123, [1]), ("websocket", 123, [1, 2])]
