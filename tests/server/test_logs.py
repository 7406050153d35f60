"""What peers write into logs, and what operators learn of peers that fail before there is a request."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server, websocket

from ..support.client import Client, Connect, get, okay, open_client, post, serving
from ..support.websocket_client import close, handshake, shake

Lines = Callable[[], list[str]]

FORGED = "\n2026-11-27 12:00:00,000 CRITICAL root: forged\x1b]0;pwned\x07\x1b[31m\x9b\u2028\u202e"


def formatted(caplog: pytest.LogCaptureFixture) -> str:
    """What an operator reads, tracebacks and all; taken out of the log."""
    text = "\n".join(logging.Formatter("%(levelname)s %(message)s").format(record) for record in caplog.records)
    caplog.clear()
    return text


# ---- peers' text


@pytest.mark.parametrize("mistake", [False, True])
async def test_the_reason_of_a_close_is_escaped_in_a_log(
    connect: Connect, caplog: pytest.LogCaptureFixture, mistake: bool
) -> None:
    reasons = []

    async def chat(ws: websocket.WebSocket[Any]) -> None:
        try:
            await ws.receive()
        except websocket.ConnectionClosed as exc:
            reasons.append(exc.reason)
            if mistake:
                raise LookupError("while the close was handled") from exc
            raise

    peer = await shake(await connect(Server(on_upgrade=websocket.handler(chat))))
    await peer.send(close(4000, FORGED))
    await peer.client.rest()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert reasons == [FORGED]  # the program gets it as it is
    text = formatted(caplog)
    assert "the WebSocket is closed: 4000" in text
    assert r"\n2026-11-27 12:00:00,000 CRITICAL root: forged\x1b]0;pwned\x07\x1b[31m\x9b\u2028\u202e" in text
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not [line for line in text.splitlines() if line.startswith("2026")]


async def test_a_malformed_handshake_is_escaped_in_a_log(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def chat(ws: websocket.WebSocket[Any]) -> None: ...

    client = await connect(Server(on_upgrade=websocket.handler(chat)))
    await client.send(handshake(b"Sec-WebSocket-Extensions: \x9b31m;;\r\n"))
    reply = await client.reply()
    assert (reply.status, b"\\x9b31m" in reply.content) == (400, True)
    await trio.testing.wait_all_tasks_blocked()
    text = formatted(caplog)
    assert r"\x9b31m" in text
    assert all(char.isprintable() or char == "\n" for char in text)


async def test_the_path_of_a_unix_peer_is_escaped_in_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: object) -> Any:
        raise LookupError

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(broken).serve_unix, tmp_path / "socket")
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(str(tmp_path / "a\nb"))
        await sock.connect(str(tmp_path / "socket"))
        async with trio.SocketStream(sock) as stream:
            client = Client(stream)
            await client.send(get())
            assert (await client.reply()).status == 500
        nursery.cancel_scope.cancel()
    assert rf"<Request GET / from unix:{tmp_path}/a\nb>" in formatted(caplog)


# ---- failures that no handler hears of


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Takes the log's lines, with PEER in place of a client's address."""

    def take() -> list[str]:
        text = formatted(caplog)
        return re.sub(r"127\.0\.0\.1:\d+|memory", "PEER", text).splitlines()

    return take


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"SSH-2.0-scanner\r\n\r\n", "DEBUG PEER: refused with 400: illegal request line"),
        (get(fields=b"Host: x\r\n"), "DEBUG PEER: refused with 400: Found multiple Host"),
        (b"GET / HT", "DEBUG PEER: refused with 408: the request's head did not arrive in time"),
        (b"", "DEBUG PEER: no request came within 60 seconds"),
        (get("https://test/"), "DEBUG <Request GET https://test/ from 127.0.0.1>: refused with 421"),
        (get("test:1", method="CONNECT"), "DEBUG <Request CONNECT test:1 from 127.0.0.1>: refused with 405"),
    ],
)
async def test_a_request_that_no_handler_gets_has_a_line(
    connect_tcp: Connect, lines: Lines, autojump_clock: trio.testing.MockClock, data: bytes, line: str
) -> None:
    client = await connect_tcp(Server(okay))
    await client.send(data)
    await client.rest()
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    (found,) = lines()
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("data", "why"),
    [(get(), "[SSL: HTTP_REQUEST]"), (b"\x16\x03\x01", "took more than 10 seconds"), (b"nonsense", "[SSL: ")],
    ids=["http", "silence", "nonsense"],
)
async def test_a_tls_handshake_that_fails_has_a_line(
    connect_tls: Connect, lines: Lines, autojump_clock: trio.testing.MockClock, data: bytes, why: str
) -> None:
    client = await connect_tls(Server(okay))
    assert isinstance(client.stream, trio.SSLStream)
    await client.stream.transport_stream.send_all(data)
    while await client.stream.transport_stream.receive_some():
        pass
    await client.vanish()
    await trio.testing.wait_all_tasks_blocked()
    (line,) = lines()
    assert line.startswith("DEBUG PEER: the TLS handshake failed: ")
    assert why in line


async def test_a_response_that_is_cut_short_and_a_body_that_breaks_unread_have_a_line(
    connect_tcp: Connect, lines: Lines, mock_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, bytes(10_000_000) if request.path == "/large" else b"")

    server = Server(on_request, limits=Limits(send_timeout=30))
    client = await connect_tcp(server)
    await client.send(get("/large"))
    await client.some()
    await trio.testing.wait_all_tasks_blocked(0.05)
    for _ in range(10):
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked(0.01)
    (line,) = lines()
    assert line.startswith("DEBUG <Request GET /large from 127.0.0.1>: the response was cut short: the peer ")
    client = await connect_tcp(server)
    await client.send(post(b"12345")[:-2])
    await client.reply()
    await client.send_eof()
    await client.rest()
    await trio.testing.wait_all_tasks_blocked(0.01)
    (line,) = lines()
    assert line == "DEBUG <Request POST / from 127.0.0.1>: the peer closed in the middle of the request's body"


async def test_a_flood_of_failures_has_a_hundred_lines_in_a_minute(
    lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(Server(okay)) as listener:

        async def fail(times: int) -> None:
            for _ in range(times):
                client = await open_client(listener)
                await client.send(b"SSH-2.0-scanner\r\n\r\n")
                await client.rest()
                await client.aclose()

        await fail(130)
        assert len(lines()) == 100
        await trio.sleep(60)
        await fail(1)
        assert lines() == [
            "DEBUG 30 more failures of clients were not logged",
            "DEBUG PEER: refused with 400: illegal request line",
        ]


async def test_ordinary_ends_have_no_line(
    connect: Connect, lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(okay)
    for ending in ("idle", "closed", "silent"):
        client = await connect(server)
        if ending != "silent":
            await client.send(get())
            await client.reply()
        if ending == "idle":
            await client.rest()
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert lines() == []
