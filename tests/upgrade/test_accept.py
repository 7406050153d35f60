"""Accepting, declining, forgetting to; and the 100 (Continue) in front of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Connect, chunked, get, okay, post, upgrade

EXPECT = b"Expect: 100-continue\r\n"
LENGTH = b"Content-Length: 5\r\n"

Logged = Callable[[], list[str]]


def running(handler: Callable[[Request, trio.abc.Stream], Awaitable[Response | None]]) -> Server:
    return Server(okay, on_upgrade=handler)


# ---- the 101


async def test_accept_sends_the_101_with_the_first_protocol_offered(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    client = await connect(running(handler))
    await client.send(get(fields=b"Connection: Upgrade\r\nUpgrade: First/1.0, second\r\n"))
    await client.send_eof()
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: First/1.0\r\n\r\n"
    assert await client.rest() == head


async def test_accept_takes_an_offered_protocol_in_any_case_and_fields(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept("SECOND", {"X-Token": "a b", "X-Empty": ""})

    client = await connect(running(handler))
    await client.send(get(fields=b"Connection: Upgrade\r\nUpgrade: first, second\r\n"))
    reply = await client.reply()
    assert reply.headers == {"connection": "Upgrade", "upgrade": "second", "x-token": "a b", "x-empty": ""}


async def test_accept_refuses_a_protocol_that_was_not_offered(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with pytest.raises(ValueError, match="does not offer 'other', only echo"):
            await request.accept("other")
        await request.accept("echo")

    client = await connect(running(handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Bad", "a\r\nSet-Cookie: b=c")],
        [("X-Bad", "a\nb")],
        [("X-Bad", "a\0b")],
        [("X Bad", "a")],
        [("Connection", "close")],
        [("Upgrade", "other")],
        [("Content-Length", "5")],
        [("Transfer-Encoding", "chunked")],
        [("X-Bad", "\u20ac")],
    ],
)
async def test_accept_refuses_fields_that_cannot_be_sent(connect: Connect, headers: list[tuple[str, str]]) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with pytest.raises(ValueError, match=r"."):
            await request.accept(headers=headers)
        await request.accept()

    client = await connect(running(handler))
    await client.send(upgrade())
    reply = await client.reply()
    assert (reply.status, reply.headers) == (101, {"connection": "Upgrade", "upgrade": "echo"})


async def test_accepting_twice_is_an_error(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        with pytest.raises(RuntimeError, match="already sent"):
            await request.accept()
        await stream.send_all(b"one 101")

    client = await connect(running(handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await client.send_eof()
    assert await client.rest() == b"one 101"


async def test_accepting_in_a_request_handler_is_an_error(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        with pytest.raises(RuntimeError, match="on_upgrade or on_connect"):
            await request.accept()
        return Response(200)

    client = await connect(Server(on_request))
    await client.send(upgrade())
    assert (await client.reply()).status == 200


async def test_a_handler_may_write_its_own_101(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 101 Mine\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        await stream.send_all(await stream.receive_some(5))
        with pytest.raises(RuntimeError, match="already sent"):
            await request.accept()

    client = await connect(running(handler))
    await client.send(upgrade(after=b"hello"))
    assert (await client.reply()).status == 101
    assert await client.exactly(5) == b"hello"


async def test_a_head_may_be_written_in_pieces(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"")
        await stream.send_all(bytearray(b"HTT"))
        await stream.send_all(memoryview(b"P/1.1 101 \r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"))

    client = await connect(running(handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101


async def test_a_forgotten_accept_is_an_error_that_names_it(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with pytest.raises(RuntimeError, match=r"await request\.accept\(\)"):
            await stream.send_all(b"welcome")
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        with pytest.raises(RuntimeError, match=r"await request\.accept\(\)"):
            await stream.send_eof()
        if hasattr(stream, "send_nowait"):
            with pytest.raises(RuntimeError, match=r"await request\.accept\(\)"):
                stream.send_nowait(b"welcome")
        await stream.send_all(b"welcome")

    client = await connect(running(handler))
    await client.send(upgrade())
    reply = await client.reply()
    assert (reply.status, reply.closes) == (500, True)
    assert logged() == ["ERROR RuntimeError"]


# ---- declining


async def test_a_handler_declines_and_the_connection_goes_on(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403, "not you\n")

    client = await connect(running(handler))
    for fields, after in [(b"", b""), (LENGTH, b"12345"), (b"Transfer-Encoding: chunked\r\n", chunked(b"12345"))]:
        await client.send(upgrade(fields, after) + get("/next"))
        reply = await client.reply()
        assert (reply.status, reply.content, reply.closes) == (403, b"not you\n", False)
        assert (await client.reply()).content == b"okay /next\n"


async def test_a_handler_declines_with_the_request_handler(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return await okay(request)

    client = await connect(running(handler))
    await client.send(upgrade(target="/page"))
    assert (await client.reply()).content == b"okay /page\n"


async def test_a_handler_declines_with_the_body_it_read(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(200, await request.body.read())

    client = await connect(running(handler))
    await client.send(upgrade(LENGTH, b"12345") + get())
    assert (await client.reply()).content == b"12345"
    assert (await client.reply()).content == b"okay /\n"


async def test_declining_after_the_stream_was_read_closes(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        assert await stream.receive_some(4) == b"GET "
        return Response(403)

    client = await connect(running(handler))
    await client.send(upgrade(after=get()))
    reply = await client.reply()
    assert (reply.status, reply.closes) == (403, True)
    assert await client.rest() == b""


async def test_a_response_after_the_101_is_an_error(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        await request.accept()
        return Response(403)

    client = await connect(running(handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    assert await client.rest() == b""
    assert logged() == ["ERROR RuntimeError"]


async def test_a_handler_that_returns_something_else_is_answered_with_500(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return "no"  # type: ignore[return-value]

    client = await connect(running(handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR TypeError"]


async def test_a_handler_that_returns_having_sent_nothing_is_closed_with_a_warning(
    connect: Connect, logged: Logged
) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        pass

    client = await connect(running(handler))
    await client.send(upgrade())
    await client.send_eof()
    assert await client.rest() == b""
    assert logged() == ["WARNING"]


async def test_a_handler_that_closes_the_stream_unused_is_not_warned_about(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    client = await connect(running(handler))
    await client.send(upgrade())
    await client.send_eof()
    assert await client.rest() == b""
    assert logged() == []


# ---- 100 (Continue): once, before anything else, while the client waits


async def wait_for_continue(connect: Connect, server: Server, method: str = "upgrade") -> tuple[list[int], int, bytes]:
    """Act as a client that holds its five bytes back until it sees a 100."""
    client = await connect(server)
    await client.send(upgrade(LENGTH + EXPECT) if method == "upgrade" else post(b"12345", EXPECT)[:-5])
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"12345" + b"stream")
    await client.send_eof()
    reply = await client.reply()
    return reply.interim, reply.status, reply.content or await client.rest()


async def test_reading_the_body_sends_the_100(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        body = await request.body.read()
        await request.accept()
        await stream.send_all(body + await stream.receive_some())

    assert await wait_for_continue(connect, running(handler)) == ([], 101, b"12345stream")


async def test_reading_the_stream_sends_the_100(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        data = await stream.receive_some()
        await request.accept()
        await stream.send_all(data)

    assert await wait_for_continue(connect, running(handler)) == ([], 101, b"stream")


async def test_accepting_sends_the_100_and_then_the_101(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all(await request.body.read() + await stream.receive_some())

    assert await wait_for_continue(connect, running(handler)) == ([], 101, b"12345stream")


async def test_writing_ones_own_101_sends_the_100_first(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 101 Mine\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        await stream.send_all(await stream.receive_some())

    assert await wait_for_continue(connect, running(handler)) == ([], 101, b"stream")


async def test_an_ordinary_handler_that_reads_the_body_sends_the_100(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, await request.body.read() + await request.body.read())

    assert await wait_for_continue(connect, Server(on_request), "post") == ([], 200, b"12345")


async def test_the_100_precedes_the_101_of_a_request_without_a_body(connect: Connect) -> None:
    """RFC 9110 section 7.8 asks for it whatever the body."""

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    client = await connect(running(handler))
    await client.send(upgrade(EXPECT))
    reply = await client.reply()
    assert (reply.interim, reply.status) == ([100], 101)


async def test_no_100_for_a_client_that_does_not_wait(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        body = await request.body.read()
        await request.accept()
        await stream.send_all(body)

    client = await connect(running(handler))
    await client.send(upgrade(LENGTH + EXPECT, b"12345"))
    reply = await client.reply()
    assert (reply.interim, reply.status) == ([], 101)
    assert await client.exactly(5) == b"12345"


async def test_no_100_in_http_1_0(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, await request.body.read())

    client = await connect(Server(on_request))
    await client.send(get(method="POST", fields=LENGTH + EXPECT, version="1.0"))
    await trio.testing.wait_all_tasks_blocked()
    await client.send(b"12345")
    reply = await client.reply()
    assert (reply.interim, reply.content) == ([], b"12345")


async def test_an_expectation_that_the_handler_ignores_gets_the_response_and_a_close(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(post(b"12345", EXPECT)[:-5])
    reply = await client.reply()
    assert (reply.interim, reply.status, reply.closes) == ([], 200, True)
    assert await client.rest() == b""


async def test_an_expectation_that_the_handler_refuses_gets_the_response_and_a_close(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(417)

    client = await connect(Server(on_request))
    await client.send(post(b"12345", EXPECT)[:-5])
    reply = await client.reply()
    assert (reply.interim, reply.status, reply.closes) == ([], 417, True)


async def test_declining_with_the_body_unread_the_stream_read_and_the_client_waiting(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        assert await stream.receive_some() == b"stream"
        return Response(403)

    client = await connect(running(handler))
    await client.send(upgrade(LENGTH + EXPECT))
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"12345stream")
    reply = await client.reply()
    assert (reply.interim, reply.status, reply.closes) == ([], 403, True)


async def test_declining_while_the_client_waits_closes(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403)

    client = await connect(running(handler))
    await client.send(upgrade(LENGTH + EXPECT))
    reply = await client.reply()
    assert (reply.interim, reply.status, reply.closes) == ([], 403, True)


async def test_a_body_over_the_limit_is_refused_without_a_100(connect: Connect) -> None:
    client = await connect(Server(okay, limits=Limits(max_body_size=4)))
    await client.send(post(b"12345", EXPECT)[:-5])
    reply = await client.reply()
    assert (reply.interim, reply.status, reply.closes) == ([], 413, True)


async def test_two_tasks_that_need_the_100_send_one(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.body.read)
            nursery.start_soon(request.accept)

    client = await connect(running(handler))
    await client.send(upgrade(LENGTH + EXPECT))
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.reply()).status == 101
    await client.send(b"12345")
    await client.send_eof()
    assert await client.rest() == b""


@pytest.mark.parametrize("checkpoints", range(8))
async def test_a_cancelled_100_is_completed_later_or_breaks_the_connection(
    connect: Connect, logged: Logged, checkpoints: int
) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.body.receive_some)
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await request.accept()

    client = await connect(Server(on_upgrade=handler, limits=Limits(linger_timeout=0)))
    await client.send(upgrade(LENGTH + EXPECT))
    received = await client.rest()
    if logged() == ["DEBUG ConnectionBroken"]:
        assert received in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    else:
        assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 ")
        assert received.count(b"HTTP/1.1") == 2


@pytest.mark.parametrize("checkpoints", range(5))
async def test_a_cancelled_accept_sent_nothing_or_breaks_the_connection(
    connect: Connect, logged: Logged, checkpoints: int
) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.accept)
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        try:
            await request.accept()
        except RuntimeError:
            await stream.send_all(b"was accepted")

    client = await connect(running(handler))
    await client.send(upgrade())
    await client.send_eof()
    received = await client.rest()
    if logged() == ["DEBUG ConnectionBroken"]:
        assert received in (b"", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    else:
        assert received.count(b"HTTP/1.1 101") == 1


async def test_no_100_after_the_101_for_a_client_that_sent_early(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        for _ in range(2):
            await stream.send_all(await stream.receive_some())

    client = await connect(running(handler))
    await client.send(upgrade(EXPECT, b"early"))
    reply = await client.reply()
    assert (reply.interim, reply.status) == ([], 101)
    assert await client.exactly(5) == b"early"
    await client.send(b"later")
    assert await client.exactly(5) == b"later"


async def test_no_100_after_the_101_for_a_body_that_broke(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        for _ in range(3):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

    client = await connect(running(handler))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\n" + EXPECT, b"xyz\r\n"))
    assert (await client.reply()).status == 101
    assert await client.rest() == b""


async def test_no_100_inside_a_response(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield b"before, "
            yield await request.body.receive_some()

        return Response(200, content())

    client = await connect(Server(on_request))
    await client.send(post(b"12345", EXPECT)[:-5])
    await trio.testing.wait_all_tasks_blocked()
    await client.send(b"12345")
    reply = await client.reply()
    assert (reply.interim, reply.content, reply.closes) == ([100], b"before, 12345", False)  # in front of it


async def test_an_expectation_without_a_body_keeps_the_connection(connect: Connect) -> None:
    client = await connect(Server(okay))
    for _ in range(2):
        await client.send(get(fields=EXPECT))
        reply = await client.reply()
        assert (reply.interim, reply.status, reply.closes) == ([], 200, False)


@pytest.mark.parametrize("fields", [b"", LENGTH + EXPECT])
async def test_of_two_tasks_that_accept_one_is_refused(connect: Connect, fields: bytes) -> None:
    refused: list[str] = []

    async def accept(request: Request) -> None:
        try:
            await request.accept()
        except RuntimeError:
            refused.append("already")

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, request)
            nursery.start_soon(accept, request)

    client = await connect(running(handler))
    await client.send(upgrade(fields))
    reply = await client.reply()
    assert reply.status == 101
    assert await client.rest() == b""
    assert refused == ["already"]


@pytest.mark.parametrize("interim", [True, False])
async def test_a_client_that_never_reads_holds_no_handler_in_accept(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, logged: Logged, interim: bool
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    async def serve() -> None:
        with pytest.raises(trio.BrokenResourceError, match="took no byte"):
            await Server(on_upgrade=handler, limits=Limits(send_timeout=5)).serve_stream(theirs)

    async with trio.open_nursery() as inner:
        inner.start_soon(serve)
        await ours.send_all(upgrade(EXPECT if interim else b""))
    assert trio.current_time() == 5
    assert logged() == ["DEBUG ConnectionBroken"]
