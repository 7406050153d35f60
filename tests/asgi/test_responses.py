"""What an application sends, and what its client gets."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing

from trio_upgrade import asgi

from ..support.applications import http, respond
from ..support.client import Connect, chunked, get, post, post_head

Logged: TypeAlias = Callable[[], list[str]]


def start(status: int = 200, *fields: tuple[bytes, bytes], **more: object) -> asgi.Message:
    return {"type": "http.response.start", "status": status, "headers": fields, **more}


def piece(content: bytes, more: bool = True) -> asgi.Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sends(*messages: asgi.Message) -> asgi.ASGIApplication:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        for message in messages:
            await send(message)

    return http(endpoint)


async def test_a_response_in_one_message_has_a_length(connect: Connect) -> None:
    async with asgi.server(sends(start(201, (b"x-a", b"b")), piece(b"hello", False))) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.status, reply.content) == (201, b"hello")
        assert reply.headers["content-length"] == "5"
        assert reply.headers["x-a"] == "b"
        assert not reply.closes


async def test_a_connection_is_kept_for_the_next_request(connect: Connect) -> None:
    async with asgi.server(sends(start(), piece(b"hello", False))) as server:
        client = await connect(server)
        for _ in range(3):
            await client.send(get())
            assert (await client.reply()).content == b"hello"
        await client.send(get(), get())
        assert (await client.reply()).content == (await client.reply()).content == b"hello"


async def test_a_response_in_pieces_is_chunked(connect: Connect) -> None:
    async with asgi.server(sends(start(), piece(b"one"), piece(b""), piece(b"two"), piece(b"", False))) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert reply.content == b"onetwo"
        assert reply.headers["transfer-encoding"] == "chunked"


async def test_a_response_in_pieces_with_a_length_is_not_chunked(connect: Connect) -> None:
    async with asgi.server(sends(start(200, (b"Content-Length", b"6")), piece(b"one"), piece(b"two", False))) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.content, reply.headers["content-length"]) == (b"onetwo", "6")


async def test_an_empty_first_piece_sends_the_head(connect: Connect) -> None:
    go = trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start())
        await send(piece(b""))
        await go.wait()
        await send(piece(b"late", False))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get(version="1.0"))
        assert await client.line() == b"HTTP/1.1 200 OK"
        go.set()
        assert (await client.rest()).endswith(b"\r\n\r\nlate")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
@pytest.mark.parametrize("pieces", [[b"content"], [b"con", b"tent"]])
async def test_a_response_without_content_leaves_it_out(
    connect: Connect, method: str, status: int, pieces: list[bytes]
) -> None:
    messages = [piece(content, content is not pieces[-1]) for content in pieces]
    async with asgi.server(sends(start(status), *messages)) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get(method=method))
            reply = await client.reply(method)
            assert (reply.status, reply.content) == (status, b"")


@pytest.mark.parametrize(("method", "status", "content"), [("HEAD", 200, b"x"), ("GET", 204, b"x"), ("GET", 200, b"")])
async def test_content_without_an_end_of_which_nothing_is_sent_lets_others_run(
    connect: Connect, method: str, status: int, content: bytes
) -> None:
    is_over = False

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start(status))
        for _ in range(100_000):
            if is_over:
                return await send(piece(b"", more=False))
            await send(piece(content))
        raise AssertionError("nobody else has had a turn")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get(method=method))
        await client.head(status)
        is_over = True


async def test_the_server_alone_decides_on_the_transfer_encoding(connect: Connect) -> None:
    async with asgi.server(sends(start(200, (b"Transfer-Encoding", b"gzip")), piece(b"hello", False))) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert "transfer-encoding" not in reply.headers
        assert reply.content == b"hello"


async def test_an_application_may_close_the_connection(connect: Connect) -> None:
    async with asgi.server(sends(start(200, (b"connection", b"close")), piece(b"", False))) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).closes
        await client.end()


async def test_trailers_follow_the_content(connect: Connect) -> None:
    trailers: list[asgi.Message] = [
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"x-end", b"2")]},
    ]
    async with asgi.server(sends(start(trailers=True), piece(b"content", False), *trailers)) as server:
        client = await connect(server)
        await client.send(get())
        await client.head(200)
        assert await client.exactly(33) == b"7\r\ncontent\r\n0\r\nx-sum: 1\r\nx-end: 2"
        await client.exactly(4)
        await client.send(get(version="1.0"))
        assert (await client.rest()).endswith(b"\r\n\r\ncontent")


async def test_a_field_that_belongs_in_the_head_is_no_trailer(connect: Connect) -> None:
    seen: list[Exception] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start(trailers=True))
        await send(piece(b"content", False))
        try:
            await send({"type": "http.response.trailers", "headers": [(b"set-cookie", b"a=b")]})
        except ValueError as exc:
            seen.append(exc)
        await send({"type": "http.response.trailers", "headers": []})

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"content"
    assert "set-cookie belongs in the head" in str(seen[0])


async def test_early_hints_come_before_the_response(connect: Connect) -> None:
    hints: asgi.Message = {
        "type": "http.response.early_hint",
        "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"],
    }
    async with asgi.server(sends(hints, start(), hints, piece(b"hello", False))) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.interim, reply.content) == ([103, 103], b"hello")


async def test_a_file_is_sent_by_its_path(connect: Connect, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))
    async with asgi.server(sends(start(), {"type": "http.response.pathsend", "path": str(path)})) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.content, reply.headers["content-length"]) == (bytes(300_000), "300000")
        await client.send(get(method="HEAD"))
        assert (await client.reply("HEAD")).headers["content-length"] == "300000"


async def test_a_missing_file_is_the_applications_error(connect: Connect) -> None:
    seen: list[Exception] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start())
        try:
            await send({"type": "http.response.pathsend", "path": "/no/such/file"})
        except FileNotFoundError as exc:
            seen.append(exc)
        await send(piece(b"instead", False))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"instead"
    assert seen


# ---- mistakes


async def test_a_message_out_of_order_names_what_was_expected(connect: Connect) -> None:
    seen: list[str] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        wrong = [piece(b""), start(), start(), {"type": "websocket.accept"}, piece(b"hello", False), piece(b"more")]
        for message in wrong:
            try:
                await send(message)
            except RuntimeError as exc:
                seen.append(str(exc))

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"hello"
        await client.send(get())
        assert (await client.reply()).content == b"hello"
    assert seen[:4] == [
        "the application has sent 'http.response.body', but expected is http.response.start",
        "the application has sent 'http.response.start', but expected is http.response.body",
        "the application has sent 'websocket.accept', but expected is http.response.body",
        "the application has sent 'http.response.body', but expected is nothing more: the response is complete",
    ]


@pytest.mark.parametrize("body", [b"long", b"longer than it"])
async def test_content_of_another_length_is_the_applications_error(
    connect: Connect, body: bytes, logged: Logged
) -> None:
    async with asgi.server(sends(start(200, (b"content-length", b"6")), piece(body, False))) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 500
    assert "ERROR RuntimeError" in logged()


@pytest.mark.parametrize("field", [(b"x a", b""), (b"x", b"a\r\nb"), ("x", 1)])
async def test_an_invalid_field_is_the_applications_error(
    connect: Connect, field: tuple[bytes, bytes], logged: Logged
) -> None:
    async with asgi.server(sends(start(200, field), piece(b"", False))) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 500
    assert [entry for entry in logged() if entry.startswith("ERROR")]


# ---- exceptions


async def test_an_exception_before_the_response_is_a_500(connect: Connect, logged: Logged) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start())
        raise KeyError("oops")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        reply = await client.reply()
        assert (reply.status, reply.closes) == (500, True)
        await client.end()
    assert logged().count("ERROR KeyError") == 1


@pytest.mark.parametrize("messages", [[], [start()]])
async def test_an_application_that_does_not_answer_is_a_500(
    connect: Connect, messages: list[asgi.Message], logged: Logged
) -> None:
    async with asgi.server(sends(*messages)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 500
    assert "ERROR RuntimeError" in logged()


@pytest.mark.parametrize("raises", [True, False])
async def test_a_response_that_is_not_completed_is_cut_off(connect: Connect, raises: bool, logged: Logged) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start())
        await send(piece(b"one"))
        if raises:
            raise KeyError("oops")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        await client.head(200)
        assert await client.rest() == chunked(b"one")[: -len(b"0\r\n\r\n")]
    assert ("ERROR KeyError" if raises else "ERROR RuntimeError") in logged()


async def test_an_unframed_response_that_is_not_completed_is_reset(connect_tcp: Connect, logged: Logged) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send(start())
        await send(piece(b"one"))
        raise KeyError("oops")

    async with asgi.server(http(endpoint)) as server:
        client = await connect_tcp(server)
        await client.send(get(version="1.0"))
        with pytest.raises(trio.BrokenResourceError):
            await client.rest()
    assert "ERROR KeyError" in logged()


async def test_an_exception_after_the_response_is_logged(connect: Connect, logged: Logged) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, b"hello")
        raise KeyError("oops")

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get())
            assert (await client.reply()).content == b"hello"
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handler_errors == 2
    assert logged().count("ERROR KeyError") == 2


class Weird(BaseException):
    """Neither an `Exception` nor one that ends a program."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
