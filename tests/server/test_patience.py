"""Peers that read slowly, and those that have vanished."""

from __future__ import annotations

import socket
import time

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server
from trio_upgrade._patience import FLOOR_RATE, MOST_EXTRA, Patience, Progress

from ..support.client import Connect, get, open_client, serving, upgrade

MEGABYTE = 10**6


# ---- the arithmetic


def test_a_host_that_acknowledges_nothing_has_stalled_after_the_timeout() -> None:
    progress = Progress(60, 1000, now=0)
    assert not progress.has_stalled(1000, now=59)
    assert progress.has_stalled(1000, now=60)


def test_every_byte_that_is_acknowledged_begins_the_time_anew() -> None:
    progress = Progress(60, 1000, now=0)
    assert not progress.has_stalled(999, now=59)
    assert not progress.has_stalled(999, now=118)
    assert progress.has_stalled(999, now=119)


def test_what_this_side_sends_does_not() -> None:
    progress = Progress(60, 1000, now=0)
    assert not progress.has_stalled(2000, now=59)
    assert progress.has_stalled(2000, now=60)


def test_a_short_timeout_counts_as_thirty_seconds_where_the_kernel_tells() -> None:
    assert not Progress(1, 1000, now=0).has_stalled(1000, now=29)
    assert Progress(1, 1000, now=0).has_stalled(1000, now=30)
    assert Progress(1, None, now=0).has_stalled(None, now=1)


def test_a_peer_gets_time_for_what_it_may_still_have_to_read() -> None:
    patience = Patience(2, 60, 10 * FLOOR_RATE, unacknowledged=0, now=0)
    assert not patience.is_over(0, now=11)
    assert patience.is_over(0, now=12)


def test_that_time_has_a_bound() -> None:
    patience = Patience(2, 60, 10**12, unacknowledged=0, now=0)
    assert patience.deadline == 2 + MOST_EXTRA


def test_that_time_begins_when_all_is_acknowledged() -> None:
    patience = Patience(2, 60, 10 * FLOOR_RATE, unacknowledged=1000, now=0)
    for now in range(0, 1000, 50):
        assert not patience.is_over(1000 - now, now)
    assert not patience.is_over(0, now=1000)
    assert not patience.is_over(0, now=1011)
    assert patience.is_over(0, now=1012)


def test_a_host_that_stalls_ends_it() -> None:
    patience = Patience(2, None, 10 * FLOOR_RATE, unacknowledged=1000, now=0)
    assert not patience.is_over(1000, now=59)
    assert patience.is_over(1000, now=60)


def test_where_nobody_knows_what_is_acknowledged_the_time_begins_at_once() -> None:
    patience = Patience(2, 60, 10 * FLOOR_RATE, unacknowledged=None, now=0)
    assert not patience.is_over(None, now=11)
    assert patience.is_over(None, now=12)


# ---- with the system's own buffers


def read_slowly(sock: socket.socket, rate: int, pause: float) -> bytes:
    """Read to the end, so many bytes a second, after a pause; send a little all the time, as a terminal does."""
    received = b""
    time.sleep(pause)
    while True:
        sock.send(b"tick")
        data = sock.recv(65536)
        if not data:
            return received
        received += data
        time.sleep(len(data) / rate)


@pytest.mark.parametrize("way", ["response", "upgrade"])
async def test_a_peer_that_reads_slowly_gets_all_of_it(way: str) -> None:
    """The server has long sent it and closes; `linger_timeout` is over many times."""
    content = bytes(10 * MEGABYTE) + b"THE END"

    async def on_request(request: Request) -> Response:
        return Response(200, content, {"Connection": "close"})

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all(content)

    server = Server(on_request, on_upgrade=on_upgrade, limits=Limits(linger_timeout=0.05))
    async with serving(server) as listener:
        client = await open_client(listener)
        assert isinstance(client.stream, trio.SocketStream)
        await client.send(upgrade() if way == "upgrade" else get())
        await client.head(101 if way == "upgrade" else 200)
        sock = socket.socket(fileno=client.stream.socket.detach())
        sock.setblocking(True)
        with sock:
            received = await trio.to_thread.run_sync(read_slowly, sock, 10 * MEGABYTE, 0)
    assert len(received) + 65536 > len(content)
    assert received.endswith(b"THE END")


async def test_a_peer_that_pauses_before_it_reads_what_its_host_has_acknowledged_gets_all_of_it() -> None:
    content = bytes(60_000) + b"THE END"

    async def on_request(request: Request) -> Response:
        return Response(200, content, {"Connection": "close"})

    async with serving(Server(on_request, limits=Limits(linger_timeout=0.05))) as listener:
        client = await open_client(listener)
        assert isinstance(client.stream, trio.SocketStream)
        await client.send(get())
        sock = socket.socket(fileno=client.stream.socket.detach())
        sock.setblocking(True)
        with sock:
            received = await trio.to_thread.run_sync(read_slowly, sock, MEGABYTE, 1)
    assert received.endswith(b"THE END")


async def test_a_peer_that_reads_nothing_and_stays_is_dropped_at_last(
    connect_tcp: Connect, mock_clock: trio.testing.MockClock
) -> None:
    ended = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(10 * MEGABYTE))
            await trio.testing.wait_all_tasks_blocked(0.1)
            nursery.cancel_scope.cancel()
        await stream.aclose()
        ended.set()

    client = await connect_tcp(Server(on_upgrade=handler))
    await client.send(upgrade())
    await client.head(101)
    await trio.testing.wait_all_tasks_blocked(0.2)
    for _ in range(50):
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.001)
    assert not ended.is_set()
    for _ in range(50):
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.001)
    assert ended.is_set()
