"""Which requests are upgrade requests, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from trio_upgrade import Request, Response, Server

from ..support.client import UPGRADE, Client, Connect, chunked, echo, get, okay, upgrade


async def offered(request: Request) -> Response:
    """An ordinary handler that tells what was offered."""
    return Response(200, repr(request.upgrade))


async def test_without_an_upgrade_handler_an_upgrade_request_is_an_ordinary_one(connect: Connect) -> None:
    client = await connect(Server(okay))
    for _ in range(2):
        await client.send(upgrade())
        reply = await client.reply()
        assert (reply.status, reply.content, reply.closes) == (200, b"okay /\n", False)


async def test_with_an_upgrade_handler_every_upgrade_request_is_accepted(connect: Connect) -> None:
    client = await connect(Server(okay, on_upgrade=echo))
    await client.send(upgrade(target="/any", after=b"hello"))
    assert (await client.reply()).status == 101
    assert await client.exactly(5) == b"hello"


async def test_with_an_upgrade_handler_ordinary_requests_stay_ordinary(connect: Connect) -> None:
    client = await connect(Server(okay, on_upgrade=echo))
    await client.send(get())
    assert (await client.reply()).content == b"okay /\n"
    await client.send(upgrade())
    assert (await client.reply()).status == 101


@pytest.mark.parametrize("is_async", [False, True])
async def test_should_upgrade_decides_once_a_request(connect: Connect, is_async: bool) -> None:
    asked: list[str] = []

    def decide(request: Request) -> bool:
        asked.append(request.path)
        return request.path == "/yes"

    async def decide_async(request: Request) -> bool:
        await trio.lowlevel.checkpoint()
        return decide(request)

    client = await connect(Server(okay, on_upgrade=echo, should_upgrade=decide_async if is_async else decide))
    await client.send(upgrade(target="/no"))
    reply = await client.reply()
    assert (reply.status, reply.content, reply.closes) == (200, b"okay /no\n", False)
    await client.send(get("/plain"))
    assert (await client.reply()).content == b"okay /plain\n"
    await client.send(upgrade(target="/yes"))
    assert (await client.reply()).status == 101
    assert asked == ["/no", "/yes"]


async def test_a_refused_upgrade_request_gives_its_body_to_the_request_handler(connect: Connect) -> None:
    async def read(request: Request) -> Response:
        return Response(200, await request.body.read())

    client = await connect(Server(read, on_upgrade=echo, should_upgrade=lambda request: False))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\n", chunked(b"abc", b"def")) + get())
    assert (await client.reply()).content == b"abcdef"
    assert (await client.reply()).content == b""


async def test_should_upgrade_sees_the_head_only(connect: Connect, logged: Callable[[], list[str]]) -> None:
    async def peek(request: Request) -> bool:
        assert request.headers["upgrade"] == "echo"
        await request.body.read()
        return True

    client = await connect(Server(okay, on_upgrade=echo, should_upgrade=peek))
    await client.send(upgrade())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR RuntimeError"]


async def test_accepted_with_no_handler_closes_at_once_with_nothing_sent(connect: Connect) -> None:
    client = await connect(Server(okay, should_upgrade=lambda request: True))
    await client.send(upgrade())
    assert await client.rest() == b""


async def test_should_upgrade_that_raises_is_answered_with_500_logged_and_closed(
    connect: Connect, logged: Callable[[], list[str]]
) -> None:
    def fail(request: Request) -> bool:
        raise LookupError("no such table")

    client = await connect(Server(okay, on_upgrade=echo, should_upgrade=fail))
    await client.send(upgrade() + get())
    reply = await client.reply()
    assert (reply.status, reply.content, reply.closes) == (500, b"Internal Server Error\n", True)
    assert await client.rest() == b""
    assert logged() == ["ERROR LookupError"]


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade\r\nUpgrade: echo\r\n",
        b"connection: uPGRADE\r\nupgrade: echo\r\n",
        b"Connection: keep-alive, Upgrade\r\nUpgrade: echo\r\n",
        b"Connection: Upgrade,keep-alive\r\nUpgrade: echo\r\n",
        b"Connection: , ,\tupgrade ,\r\nUpgrade: ,echo,\r\n",
        b"Connection: keep-alive\r\nUpgrade: echo\r\nConnection: upgrade\r\n",
    ],
)
async def test_an_upgrade_request_has_the_token_anywhere_in_connection(connect: Connect, fields: bytes) -> None:
    client = await connect(Server(offered))
    await client.send(get(fields=fields))
    assert (await client.reply()).content == b"('echo',)"


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(fields=b"Connection: upgrade-insecure\r\nUpgrade: echo\r\n"),
        get(fields=b"Connection: upgrade insecure\r\nUpgrade: echo\r\n"),
        get(fields=b"Upgrade-Insecure-Requests: 1\r\nConnection: keep-alive\r\nUpgrade: echo\r\n"),
        get(fields=b"Upgrade: echo\r\n"),
        get(fields=b"Connection: Upgrade\r\n"),
        get(fields=b"Connection: Upgrade\r\nUpgrade: ,\r\n"),
        get(fields=b"Connection: Upgrade\r\nUpgrade: a b\r\n"),
        get(fields=b'Connection: Upgrade\r\nUpgrade: "a"\r\n'),
        get(fields=b"Connection: Upgrade\r\nUpgrade: a/, /a, a/b/c, caf\xe9, a;b=1\r\n"),
    ],
)
async def test_anything_less_is_an_ordinary_request(connect: Connect, request_bytes: bytes) -> None:
    client = await connect(Server(offered, on_upgrade=echo))
    for _ in range(2):
        await client.send(request_bytes)
        assert (await client.reply()).content == b"()"


async def test_upgrade_is_ignored_in_http_1_0(connect: Connect) -> None:
    client = await connect(Server(offered, on_upgrade=echo))
    await client.send(get(fields=UPGRADE, version="1.0"))
    assert (await client.reply()).content == b"()"


async def test_the_protocols_are_offered_in_order_as_written(connect: Connect) -> None:
    client = await connect(Server(offered))
    await client.send(get(fields=b"Connection: upgrade\r\nUpgrade: b/2, A\r\nUpgrade: websocket\r\n"))
    assert (await client.reply()).content == b"('b/2', 'A', 'websocket')"


async def test_the_handler_starts_when_the_head_is_there(connect: Connect) -> None:
    started = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        started.set()
        body = await request.body.read()
        await request.accept()
        await stream.send_all(body)

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 5\r\n"))
    await started.wait()
    await client.send(b"12345")
    assert (await client.reply()).status == 101
    assert await client.exactly(5) == b"12345"


async def test_a_pipelined_upgrade_is_answered_in_order(connect: Connect) -> None:
    client = await connect(Server(okay, on_upgrade=echo))
    await client.send(get("/1") + get("/2") + upgrade(after=b"hi"))
    assert (await client.reply()).content == b"okay /1\n"
    assert (await client.reply()).content == b"okay /2\n"
    assert (await client.reply()).status == 101
    assert await client.exactly(2) == b"hi"


async def test_connect_goes_to_its_own_handler(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        assert (request.target, request.path, request.upgrade) == ("example.org:443", "", ())
        await request.accept(headers=[("X-Via", "here")])
        async for data in stream:
            await stream.send_all(data.upper())

    client = await connect(Server(okay, on_connect=handler, on_upgrade=echo))
    await client.send(b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST_OF_CONNECT + UPGRADE + b"\r\nearly")
    reply = await client.exactly(len(b"HTTP/1.1 200 OK\r\nX-Via: here\r\n\r\nEARLY"))
    assert reply == b"HTTP/1.1 200 OK\r\nX-Via: here\r\n\r\nEARLY"


HOST_OF_CONNECT = b"Host: example.org:443\r\n"


async def connect_reply(client: Client, fields: bytes = b"", version: bytes = b"1.1") -> int:
    await client.send(b"CONNECT example.org:443 HTTP/" + version + b"\r\n" + HOST_OF_CONNECT + fields + b"\r\n")
    reply = await client.reply()
    assert reply.closes
    assert await client.rest() == b""
    return reply.status


async def test_connect_without_a_handler_is_answered_with_405_and_closed(connect: Connect) -> None:
    assert await connect_reply(await connect(Server(okay))) == 405


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 0\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_connect_with_a_body_is_refused(connect: Connect, fields: bytes) -> None:
    assert await connect_reply(await connect(Server(okay, on_connect=echo)), fields) == 400


async def test_connect_in_http_1_0_is_served(connect: Connect) -> None:
    client = await connect(Server(okay, on_connect=echo))
    await client.send(b"CONNECT example.org:443 HTTP/1.0\r\n\r\nearly")  # which needs no Host
    assert await client.exactly(24) == b"HTTP/1.1 200 OK\r\n\r\nearly"
    await client.send_eof()
    assert await client.rest() == b""


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: example.org:443\r\n", b"Host: /\r\n"],
)
async def test_connect_in_http_1_0_is_as_strict(connect: Connect, fields: bytes) -> None:
    assert await connect_reply(await connect(Server(okay, on_connect=echo)), fields, b"1.0") == 400


async def test_connect_in_http_1_0_without_a_handler_is_answered_with_405(connect: Connect) -> None:
    assert await connect_reply(await connect(Server(okay)), version=b"1.0") == 405


async def test_a_declined_connect_is_answered_and_closed(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403, "not there\n")

    assert await connect_reply(await connect(Server(okay, on_connect=handler))) == 403


async def test_a_connect_is_not_declined_with_2xx(connect: Connect, logged: Callable[[], list[str]]) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(200, "come in\n")

    assert await connect_reply(await connect(Server(okay, on_connect=handler))) == 500
    assert logged() == ["ERROR RuntimeError"]


async def test_connect_offers_no_protocol(connect: Connect, logged: Callable[[], list[str]]) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept("tcp")

    assert await connect_reply(await connect(Server(okay, on_connect=handler))) == 500
    assert logged() == ["ERROR ValueError"]
