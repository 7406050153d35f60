"""What peers write into logs, and what operators learn of peers that fail before there is a request."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Server, websocket

from ..support.client import Client, Connect, get
from ..support.websocket_client import close, handshake, shake

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
