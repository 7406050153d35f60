"""What people who come from another ASGI server expect of HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, asgi

from ..support.applications import http, read, respond
from ..support.client import Connect, cuts, get, post, post_head

Endpoint = asgi.ASGIApplication


async def hello(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await respond(send, b"hello", 200, (b"content-type", b"text/plain"))


async def count(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await respond(send, b"%d" % len(await read(receive)))


async def never(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    raise AssertionError("the application was called")


# ---- the request


async def test_a_request_may_come_in_any_two_packets(connect_memory: Connect) -> None:
    async with asgi.server(http(count)) as server:
        client = await connect_memory(server)
        for begin, end in cuts(post(b"12345")):
            await client.send(begin, end)
            assert (await client.reply()).content == b"5"


async def test_requests_in_one_packet_are_answered_in_order(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, scope["path"].encode())

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/1") + post(b"body", target="/2") + get("/3"))
        assert [(await client.reply()).content for _ in range(3)] == [b"/1", b"/2", b"/3"]


@pytest.mark.parametrize(
    ("line", "status"), [(b"G?T / HTTP/1.1", 400), (b"GET /?x=y z HTTP/1.1", 400), (b"GET / HTTP1.1", 400), (b"x", 400)]
)
async def test_an_invalid_request_never_reaches_the_application(connect: Connect, line: bytes, status: int) -> None:
    async with asgi.server(http(never)) as server:
        client = await connect(server)
        await client.send(line + b"\r\nHost: test\r\n\r\n")
        reply = await client.reply()
        assert (reply.status, reply.closes) == (status, True)


async def test_a_head_has_16_kib_unless_the_limits_say_otherwise(connect: Connect) -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 5_000) for number in range(4))
    async with asgi.server(http(hello)) as server:
        client = await connect(server)
        await client.send(get("/", fields))
        assert (await client.reply()).status == 431
    async with asgi.server(http(hello), limits=Limits(max_header_size=65_536)) as server:
        client = await connect(server)
        await client.send(get("/", fields))
        assert (await client.reply()).status == 200


async def test_an_application_that_receives_nothing_holds_the_upload_up(connect_tcp: Connect) -> None:
    go_on = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await go_on.wait()
        received, more = 0, True
        while more:
            message = await receive()
            received, more = received + len(message["body"]), message["more_body"]
        await respond(send, b"%d" % received)

    size = 20_000_000  # far more than the kernel buffers
    async with asgi.server(http(endpoint)) as server, trio.open_nursery() as nursery:
        client = await connect_tcp(server)
        sent = trio.Event()

        async def upload() -> None:
            await client.send(post_head(size))
            for _ in range(size // 1_000_000):
                await client.send(bytes(1_000_000))
            sent.set()

        nursery.start_soon(upload)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.statistics().bytes_received < 1_000_000
        assert not sent.is_set()
        go_on.set()
        assert (await client.reply()).content == b"%d" % size


@pytest.mark.parametrize("endpoint", [count, hello])
async def test_a_100_goes_out_only_if_the_body_is_received(connect: Connect, endpoint: Endpoint) -> None:
    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(post_head(5, b"Expect: 100-continue\r\n"))
        if endpoint is count:
            assert await client.line() == b"HTTP/1.1 100 Continue"
            assert await client.line() == b""
            await client.send(b"12345")
            assert (await client.reply()).content == b"5"
        else:
            reply = await client.reply()
            assert (reply.interim, reply.content, reply.closes) == ([], b"hello", True)


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"unknown"])
async def test_an_upgrade_that_nobody_takes_is_an_ordinary_request(connect: Connect, protocol: bytes) -> None:
    async with asgi.server(http(hello)) as server:
        client = await connect(server)
        settings = b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
        for _ in range(2):
            await client.send(get("/", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n" % protocol + settings))
            reply = await client.reply()
            assert (reply.status, reply.content) == (200, b"hello")


async def test_websocket_in_other_fields_than_upgrade_means_nothing(connect: Connect) -> None:
    async with asgi.server(http(hello)) as server:
        client = await connect(server)
        await client.send(get("/", b"Sec-WebSocket-Version: 13\r\nX: websocket\r\nConnection: Upgrade\r\n"))
        assert (await client.reply()).content == b"hello"


# ---- the response


@pytest.mark.parametrize("value", [b"c", b"a\tb", b"a b", "µ".encode(), b"\xff"])
async def test_a_fields_value_goes_out_as_it_is(connect: Connect, value: bytes) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"", 200, (b"key", b"<" + value + b">"))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/", b"Connection: close\r\n"))
        assert b"\r\nkey: <" + value + b">\r\n" in await client.rest()


async def test_fields_may_be_any_iterable(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        fields = ((name, b"value") for name in (b"x-first", b"x-second"))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b""})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert [reply.headers["x-first"], reply.headers["x-second"]] == ["value", "value"]


async def test_a_body_may_be_a_bytearray_or_a_memoryview(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/pieces":
            await send({"type": "http.response.body", "body": bytearray(b"one"), "more_body": True})
            await send({"type": "http.response.body", "body": memoryview(b"two"), "more_body": True})
        await send({"type": "http.response.body", "body": memoryview(b"end")})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/pieces"))
        assert (await client.reply()).content == b"onetwoend"
        await client.send(get())
        assert (await client.reply()).content == b"end"


async def test_early_hints_after_the_head_are_left_out(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send(hint)
        await send({"type": "http.response.body", "body": b"two"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.interim, reply.content) == ([], b"onetwo")


async def test_a_piece_was_sent_when_send_returns(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        sent.set()
        await trio.sleep_forever()

    sent = trio.Event()
    with trio.CancelScope() as scope:
        async with asgi.server(http(endpoint)) as server:
            client = await connect(server)
            await client.send(get())
            await sent.wait()
            await client.head(200)
            assert await client.exactly(8) == b"3\r\none\r\n"
            scope.cancel()


async def test_a_chunked_response_to_head_has_no_content(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Transfer-Encoding", b"chunked")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get(method="HEAD"))
            reply = await client.reply("HEAD")
            assert (reply.status, reply.content) == (200, b"")
        await client.send(get())
        assert (await client.reply()).content == b"onetwo"


@pytest.mark.parametrize("data", [get("/", b"Connection: close\r\n"), post(b"12345", b"Connection: close\r\n")])
async def test_a_client_may_ask_for_the_close(connect: Connect, data: bytes) -> None:
    async with asgi.server(http(count)) as server:
        client = await connect(server)
        await client.send(data + get())  # what comes after it is not answered
        reply = await client.reply()
        assert (reply.status, reply.closes) == (200, True)
        await client.end()


async def test_an_http_1_0_client_gets_its_response_and_the_end(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert scope["http_version"] == "1.0"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get(version="1.0"))
        head, _, content = (await client.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert content == b"onetwo"


async def test_what_the_application_returns_means_nothing(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> int:
        await respond(send, b"hello")
        return 123

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get())
            assert (await client.reply()).content == b"hello"


@pytest.mark.parametrize("query", ["", "?foo", "?foo=bar&baz=1"])
async def test_the_access_log_has_a_line_for_each_response(
    connect: Connect, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_upgrade.access")
    async with asgi.server(http(hello)) as server:
        client = await connect(server)
        await client.send(get(f"/{query}"))
        await client.reply()
        await trio.testing.wait_all_tasks_blocked()
    lines = [record.getMessage() for record in caplog.records if record.name == "trio_upgrade.access"]
    assert len(lines) == 1
    assert f'"GET /{query} HTTP/1.1" 200 5' in lines[0]


# ---- the connection


async def test_an_idle_connection_is_closed(connect_memory: Connect, autojump_clock: trio.testing.MockClock) -> None:
    async with asgi.server(http(hello), limits=Limits(keep_alive_timeout=5)) as server:
        client = await connect_memory(server)
        await client.send(get())
        await client.reply()
        begin = trio.current_time()
        await client.end()
        assert trio.current_time() - begin == pytest.approx(5, abs=1)


async def test_the_idle_time_begins_after_the_last_response(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await trio.sleep(20)
        await respond(send, b"late")

    async with asgi.server(http(endpoint), limits=Limits(keep_alive_timeout=5)) as server:
        client = await connect_memory(server)
        await client.send(get() + get())
        assert [(await client.reply()).content for _ in range(2)] == [b"late", b"late"]


async def test_a_connection_over_the_limit_gets_a_503(logged: Callable[[], list[str]]) -> None:
    async with asgi.server(http(hello), limits=Limits(max_connections=1)) as server, trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        first = await trio.testing.open_stream_to_socket_listener(listener)
        await first.send_all(get())
        assert await first.receive_some()
        second = await trio.testing.open_stream_to_socket_listener(listener)
        assert (await second.receive_some()).startswith(b"HTTP/1.1 503 ")
        await first.aclose()
        await second.aclose()
        assert "WARNING" in logged()
        nursery.cancel_scope.cancel()


async def test_a_shutdown_closes_an_idle_connection_and_answers_the_others(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    arrived, go_on = trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        arrived.set()
        await go_on.wait()
        await respond(send, b"last")

    async with asgi.server(http(endpoint)) as server:
        idle, busy = await connect_memory(server), await connect_memory(server)
        await busy.send(get())
        await arrived.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown, 10)
            await idle.end()
            go_on.set()
            reply = await busy.reply()
            assert (reply.content, reply.closes) == (b"last", True)


async def test_an_endless_stream_learns_of_a_shutdown(connect: Connect) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"endless", "more_body": True})
        begun.set()
        await scope["extensions"]["trio_upgrade.shutdown"]["shutting_down"].wait()
        await send({"type": "http.response.body", "body": b", almost"})

    begun = trio.Event()
    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        await begun.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown, 10)
            assert (await client.reply()).content == b"endless, almost"
            await client.aclose()


async def test_requests_share_what_the_lifespan_has_left_but_not_its_keys(connect: Connect) -> None:
    seen = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"].update(number=123, numbers=[1])
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            seen.append((scope["state"]["number"], list(scope["state"]["numbers"])))
            scope["state"]["number"] = 456  # this stays with the request
            scope["state"]["numbers"].append(2)  # this does not
            await respond(send)

    async with asgi.server(app) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get())
            await client.reply()
    assert seen == [(123, [1]), (123, [1, 2])]
