"""What a hostile peer may cost, and an idle one."""

from __future__ import annotations

import gc
import os
import resource
import socket
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Server, websocket

from ..support.client import open_client, serving
from ..support.longest_step import longest_step
from ..support.websocket_client import (
    BINARY,
    CONTINUATION,
    OFFER,
    PING,
    PONG,
    RSV1,
    TEXT,
    Busy,
    Message,
    Recorder,
    close,
    frame,
    handshake,
    server_of,
    shake,
    text,
)

MEBIBYTE = 2**20


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """How many bytes were allocated at most inside."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


FLOODS = {
    "empty messages": frame(TEXT) * 20_000,
    "tiny messages": text("x") * 20_000,
    "pings": frame(PING) * 20_000,
    "pongs": frame(PONG, b"unasked for") * 20_000,
    "empty fragments": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 20_000 + frame(CONTINUATION),
    "tiny fragments": frame(TEXT, fin=False) + frame(CONTINUATION, b"x", fin=False) * 20_000 + frame(CONTINUATION),
}
floods = pytest.mark.parametrize("flood", FLOODS.values(), ids=[name.replace(" ", "_") for name in FLOODS])


@floods
@pytest.mark.parametrize("receives", [True, False])
async def test_a_flood_holds_nobody_up_for_long(flood: bytes, receives: bool) -> None:
    handlers: list[Any] = []

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        handlers.append(Recorder() if receives else Busy())
        await handlers[-1](ws)

    async with serving(server_of(handler)) as listener:
        peer = await shake(await open_client(listener))
        with longest_step() as longest:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, flood + close())
                with trio.fail_after(20):
                    if receives:
                        async for _ in peer.stream:
                            pass
                    else:
                        await trio.sleep(1)  # it is read ahead until the buffer is full
                nursery.cancel_scope.cancel()
        assert longest.seconds < 0.05
        await peer.aclose()


@floods
async def test_a_flood_takes_no_memory_while_nobody_receives(
    flood: bytes, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy()
    async with serving(server_of(busy)) as listener:
        peer = await shake(await open_client(listener))
        await busy.opened.wait()
        data = flood * 5
        with peak_memory() as peak:
            nursery.start_soon(peer.stream.send_all, data)
            for _ in range(10):
                await trio.sleep(1)
        assert peak[0] < 2 * MEBIBYTE
        nursery.cancel_scope.cancel()
        await peer.aclose()


async def test_a_flood_of_pings_takes_no_memory_while_its_sender_does_not_read() -> None:
    recorder = Recorder()
    async with serving(server_of(recorder, send_buffer=100_000)) as listener:
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)
        peer = await shake(await open_client(listener))
        await recorder.opened.wait()
        data = frame(PING, bytes(125)) * 40_000
        with peak_memory() as peak:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, data)
                await trio.testing.wait_all_tasks_blocked(0.1)
                nursery.cancel_scope.cancel()
        assert peak[0] < 2 * MEBIBYTE
        await peer.aclose()


async def test_a_broadcast_takes_the_memory_of_the_send_buffer() -> None:
    recorder = Recorder()
    async with serving(server_of(recorder, send_buffer=MEBIBYTE)) as listener:
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)
        peer = await shake(await open_client(listener))
        await recorder.opened.wait()
        with peak_memory() as peak:
            while recorder.ws.close_code is None:
                websocket.broadcast([recorder.ws], bytes(10_000))
        assert recorder.ws.close_code == 1013
        assert peak[0] < 1.5 * MEBIBYTE
        await peer.aclose()


async def test_many_small_messages_inflated_hold_nobody_up_for_long() -> None:
    """Each is a megabyte in a kilobyte."""
    recorder = Recorder()
    packed = deflated(bytes(MEBIBYTE - 1))
    async with serving(server_of(recorder, compression="deflate")) as listener:
        peer = await shake(await open_client(listener), OFFER)
        with longest_step() as longest:
            await peer.send(frame(BINARY, packed, rsv=RSV1) * 60 + close())
            assert await peer.close_code() == 1000
        assert longest.seconds < 0.05
        await peer.aclose()
    assert len(recorder.messages) == 60


EMOJI = ("a" * (MEBIBYTE - 100) + "\U0001f600").encode()
PINNING = {
    "an unfinished message": frame(BINARY, deflated(bytes(MEBIBYTE - 100)), rsv=RSV1, fin=False),
    "an unfinished text": frame(TEXT, deflated(EMOJI), rsv=RSV1, fin=False),
    "a message": frame(BINARY, deflated(bytes(MEBIBYTE - 100)), rsv=RSV1),
    "a text": frame(TEXT, deflated(EMOJI), rsv=RSV1),
    "texts": frame(TEXT, deflated(EMOJI), rsv=RSV1) * 20,
    "texts that are not compressed": text("a" * 16_000 + "\U0001f600") * 8,
}


@pytest.mark.parametrize("data", PINNING.values(), ids=PINNING)
@pytest.mark.parametrize("compression", ["deflate", "deflate-takeover"])
async def test_what_a_peer_sends_takes_no_more_memory_than_it_has_sent(
    autojump_clock: trio.testing.MockClock, data: bytes, compression: str
) -> None:
    """While its handler is busy: a kilobyte is no megabyte, and a text no `str` of four bytes a character."""
    busy = Busy()
    async with serving(server_of(busy, compression=compression)) as listener:
        peer = await shake(await open_client(listener), OFFER)
        await busy.opened.wait()
        await trio.sleep(1)
        tracemalloc.start()
        try:
            await peer.stream.send_all(data)
            await trio.sleep(2)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert busy.ws.close_code is None
        assert held < 200 * 1024, held
        await peer.aclose()


# ---- idle connections

CONNECTIONS = 800
BROWSERS = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
FORGETFUL = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
COMPRESSED = frame(TEXT, deflated(b"hello " * 200), rsv=RSV1)
COMPRESSED_LARGE = frame(TEXT, deflated(b"hello " * 10_000), rsv=RSV1)
LARGE = frame(BINARY, bytes(200_000), key=bytes(4))
SERVER = """
import sys
import trio
from trio_upgrade import Server, websocket

