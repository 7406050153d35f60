"""What an operator sees: numbers, an access log, and errors that say to whom they happened."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Connect, Wrong, chunked, echo, get, okay, open_client, post, reset, serving, upgrade


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Switches the access log on, and takes its lines, without their times."""
    access = logging.getLogger("trio_upgrade.access")
    access.setLevel(logging.INFO)

    def take() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "trio_upgrade.access"]
        caplog.clear()
        return [re.sub(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}\]", "[time]", line) for line in messages]

    yield take
    access.setLevel(logging.WARNING)


# ---- the access log


async def test_a_line_for_each_response(connect_tcp: Connect, lines: Callable[[], list[str]]) -> None:
    client = await connect_tcp(Server(okay))
    await client.send(get("/a?b=c", b"User-Agent: curl/8\r\nReferer: http://x.test/\r\nCookie: secret\r\n"))
    assert (await client.reply()).content == b"okay /a\n"
    await trio.testing.wait_all_tasks_blocked()
    assert lines() == ['127.0.0.1 - - [time] "GET /a?b=c HTTP/1.1" 200 8 "http://x.test/" "curl/8"']
    await client.send(get("/a", method="HEAD"))
    await client.reply("HEAD")
    await trio.testing.wait_all_tasks_blocked()
    assert lines() == ['127.0.0.1 - - [time] "HEAD /a HTTP/1.1" 200 0 "-" "-"']


async def test_the_access_log_is_off_by_default(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect(Server(okay))
    await client.send(get())
    await client.reply()
    assert [record for record in caplog.records if record.name == "trio_upgrade.access"] == []


async def test_what_is_streamed_counts_too(connect: Connect, lines: Callable[[], list[str]]) -> None:
    async def parts(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield b"x" * 100

        return Response(200, content(), [("Content-Length", "100")])

    client = await connect(Server(parts))
    await client.send(get())
    await client.reply()
    await trio.testing.wait_all_tasks_blocked()
    assert re.fullmatch(r'\S+ - - \[time\] "GET / HTTP/1.1" 200 100 "-" "-"', lines()[0])


async def test_nothing_a_client_sends_can_forge_a_line(connect: Connect, lines: Callable[[], list[str]]) -> None:
    client = await connect(Server(okay))
    await client.send(get('/"x\\', b'User-Agent: a" 200 1 "-" \\ \xe9\t\r\n'))
    await client.reply()
    await trio.testing.wait_all_tasks_blocked()
    (line,) = lines()
    assert line.endswith('"GET /\\x22x\\x5c HTTP/1.1" 200 10 "-" "a\\x22 200 1 \\x22-\\x22 \\x5c \\xe9"')


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000, 414),
        (get(fields=b"X: " + b"x" * 20_000), 431),
        (get(fields=b"Transfer-Encoding: gzip, chunked\r\n"), 501),
        (b"GET / HT", 408),
    ],
)
async def test_what_is_no_request_has_a_line_with_the_peers_address(
    connect: Connect,
    lines: Callable[[], list[str]],
    autojump_clock: trio.testing.MockClock,
    data: bytes,
    status: int,
) -> None:
    client = await connect(Server(okay))
    await client.send(data)
    reply = await client.reply()
    assert reply.status == status
    await trio.testing.wait_all_tasks_blocked()
    (line,) = lines()
    address = "127.0.0.1" if isinstance(client.stream, trio.SocketStream) else "-"
    assert line == f'{address} - - [time] "-" {status} {len(reply.content)} "-" "-"'


async def test_errors_have_their_status(
    connect: Connect, lines: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: Request) -> Response:
        raise KeyError("secret")

    client = await connect(Server(broken))
    await client.send(get("/x"))
    assert (await client.reply()).status == 500
    await trio.testing.wait_all_tasks_blocked()
    messages = [record.getMessage() for record in caplog.records if record.name == "trio_upgrade"]
    assert re.fullmatch(r"<Request GET /x from \S+>: the handler raised", messages[0])
    assert '"GET /x HTTP/1.1" 500 ' in lines()[0]


async def test_an_upgraded_stream_has_a_line_at_its_end(connect_tcp: Connect, lines: Callable[[], list[str]]) -> None:
    client = await connect_tcp(Server(on_upgrade=echo))
    await client.send(upgrade(after=b"12345"))
    await client.reply()
    await client.exactly(5)
    await client.send(b"x" * 1000)
    await client.exactly(1000)
    assert lines() == []
    await client.send_eof()
    assert await client.rest() == b""
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    (line,) = lines()
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[time\] "GET / HTTP/1\.1" 101 1005 "-" "-" in=1005 out=1005 seconds=\d+\.\d{3}', line
    )


@pytest.mark.parametrize("reads_body", [True, False])
@pytest.mark.parametrize("writes_head", [True, False])
async def test_the_bytes_of_an_upgraded_stream_are_those_after_its_heads_and_the_body(
    connect: Connect, lines: Callable[[], list[str]], reads_body: bool, writes_head: bool
) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        if reads_body:
            await request.body.read()
        if writes_head:
            await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi")
        else:
            await request.accept()
            await stream.send_all(b"hi")
        assert await stream.receive_some() == b"hello"

    client = await connect(Server(on_upgrade=on_upgrade))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"))
    await client.send(chunked(b"x" * 100, trailers=b"X: y\r\n") + b"hello")
    assert (await client.rest()).endswith(b"\r\n\r\nhi")
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert " in=5 out=2 " in lines()[0]


