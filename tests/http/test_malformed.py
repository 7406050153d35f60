"""Malformed requests get a clear answer and a close, and reach no handler."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Client, Connect, echo, get, okay, open_client, post, serving

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"

BAD = {
    "no request line": (b"\r\n\r\n", 400),
    "no target": (b"GET\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "two spaces before the target": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces before the version": (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a tab in the request line": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target that is no path": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "an asterisk for GET": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "an absolute target without a host": (b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT to a path": (b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT without a port": (b"CONNECT example.org HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a method that is no token": (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/2.0 with a path": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/3": (b"GET / HTTP/3\r\nHost: a\r\n\r\n", 400),
    "http in lower case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a space first": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a bare LF first": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with a user": (b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", 400),
    "two Hosts in one": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with a port that is none": (b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    "a nameless field": (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    "an escape sequence in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", 400),
    "DEL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    "a bare CR in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    "a bare LF at the end of a line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare LFs at the end of the head": (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    "a fold with a tab": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400),
    "a fold at the start": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "Content-Length twice, agreeing": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    "Content-Length twice, differing": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    "Content-Length as a list": (POST + b"Content-Length: 1, 1\r\n\r\nx", 400),
    "Content-Length with a sign": (POST + b"Content-Length: +1\r\n\r\nx", 400),
    "Content-Length below zero": (POST + b"Content-Length: -1\r\n\r\nx", 400),
    "Content-Length in hexadecimal": (POST + b"Content-Length: 0x1\r\n\r\nx", 400),
    "Content-Length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\nx", 400),
    "an empty Content-Length": (POST + b"Content-Length: \r\n\r\nx", 400),
    "an endless Content-Length": (POST + b"Content-Length: " + b"1" * 30 + b"\r\n\r\nx", 400),
    "Content-Length and Transfer-Encoding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "Transfer-Encoding in HTTP/1.0": (
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an unknown transfer coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
    "Transfer-Encoding twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        501,
    ),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "a head that is too large": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 16_384 + b"\r\n\r\n", 431),
    "a head without an end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 3_000, 431),
    "a request line without an end": (b"GET /" + b"x" * 17_000, 414),
    "a target that is too long": (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "too many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
}

GOOD = [
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHOST:\t a%20b \t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX:\x80\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: content-length: 5\r\nX: a, content-length: 5, 6\r\n\r\n",
    POST + b"Transfer-Encoding:  Chunked\t\r\n\r\n0\r\n\r\n",
    b"PROPFIND /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 99 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (16_384 - 32) + b"\r\n\r\n",
]


def unreachable(reached: list[str]) -> Server:
    async def on_request(request: Request) -> Response:
        reached.append(request.path)
        return Response(200)

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        reached.append(request.path)

    return Server(on_request, on_upgrade=on_upgrade, on_connect=on_upgrade)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD)
async def test_a_malformed_request_is_answered_and_closed(
    connect_memory: Connect, data: bytes, status: int, whole: bool
) -> None:
    reached: list[str] = []
    client = await connect_memory(unreachable(reached))
    after = data + get("/smuggled") + get("/smuggled")
    try:
        for part in [after] if whole else [after[at : at + 1] for at in range(len(after))]:
            await client.send(part)
    except trio.BrokenResourceError:
        pass  # answered and closed before it was all sent
    reply = await client.reply()
    assert (reply.status, reply.closes) == (status, True)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.content.endswith(b"\n")
    assert reply.content.count(b"\n") == 1
    assert await client.rest() == b""
    assert reached == []


@pytest.mark.parametrize("data", GOOD)
async def test_an_unusual_request_is_fine(connect_memory: Connect, data: bytes) -> None:
    client = await connect_memory(Server(okay))
    await client.send(data + get("/next"))
    assert (await client.reply()).status == 200
    assert (await client.reply()).content == b"okay /next\n"


async def test_what_came_before_the_mistake_is_answered_first(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get("/1") + post(b"12345", target="/2") + b"nonsense\r\n\r\n" + get("/3"))
    assert (await client.reply()).content == b"okay /1\n"
    assert (await client.reply()).content == b"okay /2\n"
    assert (await client.reply()).status == 400
    assert await client.rest() == b""


async def test_the_answer_is_not_destroyed_by_what_the_client_still_sends(connect_tcp: Connect) -> None:
    client = await connect_tcp(Server(okay))
    await client.send(b"nonsense\r\n\r\n" + b"x" * 200_000)
    assert (await client.reply()).status == 400
    assert await client.rest() == b""


async def test_the_answer_quotes_nothing(connect_memory: Connect) -> None:
    client = await connect_memory(Server(okay))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nCookie secret\r\n\r\n")
    assert (await client.reply()).content == b"illegal header line\n"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost", get("/1") + b"GET /2"])
async def test_a_head_that_is_cut_off_is_answered_with_400(connect: Connect, data: bytes) -> None:
    client = await connect(Server(okay))
    await client.send(data)
    await client.send_eof()
    if data.startswith(b"GET /1"):
        assert (await client.reply()).status == 200
    assert (await client.reply()).status == 400
    assert await client.rest() == b""


async def test_a_connection_that_says_nothing_gets_nothing(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send_eof()
    assert await client.rest() == b""


# ---- sizes


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_answered_with_413(connect: Connect, chunked: bool) -> None:
    reached: list[bytes] = []

    async def on_request(request: Request) -> Response:
        reached.append(await request.body.read())
        return Response(200)

    client = await connect(Server(on_request, limits=Limits(max_body_size=20)))
    fields = b"Transfer-Encoding: chunked\r\n"
    exact = get(method="POST", fields=fields) + b"a\r\n0123456789\r\n0\r\n\r\n"  # 20 bytes on the wire
    over = get(method="POST", fields=fields) + b"b\r\n0123456789a\r\n0\r\n\r\n"
    await client.send(exact + over if chunked else post(b"x" * 20) + post(b"x" * 21))
    assert (await client.reply()).status == 200
    reply = await client.reply()
    assert (reply.status, reply.closes) == (413, True)
    assert await client.rest() == b""
    assert len(reached) == 1


async def test_the_body_limit_holds_for_an_upgrade_until_its_body_ends(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async for data in stream:
            await stream.send_all(data)

    client = await connect(Server(on_upgrade=handler, limits=Limits(max_body_size=5)))
    fields = b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 5\r\n"
    await client.send(get(fields=fields) + b"12345" + b"x" * 1000)
    assert (await client.reply()).status == 101
    assert await client.exactly(1000) == b"x" * 1000


async def test_a_body_over_the_limit_after_an_accepted_upgrade_is_an_error(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="longer than 5 bytes"):
                await stream.receive_some()

    client = await connect(Server(on_upgrade=handler, limits=Limits(max_body_size=5)))
    fields = b"Connection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n"
    await client.send(get(fields=fields) + b"6\r\n123456\r\n0\r\n\r\n")
    assert (await client.reply()).status == 101
    await client.send_eof()
    assert await client.rest() == b""


# ---- times


async def elapsed_at_the_end(client: Client) -> tuple[bytes, float]:
    start = trio.current_time()
    received = await client.rest()
    return received, trio.current_time() - start


async def trickle(client: Client, data: bytes, seconds: float) -> None:
    """Send a byte every second, and the end of `data` never."""
    try:
        for at in range(len(data)):
            await client.send(data[at : at + 1])
            await trio.sleep(seconds)
        await trio.sleep_forever()
    except trio.BrokenResourceError:
        pass


async def timed(nursery: trio.Nursery, client: Client, data: bytes) -> tuple[bytes, float]:
    """How long the server listens to bytes that trickle in."""
    nursery.start_soon(trickle, client, data, 1)
    return await elapsed_at_the_end(client)


async def test_a_silent_connection_is_closed_silently(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    client = await connect(Server(okay, limits=Limits(header_timeout=20)))
    assert await elapsed_at_the_end(client) == (b"", 20)


async def test_a_head_that_trickles_in_is_answered_with_408(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(Server(okay, limits=Limits(header_timeout=20)))
    received, seconds = await timed(nursery, client, get("/" + "x" * 100))
    assert received.startswith(b"HTTP/1.1 408 ")
    assert 20 <= seconds < 23  # and the linger


async def test_a_connection_that_is_kept_is_closed_silently(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(Server(okay, limits=Limits(keep_alive_timeout=7)))
    for _ in range(3):
        await client.send(get())
        assert (await client.reply()).status == 200
        await trio.sleep(6)
    received, seconds = await elapsed_at_the_end(client)
    assert received == b""
    assert 1 <= seconds <= 1.1


async def test_a_later_head_is_timed_from_its_first_byte(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(Server(okay, limits=Limits(header_timeout=20, keep_alive_timeout=7)))
    await client.send(get())
    assert (await client.reply()).status == 200
    await trio.sleep(6)
    received, seconds = await timed(nursery, client, get("/" + "x" * 100))
    assert received.startswith(b"HTTP/1.1 408 ")
    assert 20 <= seconds < 23


async def test_a_body_that_trickles_in_is_answered_with_408(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, await request.body.read())

    client = await connect(Server(on_request, limits=Limits(request_timeout=20)))
    await client.send(post(b"x" * 100)[:-100])
    received, seconds = await timed(nursery, client, b"x" * 99)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert 20 <= seconds < 23


async def test_an_unread_body_that_never_comes_ends_the_connection(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(Server(okay, limits=Limits(request_timeout=20)))
    await client.send(post(b"12345")[:-1])
    assert (await client.reply()).status == 200
    received, seconds = await elapsed_at_the_end(client)
    assert received == b""
    assert 20 <= seconds < 23


async def test_the_body_of_an_accepted_upgrade_has_its_time_and_the_stream_as_long_as_it_likes(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    broken = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        if request.path == "/slow":
            with pytest.raises(trio.BrokenResourceError, match="within 20 seconds"):
                await stream.receive_some()
            broken.set()
        else:
            await stream.send_all(await stream.receive_some())

    server = Server(on_upgrade=handler, limits=Limits(request_timeout=20, header_timeout=20, keep_alive_timeout=20))
    fields = b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n"
    async with serving(server) as listener:
        slow, fast = await open_client(listener), await open_client(listener)
        async with slow.stream, fast.stream:
            await slow.send(get("/slow", fields))
            await fast.send(get("/fast", fields) + b"x")
            assert (await fast.reply()).status == 101
            await broken.wait()
            assert trio.current_time() - 20 < 1
            await trio.sleep(1000)
            await fast.send(b"late")
            assert await fast.exactly(4) == b"late"


@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_a_peer_that_takes_no_byte_of_a_response_is_dropped(
    connect_tcp: Connect, connect_tls: Connect, way: str, mock_clock: trio.testing.MockClock
) -> None:
    waiting = trio.Event()
    gone = trio.Event()

    class Content:
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            try:
                while True:
                    yield bytes(2**16)
                    waiting.set()
            finally:
                gone.set()

    client = await (connect_tls if way == "tls" else connect_tcp)(
        Server(lambda request: respond(Content()), limits=Limits(send_timeout=30))
    )
    await client.send(get())
    await client.exactly(10)
    await trio.testing.wait_all_tasks_blocked(0.1)
    mock_clock.jump(1)  # the kernels have acknowledged what they can hold, and the server has seen it
    await trio.testing.wait_all_tasks_blocked(0.01)
    mock_clock.jump(29)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not gone.is_set()
    mock_clock.jump(2)
    with trio.fail_after(60):
        await gone.wait()


async def respond(content: object) -> Response:
    return Response(200, content)  # type: ignore[arg-type]


async def test_a_tls_handshake_that_stalls_is_dropped(
    connect_tls: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect_tls(Server(okay, limits=Limits(tls_handshake_timeout=4)))
    assert isinstance(client.stream, trio.SSLStream)
    start = trio.current_time()
    assert await client.stream.transport_stream.receive_some() == b""
    assert trio.current_time() - start == 4


async def test_what_is_no_tls_is_dropped(connect_tls: Connect) -> None:
    client = await connect_tls(Server(okay))
    assert isinstance(client.stream, trio.SSLStream)
    plain = Client(client.stream.transport_stream)
    await plain.send(get())
    with pytest.raises((AssertionError, trio.BrokenResourceError)):
        await plain.exactly(100)


def test_timeouts_can_be_off() -> None:
    Limits(header_timeout=None, request_timeout=None, keep_alive_timeout=None, send_timeout=None)
    Limits(tls_handshake_timeout=None, linger_timeout=0, max_body_size=0, max_drain=0)


async def test_a_server_without_timeouts_waits(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    limits = Limits(header_timeout=None, request_timeout=None, keep_alive_timeout=None, send_timeout=None)
    client = await connect(Server(okay, on_upgrade=echo, limits=limits))
    await trio.sleep(10_000)
    await client.send(get()[:5])
    await trio.sleep(10_000)
    await client.send(get()[5:])
    assert (await client.reply()).status == 200
    await trio.sleep(10_000)
    await client.send(post(b"12")[:-1])
    assert (await client.reply()).status == 200
    await trio.sleep(10_000)
    await client.send(b"2" + get("/last"))
    assert (await client.reply()).content == b"okay /last\n"


@pytest.mark.parametrize(
    "bad",
    [
        {"header_timeout": 0},
        {"header_timeout": -1},
        {"keep_alive_timeout": float("inf")},
        {"request_timeout": float("nan")},
        {"linger_timeout": -1},
        {"max_header_size": 0},
        {"max_body_size": -1},
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"send_timeout": "60"},
        {"linger_timeout": None},
        {"header_timeout": True},
        {"max_header_size": None},
        {"max_headers": 1.5},
        {"max_drain": None},
        {"max_drain": True},
    ],
)
def test_a_limit_of_the_wrong_type_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=next(iter(bad))):
        Limits(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n"])
async def test_a_bare_lf_is_refused_as_soon_as_it_is_seen(connect: Connect, data: bytes) -> None:
    client = await connect(Server(okay))
    await client.send(data)
    assert (await client.reply()).status == 400


@pytest.mark.parametrize("rest", [b"", b"\r\nContent-Length: 2\r\n\r\n1"])
async def test_what_comes_just_when_the_time_is_up_is_in_time(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery, rest: bytes
) -> None:
    """In the kernel's buffer, and the deadline passes before the server is scheduled again."""

    async def read(request: Request) -> Response:
        return Response(200, await request.body.read())

    server = Server(read, limits=Limits(keep_alive_timeout=5))
    async with serving(server) as listener:
        for _ in range(20):  # who is scheduled first is left to chance
            client = await open_client(listener)
            async with client.stream:
                await client.send(get())
                assert (await client.reply()).status == 200
                await trio.testing.wait_all_tasks_blocked()
                assert isinstance(client.stream, trio.SocketStream)
                head = b"POST / HTTP/1.1\r\nHost: a"
                os.write(client.stream.socket.fileno(), head + rest)
                mock_clock.jump(5)
                await trio.testing.wait_all_tasks_blocked()
                await client.send(*[b"2"] if rest else [b"\r\n", b"\r\n"])
                reply = await client.reply()
                assert (reply.status, reply.content) == (200, b"12" if rest else b"")


