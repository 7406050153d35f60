"""A response that begins before the end of the request's body: a connection that is kept really is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Connect, chunked, get, okay, post

CHUNKED = b"Transfer-Encoding: chunked\r\n"
EXPECT = b"Expect: 100-continue\r\n"
HEAD = get(method="POST", fields=CHUNKED)
END = b"0\r\n\r\n"


def streaming(*, first: bytes = b"", reads: bool = False) -> Server:
    """Its content is a first item, and then the request's body, if that is read."""

    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield first
            if reads:
                async for part in request.body:
                    yield bytes(part).upper()

        return Response(200, content())

    return Server(on_request)


# ---- chunks, of which nobody knows how many will come


@pytest.mark.parametrize("make", [lambda: Server(okay), streaming], ids=["bytes", "streamed"])
async def test_an_early_response_to_unread_chunks_says_that_it_closes(
    connect: Connect, make: Callable[[], Server]
) -> None:
    client = await connect(make())
    await client.send(HEAD)
    reply = await client.reply()
    assert (reply.status, reply.closes) == (200, True)
    for _ in range(5):
        await client.stream.send_all(chunked(bytes(2**16)).removesuffix(END))  # it may finish what it has begun
    await client.stream.send_all(END)
    assert await client.rest() == b""


async def test_unread_chunks_that_have_arrived_are_discarded_and_the_connection_kept(connect_socket: Connect) -> None:
    asked, go = trio.Event(), trio.Event()

    async def on_request(request: Request) -> Response:
        asked.set()
        await go.wait()
        return await okay(request)

    client = await connect_socket(Server(on_request))
    await client.send(HEAD)
    await asked.wait()
    await client.send(chunked(b"x" * 40_000))
    await trio.testing.wait_all_tasks_blocked(0.05)  # the kernel has them; nobody has read them
    go.set()
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"okay /\n", False)
    await client.send(get("/next"))
    assert (await client.reply()).content == b"okay /next\n"


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (chunked(bytes(1000)), Limits(max_drain=100)),
        (chunked(bytes(1000)), Limits(max_body_size=100)),
        (chunked(*[b"x"] * 100), Limits(max_drain=500)),
        (b"nonsense\r\n" + END, Limits()),
        (chunked(bytes(10)).removesuffix(END), Limits()),
        (chunked(bytes(10)).removesuffix(b"\r\n"), Limits()),
    ],
    ids=["more than is discarded", "too large", "chunk by chunk", "malformed", "no last chunk", "no last line"],
)
async def test_chunks_whose_end_is_out_of_reach_close_the_connection(
    connect: Connect, body: bytes, limits: Limits
) -> None:
    client = await connect(Server(okay, limits=limits))
    await client.send(HEAD + body)
    assert (await client.reply()).closes
    assert await client.rest() == b""


async def test_trailers_that_have_arrived_keep_the_connection(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(HEAD + chunked(*[b"x"] * 5000, trailers=b"X: y\r\n") + get("/next"))
    assert not (await client.reply()).closes
    assert (await client.reply()).content == b"okay /next\n"


async def test_content_that_has_read_all_of_a_body_keeps_the_connection(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield await request.body.read()

        return Response(200, content())

    client = await connect(Server(on_request))
    await client.send(get(method="POST", fields=CHUNKED + EXPECT))
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"5\r\nhello\r\n", END)
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"hello", False)
    await client.send(post(b"again"))
    assert (await client.reply()).content == b"again"


# ---- clients that wait for a 100 (Continue)


@pytest.mark.parametrize("first", [b"", b"first "])
async def test_content_that_may_still_read_an_awaited_body_sends_the_100_before_the_head(
    connect: Connect, first: bytes
) -> None:
    client = await connect(streaming(first=first, reads=True))
    await client.send(post(b"hello", EXPECT)[:-5])
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await client.exactly(15) == b"HTTP/1.1 200 OK"
    await client.send(b"hello")
    rest = b""
    while not rest.endswith(END):
        rest += await client.some()
    assert rest.partition(b"\r\n\r\n")[2] == chunked(*filter(None, [first, b"HELLO"]))
    assert b"Connection: close" not in rest
    await client.send(post(b"again"))
    assert (await client.reply()).content == first + b"AGAIN"


async def test_content_that_leaves_an_awaited_body_unread_waits_for_nobody(connect: Connect) -> None:
    client = await connect(streaming(first=b"no"))
    await client.send(post(b"hello", EXPECT)[:-5])
    reply = await client.reply()
    assert (reply.interim, reply.content, reply.closes) == ([100], b"no", False)
    await client.send(b"hello" + get())
    assert (await client.reply()).content == b"no"


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_a_response_whose_content_nobody_makes_sends_no_100(connect: Connect, method: str) -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield b""

        await request.body.aclose() if method == "POST" else None
        return Response(200, content())

    client = await connect(Server(on_request))
    await client.send(get(method=method, fields=b"Content-Length: 5\r\n" + EXPECT))
    reply = await client.reply(method)
    assert (reply.interim, reply.closes) == ([], True)
