"""Ordinary requests and their responses."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Body, BodyTooLarge, Limits, ProtocolError, Request, Response, Server

from ..support.client import Connect, chunked, get, okay, post, upgrade

Logged = Callable[[], list[str]]
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def answering(response: Response) -> Server:
    async def on_request(request: Request) -> Response:
        return response

    return Server(on_request)


async def read(request: Request) -> Response:
    return Response(200, await request.body.read())


# ---- connections


async def test_a_server_without_a_request_handler_answers_404(connect: Connect) -> None:
    client = await connect(Server())
    await client.send(get())
    assert (await client.reply()).status == 404


async def test_a_connection_is_kept_for_the_next_request(connect: Connect) -> None:
    client = await connect(Server(okay))
    for path in ("/1", "/2", "/3"):
        await client.send(get(path))
        reply = await client.reply()
        assert (reply.status, reply.content, reply.closes) == (200, f"okay {path}\n".encode(), False)


async def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    client = await connect(Server(read))
    three = get(method="POST", fields=CHUNKED) + chunked(b"th", b"ree")
    await client.send(post(b"one") + get() + three + post(b"four"))
    assert [(await client.reply()).content for _ in range(4)] == [b"one", b"", b"three", b"four"]


async def test_between_two_requests_others_have_their_turn(connect: Connect, nursery: trio.Nursery) -> None:
    turns = 0
    seen = []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def respond(request: Request) -> Response:
        seen.append(turns)
        return Response(200)

    client = await connect(Server(respond))
    nursery.start_soon(take_turns)
    await client.send(get() * 20)  # all of them are there, so that there is nothing to wait for
    for _ in range(20):
        assert (await client.reply()).status == 200
    assert len(set(seen)) >= 10  # tasks that are ready run in any order, so it may be every second time
    nursery.cancel_scope.cancel()


async def test_the_client_asks_to_close(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(fields=b"Connection: foo, Close\r\n") + get())
    assert (await client.reply()).closes
    assert await client.rest() == b""


async def test_the_handler_asks_to_close(connect: Connect) -> None:
    client = await connect(answering(Response(200, "bye", {"Connection": "close"})))
    await client.send(get() + get())
    assert (await client.reply()).closes
    assert await client.rest() == b""


async def test_http_1_0_gets_a_response_and_a_close(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(version="1.0", fields=b"Connection: keep-alive\r\n"))
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"okay /\n", True)
    assert await client.rest() == b""


async def test_http_1_0_needs_no_host(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await client.reply()).status == 200


async def test_a_client_that_half_closes_gets_its_response(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get())
    await client.send_eof()
    assert (await client.reply()).content == b"okay /\n"
    assert await client.rest() == b""


async def test_one_empty_line_before_a_request_is_ignored(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(b"\r", b"\n" + get("/1") + b"\r\n" + get("/2"))
    assert (await client.reply()).content == b"okay /1\n"
    assert (await client.reply()).content == b"okay /2\n"
    await client.send(b"\r\n\r\n" + get("/3"))
    assert (await client.reply()).status == 400


# ---- requests


async def test_what_a_request_tells(connect_tcp: Connect) -> None:
    seen: list[Request] = []

    async def on_request(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    server = Server(on_request)
    client = await connect_tcp(server)
    fields = b"X-One: a\r\nx-one: b, c\r\nX-Latin: caf\xe9\r\nEmpty:\r\n"
    await client.send(get("/a%20b/%C3%A9?x=%20&y", fields))
    assert (await client.reply()).status == 200
    (request,) = seen
    assert (request.method, request.target, request.http_version) == ("GET", "/a%20b/%C3%A9?x=%20&y", "1.1")
    assert (request.path, request.query) == ("/a b/é", "x=%20&y")
    assert request.headers["x-ONE"] == "a, b, c"
    assert request.headers.get_list("X-One") == ["a", "b, c"]
    assert request.headers.get_list("absent") == []
    assert request.headers["x-latin"] == "café"
    assert request.headers["empty"] == ""
    assert "host" in request.headers
    assert "absent" not in request.headers
    assert list(request.headers) == ["host", "x-one", "x-latin", "empty"]
    assert len(request.headers) == 4
    assert dict(request.headers) == {"host": "test", "x-one": "a, b, c", "x-latin": "café", "empty": ""}
    assert request.headers.get_list("X-One") == ["a", "b, c"]
    assert "x:one" not in request.headers
    assert request.headers.raw[1:3] == ((b"X-One", b"a"), (b"x-one", b"b, c"))
    assert request.server is server
    assert request.scheme == "http"
    assert request.client == "127.0.0.1"
    assert isinstance(client.stream, trio.SocketStream)
    assert request.peername == client.stream.socket.getsockname()
    assert repr(request) == "<Request GET /a%20b/%C3%A9?x=%20&y from 127.0.0.1>"
    assert "café" not in repr(request.headers)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("//two", "//two", ""),
        ("http://test/a/b?c", "/a/b", "c"),
        ("HTTP://test:8000/", "/", ""),
        ("http://test", "/", ""),
        ("http://test?a/b", "/", "a/b"),
        ("/a/http://b?c", "/a/http://b", "c"),
    ],
)
async def test_the_path_and_query_of_either_target_form(connect: Connect, target: str, path: str, query: str) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, f"{request.path} {request.query}")

    client = await connect(Server(on_request))
    await client.send(get(target))
    assert (await client.reply()).content == f"{path} {query}".encode()


async def test_options_for_the_whole_server(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, request.path)

    client = await connect(Server(on_request))
    await client.send(get("*", method="OPTIONS"))
    assert (await client.reply()).content == b"*"


async def test_a_body_is_read_in_parts_and_keeps_ending(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        parts = [await request.body.receive_some(3), await request.body.receive_some()]
        parts += [bytes(part) async for part in request.body]
        assert await request.body.receive_some() == b""
        assert await request.body.read() == b""
        return Response(200, b"|".join(parts))

    client = await connect(Server(on_request))
    await client.send(post(b"abcdefg"))
    assert (await client.reply()).content == b"abc|defg"
    await client.send(get(method="POST", fields=CHUNKED), chunked(b"abcde", b"fg"))
    assert (await client.reply()).content == b"abc|defg"


async def test_a_body_follows_the_rules_of_a_receive_stream(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        for size in (0, -1):
            with pytest.raises(ValueError, match="max_bytes"):
                await request.body.receive_some(size)
        with pytest.raises(TypeError):
            await request.body.receive_some(1.5)  # type: ignore[arg-type]
        with trio.testing.assert_checkpoints():
            assert await request.body.receive_some(1) == b"a"
        with trio.testing.assert_checkpoints():
            await request.body.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await request.body.receive_some()
        return Response(200)

    client = await connect(Server(on_request))
    await client.send(post(b"abc") + post(b"abc"))
    assert [(await client.reply()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("fields", [b"", CHUNKED])
async def test_read_has_a_limit(connect: Connect, fields: bytes, logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, await request.body.read(limit=5))

    client = await connect(Server(on_request))
    for body in (b"12345", b"123456"):
        await client.send(get(method="POST", fields=fields) + chunked(body) if fields else post(body))
        reply = await client.reply()
        assert (reply.status, reply.closes) == ((200, False) if body == b"12345" else (413, True))
    assert await client.rest() == b""
    assert logged() == ["DEBUG BodyTooLarge"]


async def test_a_body_over_a_reads_limit_can_be_answered_by_the_handler(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        with pytest.raises(BodyTooLarge):
            await request.body.read(limit=5)
        return Response(200, "too much for me")

    client = await connect(Server(on_request))
    await client.send(post(b"123456") + post(b"123456"))
    for _ in range(2):
        reply = await client.reply()
        assert (reply.content, reply.closes) == (b"too much for me", False)


async def test_a_handler_that_raises_is_answered_with_500(connect: Connect, logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        raise LookupError("secret")

    client = await connect(Server(on_request))
    await client.send(get() + get())
    reply = await client.reply()
    assert (reply.status, reply.content, reply.closes) == (500, b"Internal Server Error\n", True)
    assert await client.rest() == b""
    assert logged() == ["ERROR LookupError"]


async def test_a_handler_that_returns_no_response_is_answered_with_500(connect: Connect, logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        return None  # type: ignore[return-value]

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR TypeError"]


# ---- a body that the handler left unread


@pytest.mark.parametrize("fields", [b"", CHUNKED])
@pytest.mark.parametrize("size", [10, 1000])
async def test_an_unread_body_is_drained_up_to_a_bound_and_closed_past_it(
    connect: Connect, fields: bytes, size: int
) -> None:
    client = await connect(Server(okay, limits=Limits(max_drain=100)))
    body = b"x" * size
    await client.send((get(method="POST", fields=fields) + chunked(body) if fields else post(body)) + get("/next"))
    reply = await client.reply()
    assert reply.content == b"okay /\n"
    assert reply.closes == (size > 100)
    if size <= 100:
        assert (await client.reply()).content == b"okay /next\n"
    else:
        assert await client.rest() == b""


async def test_an_unread_body_that_comes_later_is_drained(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(post(b"12345")[:-5])
    assert (await client.reply()).status == 200
    await client.send(b"123", b"45" + get("/next"))
    assert (await client.reply()).content == b"okay /next\n"


async def test_an_unread_body_that_breaks_closes(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(method="POST", fields=CHUNKED) + b"nonsense\r\n" + get("/next"))
    assert (await client.reply()).status == 200
    assert await client.rest() == b""


@pytest.mark.parametrize("broken", [b"nonsense\r\n", b"5\r\nab"])
async def test_a_body_that_breaks_while_the_handler_reads_is_answered_with_400(
    connect: Connect, broken: bytes, logged: Logged
) -> None:
    client = await connect(Server(read))
    await client.send(get(method="POST", fields=CHUNKED) + broken)
    await client.send_eof()
    reply = await client.reply()
    assert (reply.status, reply.closes) == (400, True)
    assert logged() == ["DEBUG ProtocolError"]


async def test_a_handler_may_answer_a_broken_body_itself(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        with pytest.raises(ProtocolError):
            await request.body.read()
        return Response(422)

    client = await connect(Server(on_request))
    await client.send(get(method="POST", fields=CHUNKED) + b"nonsense\r\n" + get())
    reply = await client.reply()
    assert (reply.status, reply.closes) == (422, True)
    assert await client.rest() == b""


# ---- responses


async def test_a_response_has_a_date_a_length_and_a_reason(connect: Connect) -> None:
    client = await connect(answering(Response(200, b"\0\1", {"X-Mine": "yes"})))
    await client.send(get())
    await client.send_eof()
    received = await client.rest()
    head, _, content = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:3] == [b"HTTP/1.1 200 OK", b"X-Mine: yes", b"Content-Length: 2"]
    assert re.fullmatch(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", lines[3])
    assert parsedate_to_datetime(lines[3][6:].decode()).tzinfo is not None
    assert content == b"\0\1"


async def test_a_handlers_own_date_is_kept(connect: Connect) -> None:
    client = await connect(answering(Response(200, headers={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"})))
    await client.send(get())
    assert (await client.reply()).headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_head_gets_the_head_of_a_get(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(method="HEAD") + get("/next"))
    reply = await client.reply("HEAD")
    assert (reply.status, reply.headers["content-length"], reply.content) == (200, "7", b"")
    assert (await client.reply()).content == b"okay /next\n"


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_content_sends_none(connect: Connect, status: int) -> None:
    client = await connect(answering(Response(status, "not sent")))
    await client.send(get() + get())
    for _ in range(2):
        reply = await client.reply()
        assert (reply.status, reply.content, reply.closes) == (status, b"", False)
        assert "transfer-encoding" not in reply.headers
        assert reply.headers.get("content-length") == ("0" if status == 205 else None)


async def test_304_and_head_may_tell_the_length_of_what_is_not_sent(connect: Connect) -> None:
    client = await connect(answering(Response(304, headers={"Content-Length": "1000"})))
    await client.send(get() + get())
    for _ in range(2):
        assert (await client.reply()).headers["content-length"] == "1000"
    client = await connect(answering(Response(200, headers={"Content-Length": "1000"})))
    await client.send(get(method="HEAD") + get(method="HEAD"))
    for _ in range(2):
        assert (await client.reply("HEAD")).headers["content-length"] == "1000"


async def test_a_length_that_promises_more_than_there_is_never_leaves(connect: Connect, logged: Logged) -> None:
    client = await connect(answering(Response(200, headers={"Content-Length": "1000"})))
    await client.send(get())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR RuntimeError"]


@pytest.mark.parametrize("status", [100, 101, 199, 1000, 0, -200])
def test_a_status_that_no_response_has_is_an_error(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(status)


@pytest.mark.parametrize(
    "headers",
    [
        [("X-A", "b\r\nSet-Cookie: c")],
        [("X-A", "b\n")],
        [("X-A", "\0")],
        [("X-A", "\x1b[2J")],
        [("X-A", "b\rc")],
        [("X-A", "b\r\n c")],
        [("X-A", " b")],
        [("X-A", "b\t")],
        [("X-A\r\nX-B", "c")],
        [("X-A:", "c")],
        [("", "c")],
        [("Transfer-Encoding", "chunked")],
        [("Content-Length", "-1")],
        [("Content-Length", "7")],
        [("Content-Length", "5"), ("Content-Length", "5")],
        {"Content-Type": "a/b", "content-type": "c/d", "X-\u20ac": "e"},
    ],
)
def test_headers_that_cannot_be_sent_are_an_error(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Response(200, b"hello", headers)


def test_content_types() -> None:
    def type_of(response: Response) -> str | None:
        assert set(response.headers) <= {"content-type"}
        return response.headers.get("Content-Type")

    assert type_of(Response(200, "é")) == "text/plain; charset=utf-8"
    assert type_of(Response(200, "<p>", content_type="text/html")) == "text/html; charset=utf-8"
    assert type_of(Response(200, "p", content_type="text/css; Charset=x")) == "text/css; Charset=x"
    assert type_of(Response(200, "{}", content_type="application/json")) == "application/json"
    assert type_of(Response(200, b"<p>", content_type="text/html")) == "text/html"
    assert type_of(Response(200, "<p>", {"content-type": "text/html"})) == "text/html"
    assert type_of(Response(200, b"x")) is None
    assert Response(200, b"x", [(b"X-Raw", b"caf\xe9")]).headers.raw == ((b"X-Raw", b"caf\xe9"),)
    cookies = Response(200, b"x", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]).headers
    assert cookies.get_list("set-cookie") == ["a=1", "b=2"]
    with pytest.raises(ValueError, match="twice"):
        Response(200, "<p>", {"content-type": "text/html"}, content_type="text/html")
    with pytest.raises(TypeError, match="content is bytes"):
        Response(200, 5)  # type: ignore[arg-type]
    assert repr(Response(204)) == "<Response 204>"


async def test_a_response_can_be_returned_again_and_again(connect: Connect) -> None:
    client = await connect(answering(Response(200, "same")))
    for _ in range(3):
        await client.send(get())
        assert (await client.reply()).content == b"same"


# ---- streamed responses


async def count(to: int) -> AsyncIterator[bytes]:
    for number in range(to):
        await trio.lowlevel.checkpoint()
        yield b"%d," % number


@trio.as_safe_channel
async def count_safely(to: int) -> AsyncGenerator[bytes, None]:
    for number in range(to):
        await trio.lowlevel.checkpoint()
        yield b"%d," % number


@pytest.mark.parametrize("make", [count, count_safely])
async def test_streamed_content_is_chunked_and_the_connection_kept(
    connect: Connect, make: Callable[[int], AsyncIterator[bytes]]
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, make(3), content_type="text/plain")

    client = await connect(Server(on_request))
    await client.send(get() + get())
    for _ in range(2):
        reply = await client.reply()
        assert (reply.headers["transfer-encoding"], reply.content, reply.closes) == ("chunked", b"0,1,2,", False)
        assert "content-length" not in reply.headers


async def test_streamed_content_with_a_length_is_not_chunked(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, count(3), {"Content-Length": "6"})

    client = await connect(Server(on_request))
    await client.send(get() + get())
    for _ in range(2):
        reply = await client.reply()
        assert (reply.headers["content-length"], reply.content) == ("6", b"0,1,2,")
        assert "transfer-encoding" not in reply.headers


async def test_streamed_content_to_http_1_0_ends_with_the_connection(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, count(3))

    client = await connect(Server(on_request))
    await client.send(get(version="1.0"))
    received = await client.rest()
    assert b"ransfer-" not in received
    assert received.endswith(b"Connection: close\r\n\r\n0,1,2,")


async def test_streamed_content_is_never_entered_for_head(connect: Connect) -> None:
    entered: list[str] = []

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            entered.append("iterated")
            return count(1)

        async def aclose(self) -> None:
            entered.append("closed")

    async def on_request(request: Request) -> Response:
        return Response(200, Content() if request.path == "/" else count_safely(3))

    client = await connect(Server(on_request))
    await client.send(get(method="HEAD"))
    assert (await client.reply("HEAD")).headers["transfer-encoding"] == "chunked"
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["closed"]
    await client.send(get("/safe", method="HEAD") + get())
    assert (await client.reply("HEAD")).headers["transfer-encoding"] == "chunked"
    assert (await client.reply()).content == b"0,"
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["closed", "iterated", "closed"]


async def fail_midway() -> AsyncIterator[bytes]:
    yield b"the first part"
    raise LookupError("the second part is gone")


async def too_much() -> AsyncIterator[bytes]:
    yield b"the first part, "
    yield b"and a second"


async def a_str() -> AsyncIterator[bytes]:
    yield b"the first part"
    yield "text"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "length", "error"),
    [
        (fail_midway, None, "LookupError"),
        (a_str, None, "TypeError"),
        (too_much, "20", "RuntimeError"),
        (too_much, "40", "RuntimeError"),
    ],
)
async def test_content_that_fails_midway_is_logged_and_cut_off(
    connect: Connect, content: Callable[[], AsyncIterator[bytes]], length: str | None, error: str, logged: Logged
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, content(), {"Content-Length": length} if length else {})

    client = await connect(Server(on_request))
    await client.send(get() + get())
    received = await client.rest()
    assert b"the first part" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert logged() == [f"ERROR {error}"]


async def test_a_client_that_stops_reading_stops_the_producer_and_memory_stays_flat(connect_tcp: Connect) -> None:
    made = 0
    stopped = trio.Event()

    async def produce() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield bytes(2**16)
        finally:
            stopped.set()

    async def on_request(request: Request) -> Response:
        return Response(200, produce())

    client = await connect_tcp(Server(on_request))
    await client.send(get())
    tracemalloc.start()
    try:
        await trio.testing.wait_all_tasks_blocked(0.05)  # the kernel's buffers fill
        before, stalled_at = tracemalloc.get_traced_memory()[0], made
        assert stalled_at < 200
        for _ in range(50):
            await client.exactly(2**16)  # what is read is made again, and no more
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert made < stalled_at + 150
        assert tracemalloc.get_traced_memory()[0] - before < 2**20
    finally:
        tracemalloc.stop()
    await client.aclose()
    await stopped.wait()


@pytest.mark.parametrize("safe", [False, True])
async def test_content_is_closed_when_the_client_is_gone(connect: Connect, safe: bool) -> None:
    closed = trio.Event()

    async def produce() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                await trio.lowlevel.checkpoint()
                yield bytes(2**16)
        finally:
            closed.set()

    async def on_request(request: Request) -> Response:
        return Response(200, trio.as_safe_channel(produce)() if safe else produce())

    client = await connect(Server(on_request))
    await client.send(get())
    await client.exactly(2**17)
    await client.aclose()
    await closed.wait()


async def test_content_is_closed_if_even_the_head_cannot_be_sent(connect_memory: Connect) -> None:
    closed = trio.Event()

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            return b"x"

        async def aclose(self) -> None:
            closed.set()

    client = await connect_memory(answering(Response(200, Content())))
    await client.send(get())
    await client.aclose()
    await closed.wait()


async def test_the_body_can_be_read_while_the_response_is_sent(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        async def upper() -> AsyncIterator[bytes]:
            async for part in request.body:
                yield bytes(part).upper()

        return Response(200, upper())

    client = await connect(Server(on_request))
    await client.send(get(method="POST", fields=CHUNKED), b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n" + get())
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"ABCDEF", True)  # it began before the end of the body was in sight
    assert await client.rest() == b""
    client = await connect(Server(on_request))
    await client.send(post(b"abcdef")[:-3], b"def" + get())
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"ABCDEF", False)
    assert (await client.reply()).content == b""


async def test_serving_over_tls(connect_tls: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, f"{request.scheme} {request.client} {request.transport.version()}")

    client = await connect_tls(Server(on_request))
    for _ in range(2):
        await client.send(get())
        assert (await client.reply()).content == b"https 127.0.0.1 TLSv1.3"


# ---- bodies and other tasks


async def test_a_body_ends_with_its_exchange(connect: Connect) -> None:
    """Kept for later, it gives nothing of the next request's."""
    kept: list[Body] = []

    async def on_request(request: Request) -> Response:
        kept.append(request.body)
        if len(kept) == 2:
            with pytest.raises(trio.ClosedResourceError):
                await kept[0].receive_some()
            return Response(200, await request.body.read())
        return Response(200, b"first")

    client = await connect(Server(on_request))
    await client.send(post(b"one") + post(b"secret"))
    assert [(await client.reply()).content for _ in range(2)] == [b"first", b"secret"]