async def test_a_byte_that_comes_just_when_the_time_is_up_does_not_extend_it(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(8):  # which of the two comes first is left to chance
        client = await connect(Server(limits=Limits(header_timeout=10)))
        begin = trio.current_time()
        await client.send(b"G")
        await trio.sleep_until(begin + 10)
        await client.send(b"E")
        with trio.fail_after(1):
            assert (await client.reply()).status == 408


@pytest.mark.parametrize("first", [True, False])
async def test_an_empty_line_in_two_parts_does_not_extend_the_time(
    connect: Connect, autojump_clock: trio.testing.MockClock, first: bool
) -> None:
    client = await connect(Server(okay, limits=Limits(header_timeout=10, keep_alive_timeout=5)))
    if not first:
        await client.send(get())
        await client.reply()
    begin = trio.current_time()
    await client.send(b"\r")
    await trio.sleep(9)
    await client.send(b"\n")
    await trio.sleep(0.1)
    await client.send(b"G")
    assert (await client.reply()).status == 408
    assert trio.current_time() - begin < 10.5


async def test_reads_with_a_timeout_of_their_own_do_not_extend_the_time_of_a_body(
    connect: Connect, autojump_clock: trio.testing.MockClock, logged: Callable[[], list[str]]
) -> None:
    async def on_request(request: Request) -> Response:
        while True:
            with trio.move_on_after(1):
                await request.body.receive_some()

    client = await connect(Server(on_request, limits=Limits(request_timeout=10)))
    await client.send(post(b"x" * 10)[:-10])
    with trio.fail_after(11.5):
        assert (await client.reply()).status == 408
    assert logged() == ["DEBUG ProtocolError"]