async def test_nothing_that_an_application_raises_ends_the_server(
    connect: Connect, after: bool, grouped: bool, logged: Logged
) -> None:
    served = False

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if after or scope["path"] == "/":
            await respond(send, b"hello")
        if scope["path"] == "/":
            return
        with trio.CancelScope() as scope_of_its_own:
            scope_of_its_own.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                cancelled = exc
                raise
        raise BaseExceptionGroup("mixed", [Weird(), cancelled]) if grouped else Weird()

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/weird"))
        assert (await client.reply()).status == (200 if after else 500)
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).content == b"hello"
        served = True
    assert served  # if the block had been cancelled, nobody would notice
    assert [entry for entry in logged() if entry.startswith("ERROR")]


async def test_an_application_for_asyncio_is_told_in_one_line(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        import asyncio

        await asyncio.sleep(1)

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get())
        assert (await client.reply()).status == 500
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.exc_info is not None
    assert "needs asyncio" in str(error.exc_info[1])
    assert error.exc_info[2] is None
    assert [record for record in caplog.records if record.exc_info and record.exc_info[2]]  # where, at DEBUG
    caplog.clear()


# ---- after the response


async def test_background_work_does_not_delay_the_next_request(connect: Connect) -> None:
    go, done = trio.Event(), trio.Event()

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send, scope["path"].encode())
        if scope["path"] == "/background":
            await go.wait()
            done.set()

    async with asgi.server(http(endpoint)) as server:
        client = await connect(server)
        await client.send(get("/background"))
        assert (await client.reply()).content == b"/background"
        await client.send(get("/next"))
        assert (await client.reply()).content == b"/next"
        await client.aclose()
        assert not done.is_set()
        go.set()
        await done.wait()


async def test_background_work_has_its_time_at_the_end(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    finished: list[float] = []

    async def endpoint(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await respond(send)
        try:
            await trio.sleep(float(scope["path"][1:]))
        finally:
            finished.append(trio.current_time() - begin)

    async with asgi.server(http(endpoint), background_timeout=5) as server:
        client = await connect(server)
        for seconds in (3, 30):
            await client.send(get(f"/{seconds}"))
            await client.reply()
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
    assert finished == pytest.approx([3, 5])


async def test_an_unread_body_is_discarded(connect: Connect) -> None:
    async with asgi.server(sends(start(), piece(b"hello", False))) as server:
        client = await connect(server)
        await client.send(post(bytes(1000)), get())
        assert (await client.reply()).content == (await client.reply()).content == b"hello"


async def test_a_rejected_upload_closes_the_connection(connect: Connect) -> None:
    async with asgi.server(sends(start(413), piece(b"no", False))) as server:
        client = await connect(server)
        await client.send(post_head(2**40, b"Expect: 100-continue\r\n"))
        reply = await client.reply()
        assert (reply.status, reply.interim, reply.closes) == (413, [], True)
