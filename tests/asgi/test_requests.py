"""What an application receives: the body, and the client's leaving."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, asgi

from ..support.applications import http, read, respond
from ..support.client import Connect, chunked, get, post, post_head, reset


async def test_a_request_without_a_body_has_one_empty_message(connect: Connect) -> None:
    messages: list[asgi.Message] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        messages.append(await receive())
        await respond(send)
        messages.append(await receive())

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        await client.reply()
    assert messages == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]


@pytest.mark.parametrize(
    "body", [post(b"hello"), get("/", b"Transfer-Encoding: chunked\r\n", "POST") + chunked(b"hello")]
)
async def test_the_last_piece_of_a_body_is_known_as_the_last(connect: Connect, body: bytes) -> None:
    messages: list[asgi.Message] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        messages.append(await receive())
        await respond(send)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(body)
        await client.reply()
    assert messages == [{"type": "http.request", "body": b"hello", "more_body": False}]


async def test_a_body_arrives_whole(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"%d" % len(await read(receive)))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post_head(500_000), bytes(100_000), bytes(400_000))
        assert (await client.reply()).content == b"500000"
        await client.send(get("/", b"Transfer-Encoding: chunked\r\n", "POST"), chunked(b"one", b"two"))
        assert (await client.reply()).content == b"6"


async def test_a_100_goes_out_when_the_body_is_received(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a>"]})
        await respond(send, await read(receive))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post_head(5, b"Expect: 100-continue\r\n"))
        assert await client.line() == b"HTTP/1.1 103 Early Hints"
        assert [await client.line(), await client.line()] == [b"Link: </a>", b""]
        assert await client.line() == b"HTTP/1.1 100 Continue"
        await client.line()
        await client.send(b"hello")
        assert (await client.reply()).content == b"hello"


async def test_a_body_may_be_read_while_the_response_is_sent(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post_head(6), b"one")
        await client.head(200)
        assert await client.line() == b"3"
        assert await client.line() == b"one"
        await client.send(b"two")
        assert await client.line() == b"3"
        assert await client.line() == b"two"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/", b"Transfer-Encoding: chunked\r\n", "POST") + b"malformed\r\n", 400),
        (get("/", b"Transfer-Encoding: chunked\r\n", "POST") + b"20\r\n" + bytes(32), 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_disconnect_and_the_clients_error(
    connect: Connect, request_: bytes, status: int
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with asgi.server(http(endpoint), limits=Limits(max_body_size=10)) as server:
        client = await connect(server)
        await client.send(request_)
        assert (await client.reply()).status == status


# ---- the client leaves


async def test_a_client_that_leaves_is_told(connect: Connect) -> None:
    told = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await read(receive)
        assert await receive() == {"type": "http.disconnect"}
        assert await receive() == {"type": "http.disconnect"}
        told.set()

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        await trio.testing.wait_all_tasks_blocked()
        await client.vanish()
        await told.wait()


async def test_a_send_to_a_client_that_has_left_raises_an_oserror(connect: Connect) -> None:
    raised = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(OSError, match="gone"):
            while True:
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        raised.set()
        assert await receive() == {"type": "http.disconnect"}
        await send({"type": "http.response.body", "body": b""})  # which raises once more, and is logged at DEBUG

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        await client.head(200)
        await client.vanish()
        await raised.wait()


async def poll(receive: asgi.Receive) -> asgi.Message | None:
    """What Starlette's `is_disconnected` receives."""
    message = None
    with trio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message


async def test_a_poll_in_a_cancelled_scope_tells_at_once_whether_the_client_has_left(connect_tcp: Connect) -> None:
    polls: list[asgi.Message | None] = []
    here, left, done = trio.Event(), trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        polls.append(await poll(receive))
        body = await read(receive)
        polls.append(await poll(receive))
        here.set()
        await left.wait()
        polls.append(await poll(receive))
        assert body == b"hello"
        done.set()

    async with asgi.server(http(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(post(b"hello"))
        await here.wait()
        reset(client)
        left.set()
        await done.wait()
    assert polls == [None, None, {"type": "http.disconnect"}]


async def test_a_poll_takes_no_part_of_the_body(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        for _ in range(3):
            assert await poll(receive) is None
        body = await read(receive)
        assert await poll(receive) is None
        await respond(send, body)
        assert await poll(receive) == {"type": "http.disconnect"}

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post(b"hello"))
        assert (await client.reply()).content == b"hello"
        await client.send(post(b"again"))
        assert (await client.reply()).content == b"again"


async def test_the_end_of_a_half_closed_client_is_told_and_it_gets_its_response(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        body = await read(receive)
        assert (await receive())["type"] == "http.disconnect"
        await respond(send, body)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post(b"hello"))
        await client.send_eof()
        assert (await client.reply()).content == b"hello"


async def test_an_application_whose_send_was_cancelled_cannot_go_on(
    connect_tcp: Connect,
) -> None:
    raised = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.1):
            while True:
                await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
        with pytest.raises(OSError, match="gone"):
            await send({"type": "http.response.body"})
        raised.set()

    async with asgi.server(http(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(get())
        await raised.wait()
        with pytest.raises(AssertionError):
            while True:
                await client.exactly(2**20)


async def test_an_application_that_was_cancelled_before_its_response_may_still_answer(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await respond(send, b"never")
        await send({"type": "http.response.body", "body": b"late"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"late"


async def test_a_receive_may_begin_while_the_head_of_the_response_is_sent(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        async def listen() -> None:  # as Starlette does beside a stream
            while (await receive())["type"] != "http.disconnect":
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(respond, send, b"hello")

    async with asgi.server(http(endpoint)) as server:
        for _ in range(20):  # the tasks run in any order
            client = await connect(server)
            await client.send(get("/", b"Transfer-Encoding: chunked\r\n", "POST") + b"1\r\na\r\n" * 50)
            assert (await client.reply()).content == b"hello"
            await client.aclose()
