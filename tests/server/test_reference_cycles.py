"""What a connection has held is freed when it ends, and not when the garbage collector finds it.

An exception that is kept in a local variable, or in an attribute, makes a cycle: its traceback leads to the frame, and
that holds the request, the response and its content.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server, UpgradedStream, websocket
from trio_upgrade.websocket import ConnectionClosed, WebSocket

from ..support.client import Connect, get, open_client, post_head, reset, serving, upgrade
from ..support.websocket_client import handshake, text


class Content:
    """Streamed content without an end.

    Args:
      pause: after each piece, in seconds.
    """

    def __init__(self, pause: float = 0) -> None:
        self._pause = pause

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**16)
            await trio.sleep(self._pause)


KINDS = (Request, Response, Content, UpgradedStream, WebSocket)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The garbage collector finds nothing during the test."""
    monkeypatch.setattr(logging.getLogger("trio_upgrade"), "disabled", True)  # pytest keeps what is logged
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def count() -> Counter[str]:
    return Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in KINDS)


def make_server(file: Path, limits: Limits | None = None) -> Server:
    async def on_request(request: Request) -> Response:
        if request.path == "/late":
            await trio.sleep(0.01)
        elif request.path == "/body":
            await request.body.read()
        elif request.path == "/bodies":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.body.read)
        elif request.path == "/raise":
            raise LookupError
        elif request.path == "/file":
            return Response.file(file)
        elif request.path == "/stream":
            return Response(200, Content())
        elif request.path == "/events":
            return Response(200, Content(pause=1000))
        elif request.path == "/disconnect":
            with request.cancel_on_disconnect():
                await trio.sleep_forever()
        elif request.path == "/wait":
            await trio.sleep_forever()
        return Response(200, bytes(2**23))

    async def chat(ws: WebSocket[str | bytes]) -> None:
        async for message in ws:
            while message == "flood":
                await ws.send(bytes(2**16))
            if message == "wait":
                await ws.wait_closed()

    chatting = websocket.handler(chat)

    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        if request.upgrade == ("websocket",):
            await chatting(request, stream)
            return
        if request.path == "/raise":
            raise LookupError
        await request.accept()
        while request.path == "/flood":
            await stream.send_all(bytes(2**16))
        await stream.receive_some()

    async def should_upgrade(request: Request) -> bool:
        if request.path == "/undecided":
            raise LookupError
        return True

    return Server(on_request, on_upgrade=on_upgrade, should_upgrade=should_upgrade, limits=limits)


WHEN = {
    "before a response": get("/late"),
    "in a response": get("/"),
    "in a stream": get("/stream"),
    "in a stream that pauses": get("/events"),
    "in a file": get("/file"),
    "while a handler waits for it": get("/disconnect"),
    "after a malformed body": get("/body", b"Transfer-Encoding: chunked\r\n", "POST") + b"zz\r\n",
    "in a body": post_head(100, target="/body"),
    "in a body that another task reads": post_head(100, target="/bodies"),
    "after an error": get("/raise"),
    "while an upgraded stream is read": upgrade(target="/read"),
    "while an upgraded stream is written": upgrade(target="/flood"),
    "after an error of an upgrade": upgrade(target="/raise"),
    "after an error of the decision": upgrade(target="/undecided"),
    "while a WebSocket receives": handshake(),
    "while a WebSocket sends": handshake() + text("flood"),
    "while a WebSocket's handler waits for the end": handshake() + text("wait"),
    "after a WebSocket's violation": handshake() + b"\xff\xff",
}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    file = tmp_path / "file"
    file.write_bytes(bytes(2**23))
    return make_server(file)


@pytest.mark.parametrize("sent", WHEN.values(), ids=WHEN)
async def test_a_reset_frees_what_the_connection_held(sent: bytes, server: Server, connect_socket: Connect) -> None:
    before = count()
    for _ in range(10):
        client = await connect_socket(server)
        await client.send(sent)
        await trio.testing.wait_all_tasks_blocked(0.005)
        reset(client)
        while server.statistics().open:
            await trio.lowlevel.checkpoint()
    assert count() == before


@pytest.mark.parametrize("sent", [*WHEN.values(), get("/wait")], ids=[*WHEN, "while a handler waits"])
async def test_the_end_of_the_server_frees_what_its_connections_held(sent: bytes, server: Server) -> None:
    before = count()
    async with serving(server) as listener:
        clients = [await open_client(listener) for _ in range(3)]
        for client in clients:
            await client.send(sent)
        await trio.testing.wait_all_tasks_blocked(0.005)
    for client in clients:
        await client.aclose()
    assert count() == before


async def test_a_body_that_comes_too_late_is_freed(tmp_path: Path, connect_socket: Connect) -> None:
    server = make_server(tmp_path, Limits(request_timeout=0.02))
    before = count()
    for path in ("/body", "/bodies"):
        client = await connect_socket(server)
        await client.send(post_head(100, target=path))
        assert (await client.reply()).status == 408
        await client.aclose()
        while server.statistics().open:
            await trio.lowlevel.checkpoint()
    assert count() == before


@pytest.mark.parametrize("when", [when for when in WHEN if when.startswith("after")])
async def test_serve_stream_keeps_nothing_of_a_handler_whose_error_it_raises(when: str, server: Server) -> None:
    before = count()
    for _ in range(3):
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(WHEN[when])
        await ours.send_eof()
        with pytest.raises((LookupError, trio.BrokenResourceError, ConnectionClosed)):
            await server.serve_stream(theirs)
    assert count() == before