async def test_of_a_stream_that_nobody_reads_nothing_has_come_in(
    connect: Connect, lines: Callable[[], list[str]]
) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    client = await connect(Server(on_upgrade=on_upgrade))
    await client.send(upgrade(b"Content-Length: 5\r\n", after=b"hello and more"))
    await client.reply()
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert " in=0 out=0 " in lines()[0]


async def test_a_declined_upgrade_is_a_response_like_others(connect: Connect, lines: Callable[[], list[str]]) -> None:
    async def decline(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403)

    client = await connect(Server(on_upgrade=decline))
    await client.send(upgrade())
    await client.reply()
    await trio.testing.wait_all_tasks_blocked()
    assert len(told := lines()) == 1
    assert '"GET / HTTP/1.1" 403 0 ' in told[0]


# ---- statistics


async def test_the_states_of_connections_are_counted() -> None:
    go = trio.Event()

    async def slow(request: Request) -> Response:
        await go.wait()
        return await okay(request)

    server = Server(slow, on_upgrade=echo)
    async with serving(server) as listener:
        idle, active, upgraded, gone = [await open_client(listener) for _ in range(4)]
        await active.send(get())
        await upgraded.send(upgrade())
        await upgraded.reply()
        await gone.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        now = server.statistics()
        assert (now.open, now.idle, now.active, now.upgraded) == (3, 1, 1, 1)
        assert (now.connections, now.requests, now.upgrades, now.refused) == (4, 2, 1, 0)
        go.set()
        await active.reply()
        await trio.testing.wait_all_tasks_blocked(0.01)
        now = server.statistics()
        assert (now.open, now.idle, now.active, now.upgraded) == (3, 2, 0, 1)
        for client in (idle, active, upgraded):
            await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        now = server.statistics()
        assert (now.open, now.idle, now.active, now.upgraded, now.connections) == (0, 0, 0, 0, 4)
        with pytest.raises(AttributeError):
            now.open = 1  # type: ignore[misc]


async def test_bytes_are_counted_on_open_and_closed_connections(connect: Connect) -> None:
    server = Server(okay, on_upgrade=echo)
    sent = received = 0
    for data in (get("/"), post(b"x" * 1000), upgrade(after=b"y" * 100_000)):
        client = await connect(server)
        await client.send(data)
        sent += len(data)
        if data.startswith(b"GET / HTTP/1.1\r\nHost: test\r\nConnection"):
            head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            received += len(await client.exactly(len(head) + 100_000))
        else:
            await trio.testing.wait_all_tasks_blocked()
            received += len(await client.stream.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        now = server.statistics()
        assert (now.bytes_received, now.bytes_sent) == (sent, received)
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        now = server.statistics()
        assert (now.bytes_received, now.bytes_sent) == (sent, received)


async def test_a_large_response_to_a_slow_reader_is_counted_whole(connect: Connect) -> None:
    async def large(request: Request) -> Response:
        return Response(200, bytes(5_000_000))

    server = Server(large)
    client = await connect(server)
    await client.send(get("/", b"Connection: close\r\n"))
    received = len(await client.rest())
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().bytes_sent == received > 5_000_000


async def test_statistics_of_a_server_that_does_nothing() -> None:
    now = Server().statistics()
    assert (now.open, now.connections, now.bytes_received) == (0, 0, 0)


# ---- no more than max_connections


async def test_one_more_than_the_maximum_gets_503(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(okay, limits=Limits(max_connections=2))
    async with serving(server) as listener:
        first, second = [await open_client(listener) for _ in range(2)]
        for client in (first, second):
            await client.send(get())
            assert (await client.reply()).status == 200
        for _ in range(3):
            refused = await open_client(listener)
            await refused.send(get())
            reply = await refused.reply()
            assert (reply.status, reply.headers["retry-after"], reply.closes) == (503, "1", True)
            assert await refused.rest() == b""
            await refused.aclose()
        assert server.statistics().refused == 3
        assert [record.levelname for record in caplog.records] == ["WARNING"]  # once, not for each
        caplog.clear()
        await first.send(get())
        assert (await first.reply()).status == 200
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        third = await open_client(listener)
        await third.send(get())
        assert (await third.reply()).status == 200
        for client in (second, third):
            await client.aclose()


async def test_many_at_once_are_never_more_than_the_maximum(caplog: pytest.LogCaptureFixture) -> None:
    go = trio.Event()

    async def slow(request: Request) -> Response:
        await go.wait()
        return await okay(request)

    server = Server(slow, limits=Limits(max_connections=5))
    async with serving(server) as listener:
        clients = [await open_client(listener) for _ in range(200)]
        for client in clients:
            try:
                await client.send(get())
            except trio.BrokenResourceError:
                pass
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.statistics().open == 5
        assert server.statistics().refused == 195
        go.set()
        statuses = []
        for client in clients:
            try:
                statuses.append((await client.reply()).status)
            except (trio.BrokenResourceError, Wrong):
                statuses.append(0)  # where many are refused, some are not told
            reset(client)
        assert statuses.count(200) == 5
        assert statuses.count(503) >= 64
        caplog.clear()


async def test_over_tls_the_503_is_inside_of_it(connect_tls: Connect, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(okay, limits=Limits(max_connections=1))
    first = await connect_tls(server)
    await first.send(get())
    assert (await first.reply()).status == 200
    second = await connect_tls(server)
    await second.send(get())
    assert (await second.reply()).status == 503
    caplog.clear()
