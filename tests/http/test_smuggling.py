"""What two recipients may read differently is refused, and no byte after it becomes a request.

An attacker who finds a server and a proxy in front of it disagreeing about where a request ends puts
requests of his own after those of others. So whatever is ambiguous is answered with an error and a
close, however the network cuts it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias

import pytest
import trio
import trio.testing

from trio_upgrade import ProtocolError, Request, Response, Server

from ..support.client import UPGRADE, cuts, serving
from ..support.smuggling import ACCEPTED, AFTER, REFUSED_BODIES, REFUSED_HEADS, Accepted

Open: TypeAlias = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]

Way: TypeAlias = Callable[[Server], AbstractAsyncContextManager[Open]]


class Recorder:
    """A server that remembers every request, and whatever a handler got of it."""

    def __init__(self, *, reads: bool = True) -> None:
        self.seen: list[tuple[str, str | None, bytes | None]] = []
        self.stream = bytearray()
        self._reads = reads
        self.server = Server(self.on_request, on_upgrade=self.on_upgrade, on_connect=self.on_upgrade)

    async def on_request(self, request: Request) -> Response:
        host = request.headers.get("host")
        self.seen.append((request.target, host, None))
        if self._reads:
            self.seen[-1] = (request.target, host, await request.body.read())
        return Response(200)

    async def on_upgrade(self, request: Request, stream: trio.abc.Stream) -> Response | None:
        if "echo" not in request.upgrade:
            return await self.on_request(request)
        self.seen.append((request.target, request.headers["host"], None))
        await request.accept()
        with pytest.raises(ProtocolError):
            async for data in stream:
                self.stream += data
        return None


@contextlib.asynccontextmanager
async def in_memory(server: Server) -> AsyncIterator[Open]:
    async def connect() -> trio.abc.HalfCloseableStream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, theirs)
        return ours

    async def serve(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(ProtocolError):
            await server.serve_stream(stream)

    async with trio.open_nursery() as nursery:
        yield connect


@contextlib.asynccontextmanager
async def over_tcp(server: Server) -> AsyncIterator[Open]:
    async with serving(server) as listener:
        yield partial(trio.testing.open_stream_to_socket_listener, listener)


def some_cuts(data: bytes, most: int) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at about `most` positions, which are others for another length."""
    yield [data]
    if len(data) > 1_000:  # only how much there is matters
        yield [data[:1_000], data[1_000:]]
        return
    yield [data[at : at + 1] for at in range(len(data))]
    every = list(cuts(data))
    step = -(-len(every) // most)
    yield from map(list, every[len(every) % step :: step])


async def answer(connect: Open, packets: list[bytes], *, end: bool = False) -> bytes:
    """All that comes back, up to the server's own close."""
    with trio.fail_after(20):
        async with await connect() as stream:
            try:
                for packet in packets:
                    await stream.send_all(packet)
                    if len(packets) > 1:
                        await trio.testing.wait_all_tasks_blocked()
                if end:
                    await stream.send_eof()
            except trio.BrokenResourceError:
                pass  # answered and closed before it was all sent
            return b"".join([bytes(data) async for data in stream])


def responses(received: bytes) -> int:
    return len(re.findall(rb"HTTP/1\.1 \d{3} ", received))


def check_refusal(received: bytes, status: int) -> None:
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert responses(received) == 1
    assert b"\r\nConnection: close\r\n" in received


WAYS = {"memory": (in_memory, 12), "tcp": (over_tcp, 2)}
ways = pytest.mark.parametrize(("way", "most"), WAYS.values(), ids=WAYS)
bodies = pytest.mark.parametrize(("data", "status"), REFUSED_BODIES.values(), ids=REFUSED_BODIES)


@ways
@pytest.mark.parametrize(("data", "status"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
async def test_an_ambiguous_head_is_refused_and_nothing_after_it_is_a_request(
    way: Way, most: int, data: bytes, status: int
) -> None:
    recorder = Recorder()
    async with way(recorder.server) as connect:
        for packets in some_cuts(data + AFTER, most):
            check_refusal(await answer(connect, packets), status)
    assert recorder.seen == []


@ways
@bodies
async def test_an_ambiguous_body_is_refused_and_nothing_after_it_is_a_request(
    way: Way, most: int, data: bytes, status: int
) -> None:
    recorder = Recorder()
    async with way(recorder.server) as connect:
        for packets in some_cuts(data + AFTER, most):
            check_refusal(await answer(connect, packets), status)
            assert recorder.seen == [("/first", "a", None)]  # its head was fine; its body never came whole
            recorder.seen.clear()


@ways
@bodies
async def test_an_ambiguous_body_that_nobody_reads_ends_the_connection(
    way: Way, most: int, data: bytes, status: int
) -> None:
    recorder = Recorder(reads=False)
    async with way(recorder.server) as connect:
        for packets in some_cuts(data + AFTER, min(most, 3)):
            received = await answer(connect, packets)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert responses(received) == 1
            assert recorder.seen == [("/first", "a", None)]
            recorder.seen.clear()


@ways
@bodies
async def test_nothing_after_an_ambiguous_body_reaches_the_upgraded_stream(
    way: Way, most: int, data: bytes, status: int
) -> None:
    recorder = Recorder()
    head, _, body = data.partition(b"\r\n\r\n")
    upgrade = head + b"\r\n" + UPGRADE + b"\r\n" + body
    async with way(recorder.server) as connect:
        for packets in some_cuts(upgrade + AFTER, min(most, 3)):
            received = await answer(connect, packets)
            assert received.startswith(b"HTTP/1.1 101 ")
            assert responses(received) == 1
            assert recorder.seen == [("/first", "a", None)]
            assert recorder.stream == b""
            recorder.seen.clear()


@ways
@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
async def test_an_unusual_request_that_means_one_thing_is_taken_for_that(way: Way, most: int, case: Accepted) -> None:
    expected: list[tuple[str, str | None, bytes | None]] = [(case.target, case.host, case.body)]
    if not case.closes:
        expected.append(("/second", "a", b""))
    recorder = Recorder()
    async with way(recorder.server) as connect:
        for packets in some_cuts(case.data + AFTER, most):
            received = await answer(connect, packets, end=True)
            assert received.count(b"HTTP/1.1 200 ") == len(expected)
            assert recorder.seen == expected
            recorder.seen.clear()


def test_the_corpus_is_large_and_no_request_is_in_it_twice() -> None:
    requests = [data for data, _ in (*REFUSED_HEADS.values(), *REFUSED_BODIES.values())]
    assert len(set(requests)) == len(requests) >= 400
    assert {status for _, status in (*REFUSED_HEADS.values(), *REFUSED_BODIES.values())} == {400, 414, 431, 501, 505}