async def listen(ws):
    async for message in ws:
        del message
        await ws.send("long enough to be compressed; " * 50)
        await ws.send("taken")

async def main():
    on_upgrade = websocket.handler(listen, compression=sys.argv[1] or None)
    server = Server(on_upgrade=on_upgrade, should_upgrade=websocket.is_handshake)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        print(listener.socket.getsockname()[1], flush=True)

trio.run(main)
"""


def resident(pid: int) -> int:
    """How many bytes of memory a process has in use."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def open_socket(port: int, offer: bytes, after: bytes) -> socket.socket:
    """A WebSocket that has sent one message, whose answer was read."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.sendall(handshake(offer) + after)
    received = b""
    while b"taken" not in received:
        received += sock.recv(4096)
    return sock


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, which only Linux has")
@pytest.mark.parametrize(
    ("compression", "offer", "message", "kilobytes"),
    [
        ("", OFFER, text("x"), 10),
        ("", OFFER, LARGE, 10),
        ("", OFFER, frame(BINARY, bytes(60_000)) + text("more")[:1], 10),
        ("deflate", FORGETFUL, COMPRESSED, 10),
        ("deflate", BROWSERS, COMPRESSED_LARGE, 15),
        ("deflate", OFFER, COMPRESSED_LARGE, 45),
        ("deflate-takeover", BROWSERS, COMPRESSED_LARGE, 60),
        ("deflate-takeover", OFFER, COMPRESSED_LARGE, 90),
    ],
    ids=["small", "large", "begun", "forgetful", "deflate", "full window", "takeover", "takeover, full window"],
)
def test_an_idle_connection_takes_little_memory(compression: str, offer: bytes, message: bytes, kilobytes: int) -> None:
    """Whatever it has received. What the client may still refer to is kept."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it takes memory
    command = [sys.executable, "-c", SERVER, compression]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=plain)
    sockets = []
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        sockets += [open_socket(port, offer, message) for _ in range(50)]  # what is needed once
        before = resident(process.pid)
        sockets += [open_socket(port, offer, message) for _ in range(CONNECTIONS)]
        after = resident(process.pid)
    finally:
        for sock in sockets:
            sock.close()
        process.terminate()
        process.communicate()
    assert (after - before) / CONNECTIONS < kilobytes * 1024


# ---- connections that are gone


@pytest.mark.parametrize(
    "end",
    [
        close(),
        close(4000),
        b"",
        text("x") + frame(15),
        frame(15),
        frame(TEXT, b"\xff"),
        text("x") + close() + text("y"),
    ],
)
@pytest.mark.parametrize("receives", ["at once", "late", "never"])
async def test_a_websocket_that_is_gone_leaves_nothing_for_the_garbage_collector(
    end: bytes, receives: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Its memory is free at once."""

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        if receives != "at once":
            await trio.sleep(1)  # meanwhile it is read ahead
        try:
            while receives != "never":
                await ws.receive()
        except (trio.EndOfChannel, websocket.ConnectionClosed):
            pass

    async with serving(server_of(handler, close_timeout=2)) as listener:
        gc.collect()
        before = {id(thing) for thing in gc.get_objects()}
        gc.disable()
        try:
            for _ in range(3):
                peer = await shake(await open_client(listener), after=end)
                if end:
                    await peer.client.rest()
                await peer.aclose()
            await trio.sleep(10)  # until the server has done with all of them
            left = [thing for thing in gc.get_objects() if isinstance(thing, websocket.WebSocket)]
            assert [ws for ws in left if id(ws) not in before] == []
        finally:
            gc.enable()


async def test_a_websocket_whose_close_was_cancelled_is_forgotten() -> None:
    left = trio.Event()

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        with trio.move_on_after(0.01) as scope:
            async with websocket.accept(request, stream):
                pass  # the peer does not answer the close
        assert scope.cancelled_caught
        left.set()

    async with serving(Server(on_upgrade=on_upgrade)) as listener:
        gc.collect()
        before = {id(thing) for thing in gc.get_objects()}
        peer = await shake(await open_client(listener))
        await left.wait()
        await peer.client.rest()
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()
        left_over = [thing for thing in gc.get_objects() if isinstance(thing, websocket.WebSocket)]
        assert [ws for ws in left_over if id(ws) not in before] == []
