"""The body first, then the stream, and never a byte of one in the other."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_upgrade import ProtocolError, Request, Server

from ..support.client import Client, Connect, chunked, connect_memory, cuts, echo, get, okay, reset, upgrade

AFTER = b"\r\n0\r\n\r\nfirst bytes"  # looks like the end of a chunked body, and is not
LARGE = bytes(range(256)) * 1200  # 300 KB: more than the receive size, and than a socket's buffer holds


@dataclass
class Case:
    """A request body: its field, as it goes over the wire, and what it says."""

    fields: bytes
    wire: bytes
    content: bytes


CASES = {
    "no body": Case(b"", b"", b""),
    "content-length 0": Case(b"Content-Length: 0\r\n", b"", b""),
    "content-length": Case(b"Content-Length: 11\r\n", b"hello world", b"hello world"),
    "chunked": Case(b"Transfer-Encoding: chunked\r\n", chunked(b"hello", b" ", b"world"), b"hello world"),
    "chunked, empty": Case(b"Transfer-Encoding: chunked\r\n", chunked(), b""),
    "extensions and trailers": Case(
        b"Transfer-Encoding: chunked\r\n",
        chunked(b"hello", b" world", extension=b';a="b; c";d', trailers=b"X-Sum: 1\r\nX-More: 2\r\n"),
        b"hello world",
    ),
}
LARGE_CASES = {
    "large content-length": Case(b"Content-Length: %d\r\n" % len(LARGE), LARGE, LARGE),
    "large chunked": Case(
        b"Transfer-Encoding: chunked\r\n", chunked(LARGE[:100_000], LARGE[100_000:100_001], LARGE[100_001:]), LARGE
    ),
}


@dataclass
class Seen:
    """What a handler read."""

    body: bytes = b""
    stream: bytes = b""
    errors: list[str] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)


Handler = Callable[[Request, trio.abc.Stream], Awaitable[None]]


def body_first(seen: Seen) -> Handler:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        seen.body = await request.body.read()
        await request.accept()
        async for data in stream:
            seen.stream += data
        assert await request.body.receive_some() == b""
        seen.done.set()

    return handler


def stream_first(seen: Seen) -> Handler:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async for data in stream:
            seen.stream += data
        await refuses_body(request, seen)

    return handler


def body_partly(seen: Seen) -> Handler:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        seen.body = await request.body.receive_some(4)
        async for data in stream:
            seen.stream += data
        await refuses_body(request, seen)

    return handler


async def refuses_body(request: Request, seen: Seen) -> None:
    """A body of which something was discarded cannot be read any more; a finished one ends."""
    try:
        assert await request.body.receive_some() == b""
    except trio.ClosedResourceError:
        seen.errors.append("closed")
    seen.done.set()


def expected_body(make: Callable[[Seen], Handler], case: Case, got: bytes) -> bytes:
    if make is body_first:
        return case.content
    if make is stream_first:
        return b""
    assert got or not case.content
    return case.content[: len(got)]  # as much as one read gave: 1 to 4 bytes


MODES = [body_first, stream_first, body_partly]


async def check(connect: Connect, make: Callable[[Seen], Handler], case: Case, packets: list[bytes]) -> None:
    seen = Seen()
    client = await connect(Server(on_upgrade=make(seen)))
    await client.send(*packets)
    await client.send_eof()
    with trio.fail_after(5):
        await seen.done.wait()
    assert seen.body == expected_body(make, case, seen.body)
    assert seen.stream == AFTER
    ended = make is body_first or not case.wire or (make is body_partly and not case.content)
    assert seen.errors == ([] if ended else ["closed"])
    assert (await client.reply()).status == 101
    assert await client.rest() == b""


@pytest.mark.parametrize("make", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_the_stream_begins_after_the_body(connect: Connect, make: Callable[[Seen], Handler], case: Case) -> None:
    request = upgrade(case.fields, case.wire)
    await check(connect, make, case, [request + AFTER])  # body and first protocol bytes in one packet
    await check(connect, make, case, [upgrade(case.fields), case.wire, AFTER])


@pytest.mark.parametrize("make", MODES)
@pytest.mark.parametrize("case", LARGE_CASES.values(), ids=LARGE_CASES)
async def test_a_body_larger_than_every_buffer(connect: Connect, make: Callable[[Seen], Handler], case: Case) -> None:
    await check(connect, make, case, [upgrade(case.fields, case.wire) + AFTER])


@pytest.mark.parametrize("make", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_request_cut_in_two_at_every_position(
    nursery: trio.Nursery, make: Callable[[Seen], Handler], case: Case
) -> None:
    for packets in cuts(upgrade(case.fields, case.wire) + AFTER):
        await check(lambda server: connect_memory(nursery, server), make, case, list(packets))


@pytest.mark.parametrize("make", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_request_one_byte_at_a_time(connect: Connect, make: Callable[[Seen], Handler], case: Case) -> None:
    data = upgrade(case.fields, case.wire) + AFTER
    await check(connect, make, case, [data[at : at + 1] for at in range(len(data))])


# ---- bodies that break


BROKEN = {
    "size": b"xyz\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "prefixed size": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size too large": b"11111111111111111\r\nhello\r\n0\r\n\r\n",
    "control character in an extension": b"5;a\x01b\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "trailer without a colon": b"5\r\nhello\r\n0\r\nsum\r\n\r\n",
    "trailer with space before the colon": b"5\r\nhello\r\n0\r\nsum : 1\r\n\r\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nsum: 1\r\n 2\r\n\r\n",
    "bare LF in a trailer": b"5\r\nhello\r\n0\r\nsum: 1\n\r\n\r\n",
    "endless chunk line": b"5;" + b"a" * 20_000,
    "endless trailer": b"0\r\n" + b"a: b\r\n" * 5_000,
    "too many trailers": b"0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
}


async def reads_nothing(request: Request, stream: trio.abc.Stream, read_body: bool) -> None:
    """Both the body and the stream raise, at every attempt, and give nothing from after the break."""
    reads: list[Callable[[], Awaitable[bytes | bytearray]]] = [stream.receive_some, stream.receive_some]
    if read_body:
        reads[0] = request.body.read
    for read in reads:
        with pytest.raises(ProtocolError) as caught:
            await read()
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert b"hello" not in str(caught.value).encode()


@pytest.mark.parametrize("read_body", [True, False], ids=["body", "stream"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_a_body_that_breaks_after_the_upgrade(connect: Connect, broken: bytes, read_body: bool) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await reads_nothing(request, stream, read_body)

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\n", broken + AFTER))
    assert (await client.reply()).status == 101
    assert await client.rest() == b""  # at once: nobody waits for the end to see what is wrong


async def test_a_bare_lf_in_a_trailer_is_refused_as_soon_as_it_is_seen(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await reads_nothing(request, stream, True)

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\n", b"0\r\nsum: 1\n\n"))
    assert (await client.reply()).status == 101
    assert await client.rest() == b""


@pytest.mark.parametrize("read_body", [True, False], ids=["body", "stream"])
@pytest.mark.parametrize("name", ["content-length", "extensions and trailers"])
async def test_a_body_that_is_cut_off_at_any_position(nursery: trio.Nursery, name: str, read_body: bool) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await reads_nothing(request, stream, read_body)

    case = CASES[name]
    for at in range(len(case.wire)):
        client = await connect_memory(nursery, Server(on_upgrade=handler))
        await client.send(upgrade(case.fields, case.wire[:at]))
        await client.send_eof()
        assert (await client.reply()).status == 101
        assert await client.rest() == b""


async def test_a_peer_that_resets_in_the_middle_of_the_body(connect_tcp: Connect) -> None:
    started = trio.Event()
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        assert await request.body.receive_some() == b"12"
        started.set()
        await reads_nothing(request, stream, True)
        done.set()

    client = await connect_tcp(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 5\r\n", b"12"))
    await started.wait()
    reset(client)
    await done.wait()


async def test_a_broken_body_of_an_unanswered_upgrade_is_answered_with_400(
    connect: Connect, logged: Callable[[], list[str]]
) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.body.read()

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Transfer-Encoding: chunked\r\n", b"x\r\n"))
    reply = await client.reply()
    assert (reply.status, reply.closes) == (400, True)
    assert logged() == ["DEBUG ProtocolError"]


# ---- two readers


@pytest.mark.parametrize("first", ["body", "stream"])
@pytest.mark.parametrize("second", ["body", "stream"])
async def test_a_second_reader_is_refused(connect: Connect, first: str, second: str) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        reads = {"body": request.body.receive_some, "stream": stream.receive_some}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reads[first])
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await reads[second]()
            nursery.cancel_scope.cancel()
        await stream.send_all(b"refused")

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 5\r\n"))
    assert (await client.reply()).status == 101
    assert await client.exactly(7) == b"refused"


async def test_a_second_reader_of_the_live_stream_is_refused(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive_some()
            nursery.cancel_scope.cancel()
        await stream.send_all(b"refused")

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    assert await client.exactly(7) == b"refused"


async def test_the_body_can_be_read_while_another_task_sends(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async for part in request.body:
            await stream.send_all(bytes(part).upper())

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 4\r\n"))
    assert (await client.reply()).status == 101
    await client.send(b"ab")
    assert await client.exactly(2) == b"AB"
    await client.send(b"cd")
    assert await client.exactly(2) == b"CD"


# ---- any body, cut anyhow, read anyhow, with reads cancelled at any moment


@st.composite
def bodies(draw: st.DrawFn) -> Case:
    content = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        return Case(b"Content-Length: %d\r\n" % len(content), content, content)
    chunks, at = [], 0
    while at < len(content):
        size = draw(st.integers(1, 20))
        chunks.append(content[at : at + size])
        at += size
    extension = draw(st.sampled_from([b"", b";a", b';a="x y"', b"; a = b"]))
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"]))
    return Case(b"Transfer-Encoding: chunked\r\n", chunked(*chunks, extension=extension, trailers=trailers), content)


async def read_despite_cancellations(
    read: Callable[[int], Awaitable[bytes | bytearray]], sizes: Iterator[int], patience: Iterator[int]
) -> bytes:
    """Call `read` until it gives something, cancelling each call after a number of checkpoints."""
    result: list[bytes] = []

    async def attempt(size: int) -> None:
        result.append(bytes(await read(size)))

    while not result:
        checkpoints = next(patience, None)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt, next(sizes, 7))
                if checkpoints is not None:
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
    return result[0]


@settings(max_examples=300, deadline=None)
@given(
    case=bodies(),
    after=st.binary(max_size=40),
    packet_sizes=st.lists(st.integers(1, 80), max_size=40),
    sizes=st.lists(st.integers(1, 50), max_size=20),
    patience=st.lists(st.integers(0, 9), max_size=30),
    read_body=st.integers(0, 3),
    accept_first=st.booleans(),
)
def test_not_a_byte_is_lost_or_doubled(
    case: Case,
    after: bytes,
    packet_sizes: list[int],
    sizes: list[int],
    patience: list[int],
    read_body: int,
    accept_first: bool,
) -> None:
    body, stream_data = bytearray(), bytearray()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        next_size, next_patience = iter(sizes), iter(patience)
        if accept_first:
            await request.accept()
        for _ in range(read_body if read_body < 3 else 1000):
            part = await read_despite_cancellations(request.body.receive_some, next_size, next_patience)
            body.extend(part)
            if not part:
                break
        while part := await read_despite_cancellations(stream.receive_some, next_size, next_patience):
            stream_data.extend(part)
        if not accept_first:
            await request.accept()

    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        data = upgrade(case.fields, case.wire) + after
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(on_upgrade=handler).serve_stream, theirs)
            for size in packet_sizes:
                await ours.send_all(data[:size])
                data = data[size:]
            await ours.send_all(data)
            await ours.send_eof()
            received = b""
            async for part in ours:
                received += part
            assert received.startswith(b"HTTP/1.1 101 ")

    trio.run(main)
    assert stream_data == after
    assert body == case.content[: len(body)]
    if read_body == 3:
        assert body == case.content


# ---- what the stream costs


async def test_the_stream_adds_no_task_and_reads_nothing_unasked(connect_tcp: Connect) -> None:
    accepted, go_on, done = trio.Event(), trio.Event(), trio.Event()
    sockets: list[socket.socket] = []
    tasks: list[int] = []

    def count() -> None:
        tasks.append(trio.lowlevel.current_statistics().tasks_living)

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        assert isinstance(request.transport.socket, socket.socket)
        sockets.append(request.transport.socket)
        count()
        await request.accept()
        accepted.set()
        await go_on.wait()
        assert await stream.receive_some(4) == b"1234"
        count()
        done.set()
        await trio.sleep_forever()

    client = await connect_tcp(Server(on_upgrade=handler))
    await client.send(upgrade())
    await accepted.wait()
    await client.send(b"1234567890")
    await trio.testing.wait_all_tasks_blocked()
    assert unread(sockets[0]) == 10
    go_on.set()
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert unread(sockets[0]) == 6
    assert tasks[0] == tasks[1]


def unread(sock: socket.socket) -> int:
    """How many bytes the kernel holds for a socket."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_live_data_is_not_copied(connect_memory: Connect) -> None:
    """What the transport's read returned is the very object that the handler gets."""
    objects: list[object] = []

    class Observed(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            data = bytes(await self._stream.receive_some(max_bytes))
            objects.append(data)
            return data

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            objects.append(data)
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        data = await stream.receive_some()
        assert data is objects[-1]
        await stream.send_all(data)
        assert data is objects[-1]
        await stream.aclose()

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(on_upgrade=handler).serve_stream, Observed(theirs))
        client = Client(ours)
        await client.send(upgrade())
        assert (await client.reply()).status == 101
        await client.send(b"data")
        assert await client.rest() == b"data"


async def test_many_tiny_chunks_do_not_hold_others_up(connect_memory: Connect) -> None:
    """60,000 bytes of one-byte chunks arrive at once; each is a turn for the other connections."""
    server = Server(okay, on_upgrade=echo)
    one, other = await connect_memory(server), await connect_memory(server)
    await one.send(upgrade(b"Transfer-Encoding: chunked\r\n", chunked(*[b"x"] * 10_000) + b"end"))
    await other.send(get())
    assert (await one.reply()).status == 101
    assert (await other.reply()).status == 200
    assert await one.exactly(3) == b"end"