async def test_a_body_that_another_task_still_reads_closes_the_connection(connect: Connect) -> None:
    ended = trio.Event()

    async def read_on(body: Body) -> None:
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await body.read()
        ended.set()

    async def on_request(request: Request) -> Response:
        request.server.nursery.start_soon(read_on, request.body)
        await trio.testing.wait_all_tasks_blocked()
        return Response(200, "too early")

    client = await connect(Server(on_request))
    await client.send(post(b"12345")[:-1])
    assert (await client.reply()).content == b"too early"
    assert await client.rest() == b""
    await client.aclose()
    await ended.wait()


async def test_a_body_that_came_in_time_can_be_read_late(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        await trio.sleep(400)
        return Response(200, await request.body.read())

    client = await connect(Server(on_request))
    await client.send(post(b"12345")[:-5])
    await client.send(b"12345")
    assert (await client.reply()).content == b"12345"


async def test_a_body_may_take_only_so_long_in_all(
    connect: Connect, autojump_clock: trio.testing.MockClock, logged: Logged
) -> None:
    """Bytes that trickle in do not extend the time; only the time in which the server waits for them counts."""
    received = 0

    async def on_request(request: Request) -> Response:
        nonlocal received
        while True:
            received += len(await request.body.receive_some())
            await trio.sleep(40)

    client = await connect(Server(on_request, limits=Limits(request_timeout=140)))
    await client.send(post(b"x" * 1000)[:-1000])
    for _ in range(9):
        await trio.sleep(50)  # the server waits for 50 seconds, then for 10 each time
        await client.send(b"x")
    await trio.sleep(51)
    with trio.fail_after(1):
        assert (await client.reply()).status == 408
    assert received == 9
    assert logged() == ["DEBUG ProtocolError"]


async def test_the_time_that_a_handler_takes_between_reads_is_not_the_clients(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    arrived, expected = trio.open_memory_channel[None](0)

    async def on_request(request: Request) -> Response:
        received = 0
        async for _ in expected:
            received += len(await request.body.receive_some())
        return Response(200, f"{received}")

    client = await connect(Server(on_request))
    await client.send(post(b"x" * 100)[:-100])
    await trio.sleep(301)
    for _ in range(100):  # a byte is always there when the handler reads
        await client.send(b"x")
        await arrived.send(None)
    await arrived.aclose()
    assert (await client.reply()).content == b"100"


async def test_content_that_trips_over_a_broken_body_is_the_handlers_failure(connect: Connect, logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield b"before"
            await request.body.read()

        return Response(200, content())

    client = await connect(Server(on_request))
    await client.send(get(method="POST", fields=CHUNKED) + b"nonsense\r\n")
    assert (await client.rest()).endswith(b"6\r\nbefore\r\n")
    assert logged() == ["DEBUG ProtocolError"]


async def test_a_client_that_is_gone_is_no_failure_of_the_content(connect: Connect, logged: Logged) -> None:
    """Not even where the content comes out of a nursery, and the failure in a group."""

    class Content:
        async def __aenter__(self) -> AsyncIterator[bytes]:
            self.nursery = trio.open_nursery()
            await self.nursery.__aenter__()
            return self.items()

        async def items(self) -> AsyncIterator[bytes]:
            while True:
                await trio.lowlevel.checkpoint()
                yield bytes(2**16)

        async def __aexit__(self, *exc_info: Any) -> bool | None:
            ended.set()
            return await self.nursery.__aexit__(*exc_info)

    async def on_request(request: Request) -> Response:
        return Response(200, Content())

    ended = trio.Event()
    client = await connect(Server(on_request))
    await client.send(get())
    await client.exactly(2**17)
    await client.aclose()
    await ended.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["DEBUG"]


def test_a_response_cannot_be_changed() -> None:
    response = Response(200, "hello")
    for name in ("status", "content", "headers"):
        with pytest.raises(AttributeError):
            setattr(response, name, None)
    assert (response.status, response.content) == (200, "hello")


async def test_a_response_that_closes_is_not_destroyed_by_what_the_client_still_sends(connect_tcp: Connect) -> None:
    client = await connect_tcp(answering(Response(200, bytes(500_000), {"Connection": "close"})))
    await client.send(get())
    received = 0
    while received < 500_000:
        await client.send(b"x" * 100)
        received += len(await client.exactly(10_000))
    assert b"HTTP" not in await client.rest()


async def test_a_declined_upgrade_is_kept_as_long_as_any_connection(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def decline(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403)

    client = await connect(Server(on_upgrade=decline, limits=Limits(keep_alive_timeout=7)))
    await client.send(upgrade())
    assert (await client.reply()).status == 403
    start = trio.current_time()
    assert await client.rest() == b""
    assert 7 <= trio.current_time() - start <= 7.1
