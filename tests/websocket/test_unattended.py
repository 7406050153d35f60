"""While the application is busy elsewhere: pings, closes, and what is read ahead."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Server, websocket

from ..support.client import Client, Connect, open_client, serving
from ..support.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Busy,
    Frame,
    Message,
    Peer,
    Recorder,
    close,
    echo,
    frame,
    open_peer,
    server_of,
    shake,
    text,
)

HALF_A_SECOND = 0.5
ROOM = 2**16  # of the receive buffer, by default


async def lockstep_peer(nursery: trio.Nursery, server: Server) -> Peer:
    """A peer on a stream that buffers nothing: what it has sent, the server has read."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    return await shake(Client(ours))


async def send_until_stuck(peer: Peer, data: bytes, most: int) -> int:
    """Send the data again and again, while the server reads on; how often it was sent."""
    for sent in range(most):
        with trio.move_on_after(2) as scope:
            await peer.stream.send_all(data)
        if scope.cancelled_caught:
            return sent
    return most


async def discard(peer: Peer) -> None:
    """Read what comes, and answer nothing."""
    with suppress(trio.ClosedResourceError):
        await peer.client.rest()


class Stopwatch:
    """Seconds since it was made, or last looked at."""

    def __init__(self) -> None:
        self._last = trio.current_time()

    def lap(self) -> float:
        before, self._last = self._last, trio.current_time()
        return self._last - before


async def test_pings_are_answered(connect_memory: Connect, autojump_clock: trio.testing.MockClock) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy)
    await busy.opened.wait()
    for number in range(20):
        watch = Stopwatch()
        await peer.send(frame(PING, b"%d" % number))
        assert await peer.frame() == Frame(PONG, b"%d" % number)
        assert watch.lap() <= HALF_A_SECOND
        await trio.sleep(number / 7)


@pytest.mark.parametrize("code", [1000, 1001, None, 3000])
async def test_a_close_is_completed(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, code: int | None
) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy)
    await busy.opened.wait()
    watch = Stopwatch()
    await peer.send(text("first") + text("second") + close(code))
    assert await peer.frame() == Frame(CLOSE, b"" if code is None else code.to_bytes(2))
    assert await peer.ended()
    assert watch.lap() <= HALF_A_SECOND
    await peer.aclose()
    assert busy.ws.close_code == (code or 1005)
    with pytest.raises(websocket.ConnectionClosed):
        await busy.ws.send("too late")
    await trio.sleep(100)
    busy.go.set()
    await busy.recorder.ended.wait()
    assert busy.recorder.messages == ["first", "second"]
    assert busy.recorder.code == (3000 if code == 3000 else None)


async def test_a_peer_that_vanishes_is_noticed(connect_memory: Connect, autojump_clock: trio.testing.MockClock) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy)
    await busy.opened.wait()
    await peer.send(text("last"))
    await peer.aclose()
    await trio.sleep(HALF_A_SECOND + 0.001)
    assert busy.ws.close_code == 1006
    busy.go.set()
    await busy.recorder.ended.wait()
    assert (busy.recorder.messages, busy.recorder.code) == (["last"], 1006)


async def test_a_violation_is_told_once_the_messages_in_front_of_it_are_received(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy)
    await busy.opened.wait()
    await peer.send(text("first") + frame(PING, b"1") + text("second") + frame(15) + text("never"))
    assert await peer.frame() == Frame(PONG, b"1")
    await trio.sleep(9)
    assert busy.ws.close_code is None
    busy.go.set()
    assert await peer.close_code() == 1002
    assert await peer.ended()
    await busy.recorder.ended.wait()
    assert (busy.recorder.messages, busy.recorder.code) == (["first", "second"], 1002)


async def test_a_violation_is_told_after_a_while_even_if_nobody_receives(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy, close_timeout=10)
    await busy.opened.wait()
    watch = Stopwatch()
    await peer.send(text("first") + frame(15))
    assert await peer.close_code() == 1002
    assert await peer.ended()
    assert 10 <= watch.lap() <= 11
    busy.go.set()
    await busy.recorder.ended.wait()
    assert (busy.recorder.messages, busy.recorder.code) == (["first"], 1002)


async def test_a_violation_with_nothing_in_front_of_it_is_told_at_once(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy)
    await busy.opened.wait()
    watch = Stopwatch()
    await peer.send(frame(15))
    assert await peer.close_code() == 1002
    assert await peer.ended()
    assert watch.lap() <= HALF_A_SECOND
    busy.go.set()
    await busy.recorder.ended.wait()
    assert busy.recorder.code == 1002


async def test_a_violation_is_told_to_a_peer_that_reads_late(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    codes: list[int | None] = []

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        ws.send_nowait(bytes(200_000))
        await trio.sleep(15)
        codes.append(ws.close_code)
        await trio.sleep(100)

    to_server, from_client = trio.testing.memory_stream_one_way_pair()
    to_client, from_server = trio.testing.lockstep_stream_one_way_pair()  # it buffers nothing
    server = server_of(handler, close_timeout=10)
    nursery.start_soon(server.serve_stream, trio.StapledStream(to_client, from_client))
    peer = await shake(Client(trio.StapledStream(to_server, from_server)))
    await peer.send(text("first") + frame(15))
    await trio.sleep(16)
    assert codes == [1002]
    assert await peer.message() == bytes(200_000)
    assert await peer.close_code() == 1002
    assert await peer.ended()


async def test_a_violation_after_a_message_that_was_taken_is_told_at_once(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(ws: websocket.WebSocket[Message]) -> None:
        await trio.sleep(1)
        await ws.send(await ws.receive())
        await trio.sleep(100)

    peer = await open_peer(connect_memory, handler)
    await peer.send(text("first"))
    assert await peer.message() == "first"
    watch = Stopwatch()
    await peer.send(frame(15))
    assert await peer.close_code() == 1002
    assert watch.lap() <= HALF_A_SECOND


async def test_a_violation_gives_no_further_time_to_a_peer_that_was_told_to_close(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy()
    server = server_of(busy, close_timeout=10)
    peer = await shake(await connect_memory(server))
    await busy.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    watch = Stopwatch()
    await trio.sleep(9)
    await peer.send(text("first") + frame(15))
    assert await peer.ended()
    assert watch.lap() <= 10
    busy.go.set()


async def test_a_violation_after_the_close_of_a_shutdown_raises_also_when_nobody_had_received_it_in_time(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy()
    server = server_of(busy, close_timeout=10)
    peer = await shake(await connect_memory(server))
    await busy.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    await trio.sleep(5)
    await peer.send(text("first") + frame(15))
    assert await peer.ended()
    busy.go.set()
    await busy.recorder.ended.wait()
    assert (busy.recorder.messages, busy.recorder.code) == (["first"], 1001)


async def test_the_close_that_came_first_counts(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Ours, then the peer's with another code, whose pong can no longer be sent."""
    busy = Busy()
    server = server_of(busy)
    peer = await shake(await connect_memory(server))
    await busy.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    await peer.send(frame(PING) * 1000 + close(4000))
    await peer.aclose()
    await trio.sleep(2)
    busy.go.set()
    await busy.recorder.ended.wait()
    assert busy.ws.close_code == 1001
    assert isinstance(busy.recorder.end, trio.EndOfChannel)


async def test_a_shutdown_does_not_hide_a_close_that_came_before(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy()
    server = server_of(busy)
    peer = await shake(await connect_memory(server))
    await busy.opened.wait()
    await peer.send(close(4000))
    assert await peer.close_code() == 4000
    nursery.start_soon(server.shutdown, 60)
    await trio.sleep(1)
    busy.go.set()
    await busy.recorder.ended.wait()
    assert busy.recorder.code == 4000


async def test_who_receives_again_gets_the_next_message_at_once(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(ws: websocket.WebSocket[Message]) -> None:
        await trio.sleep(1)  # until it is read ahead
        await echo(ws)

    peer = await open_peer(connect_memory, handler)
    await trio.sleep(2)
    watch = Stopwatch()
    for number in range(3):
        await peer.send(text(str(number)))
        with trio.fail_after(5):
            assert await peer.message() == str(number)
    assert watch.lap() == 0


async def test_receiving_what_was_read_ahead_is_a_checkpoint(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    checked = trio.Event()

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        await trio.sleep(1)
        for number in range(3):
            with trio.testing.assert_checkpoints():
                assert await ws.receive() == str(number)
        checked.set()

    peer = await open_peer(connect_memory, handler)
    await peer.send(text("0") + text("1") + text("2"))
    await checked.wait()


async def test_a_handler_that_is_busy_for_moments_is_attended(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing is read ahead, and no task started for it."""

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        async for _ in ws:
            await trio.sleep(0.2)

    peer = await lockstep_peer(nursery, server_of(handler))
    watch = Stopwatch()
    for _ in range(50):
        await peer.stream.send_all(text("x"))
    assert watch.lap() >= 49 * 0.2 - 0.001


async def test_what_is_read_ahead_is_received_in_order(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    """The handler now receives, now is busy, and the messages come at any time."""
    numbers = [str(number) for number in range(200)]
    received: list[Message] = []

    async def moody(ws: websocket.WebSocket[Message]) -> None:
        async for message in ws:
            received.append(message)
            if len(received) % 7 == 0:
                await trio.sleep(len(received) % 5)
        done.set()

    done = trio.Event()
    peer = await open_peer(connect_memory, moody)
    for number in numbers:
        data = text(number)
        half = int(number) % len(data)
        await peer.stream.send_all(data[:half])
        await trio.sleep(int(number) % 3 / 3)
        await peer.stream.send_all(data[half:])
    await peer.stream.send_all(close())
    assert await peer.close_code() == 1000
    await done.wait()
    assert received == numbers


async def test_a_receive_that_is_cancelled_beside_the_reading_ahead_loses_nothing(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    received: list[Message] = []

    async def moody(ws: websocket.WebSocket[Message]) -> None:
        for seconds in [0.6, 0.1, 0.3, 2, 0.01] * 40:
            with trio.move_on_after(seconds / 3):
                received.append(await ws.receive())
            await trio.sleep(seconds)
        async for message in ws:
            received.append(message)
        done.set()

    done = trio.Event()
    peer = await open_peer(connect_memory, moody)
    for number in range(300):
        await peer.stream.send_all(text(str(number)))
        await trio.sleep(0.37)
    await peer.stream.send_all(close())
    assert await peer.close_code() == 1000
    await done.wait()
    assert received == [str(number) for number in range(300)]


# ---- bounds


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
async def test_a_full_receive_buffer_stops_reading(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, size: int
) -> None:
    """A message counts 64 bytes more than it has; one read of 64 KiB may come on top."""
    busy = Busy()
    peer = await lockstep_peer(nursery, server_of(busy))
    nursery.start_soon(discard, peer)  # it takes the pings, and answers none of them
    await busy.opened.wait()
    message = frame(BINARY, bytes(size))
    sent = await send_until_stuck(peer, message, 5000)
    assert ROOM // (size + 64) <= sent <= (ROOM + 2**16) // (size + 64) + 2
    await trio.sleep(1000)  # nobody would see a pong, so that none comes is no reason to go
    assert busy.ws.close_code is None
    busy.go.set()
    await peer.aclose()
    await busy.recorder.ended.wait()
    assert len(busy.recorder.messages) in (sent, sent + 1)  # the one that was stuck may have arrived


async def test_a_buffer_of_another_size(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    busy = Busy()
    peer = await lockstep_peer(nursery, server_of(busy, receive_buffer=1000))
    await busy.opened.wait()
    sent = await send_until_stuck(peer, frame(BINARY, bytes(136)), 100)
    assert 5 <= sent <= 7


async def test_what_was_received_makes_room_again(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(ws: websocket.WebSocket[Message]) -> None:
        while True:
            await trio.sleep(5)
            for _ in range(4):
                await ws.receive()

    peer = await open_peer(connect_memory, handler, receive_buffer=1000)
    for number in range(10):
        await peer.send(frame(BINARY, bytes(136)) * 4 + frame(PING, b"%d" % number))
        watch = Stopwatch()
        assert await peer.frame() == Frame(PONG, b"%d" % number)
        assert watch.lap() <= HALF_A_SECOND
        await trio.sleep(5)


async def test_a_message_that_is_not_complete_counts_in_the_receive_buffer(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """And when somebody receives, its own bound counts."""
    busy = Busy()
    peer = await lockstep_peer(nursery, server_of(busy, max_message_size=100_000))
    await busy.opened.wait()
    await peer.stream.send_all(frame(BINARY, b"", fin=False))
    fragment = frame(CONTINUATION, bytes(1000), fin=False)
    sent = await send_until_stuck(peer, fragment, 100)
    assert sent == ROOM // 1000 + 1
    busy.go.set()
    await trio.testing.wait_all_tasks_blocked()
    await peer.stream.send_all(fragment * (99 - sent))  # the one that was stuck has arrived
    await peer.stream.send_all(frame(CONTINUATION, b"x"))
    assert await peer.close_code() == 1009


async def test_a_peer_that_reads_late_gets_the_pong_of_its_newest_ping(nursery: trio.Nursery) -> None:
    """Pongs are bounded like everything that is sent."""
    to_server, from_client = trio.testing.memory_stream_one_way_pair()
    to_client, from_server = trio.testing.lockstep_stream_one_way_pair()  # it buffers nothing
    server = server_of(Recorder(), send_buffer=10_000)
    nursery.start_soon(server.serve_stream, trio.StapledStream(to_client, from_client))
    peer = await shake(Client(trio.StapledStream(to_server, from_server)))
    for number in range(1000):
        await peer.stream.send_all(frame(PING, b"%03d" % number))
    await trio.testing.wait_all_tasks_blocked()
    pongs: list[int] = []
    while pongs[-1:] != [999]:
        pongs.append(int((await peer.frame()).payload))
    assert pongs == [*range(len(pongs) - 1), 999]
    assert 100 < len(pongs) < 500
    await peer.send(close())
    assert await peer.close_code() == 1000


async def test_receiving_goes_on_while_the_peer_does_not_read() -> None:
    """A peer that sends all it has before it reads is no reason for a deadlock."""
    received: list[Message] = []

    async def both(ws: websocket.WebSocket[Message]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(16_000_000))
            for _ in range(300):
                received.append(await ws.receive())

    async with serving(server_of(both)) as listener:
        peer = await shake(await open_client(listener))
        for _ in range(300):
            await peer.stream.send_all(frame(BINARY, bytes(50_000)))
        assert len(bytes((await peer.frame()).payload)) == 16_000_000
        assert await peer.close_code() == 1000
        await peer.aclose()
    assert len(received) == 300


# ---- the peer is silent


@pytest.mark.parametrize("handler", [Recorder, Busy])
async def test_a_silent_peer_is_pinged_and_dropped(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, handler: Callable[[], Any]
) -> None:
    func = handler()
    peer = await open_peer(connect_memory, func, ping_interval=30, ping_timeout=10)
    watch = Stopwatch()
    assert await peer.frame() == Frame(PING, b"")
    assert 29 <= watch.lap() <= 30
    assert await peer.ended()
    assert 9 <= watch.lap() <= 10
    await peer.aclose()
    assert func.ws.close_code == 1006
    assert func.ws.close_reason == "nothing was heard for 10 seconds after a ping"
    recorder = func if isinstance(func, Recorder) else func.recorder
    if isinstance(func, Busy):
        func.go.set()
    await recorder.ended.wait()
    assert recorder.code == 1006


@pytest.mark.parametrize("receives", [True, False])
async def test_an_answer_that_waits_while_the_whole_program_is_held_up_counts(
    mock_clock: trio.testing.MockClock, receives: bool
) -> None:
    """In every order in which the tasks may go on, and where nobody has begun to read for a busy handler."""
    sockets: list[websocket.WebSocket[Message]] = []
    receiving = trio.CancelScope()

    async def handler(ws: websocket.WebSocket[Message]) -> None:
        sockets.append(ws)
        with receiving:
            await ws.receive()
        await trio.sleep_forever()

    async def pass_time(seconds: float) -> None:
        for _ in range(round(4 * seconds)):
            await trio.testing.wait_all_tasks_blocked(0.001)
            mock_clock.jump(0.25)

    async with serving(server_of(handler, ping_interval=5, ping_timeout=5)) as listener:
        peer = await shake(await open_client(listener))
        assert isinstance(peer.stream, trio.SocketStream)
        for _ in range(20 if receives else 1):
            await pass_time(5)
            assert await peer.frame() == Frame(PING, b"")
            if not receives:
                receiving.cancel()
            await trio.testing.wait_all_tasks_blocked(0.001)
            os.write(peer.stream.socket.fileno(), frame(PONG))
            mock_clock.jump(60)
            await pass_time(1)
            assert sockets[0].close_code is None
        await peer.aclose()


LONG = text("a message that takes its time")


@pytest.mark.parametrize("handler", [Recorder, Busy])
@pytest.mark.parametrize(
    "answers",
    [
        [frame(PONG)],
        [frame(PONG, b"of another ping")],
        [frame(PING)],
        [text("hello")],
        [LONG[at : at + 1] for at in range(len(LONG))],
    ],
    ids=["pong", "another", "ping", "text", "bytes"],
)
async def test_a_peer_from_which_anything_is_heard_stays(
    connect_memory: Connect,
    autojump_clock: trio.testing.MockClock,
    handler: Callable[[], Any],
    answers: list[bytes],
) -> None:
    func = handler()
    peer = await open_peer(connect_memory, func, ping_interval=5, ping_timeout=5)
    for number in range(30):
        while (await peer.frame()).opcode != PING:
            pass
        await trio.sleep(4)
        await peer.send(answers[number % len(answers)])
    assert func.ws.close_code is None


async def test_a_peer_that_talks_is_not_pinged(connect_memory: Connect, autojump_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    peer = await open_peer(connect_memory, recorder, ping_interval=5)
    for _ in range(20):
        await trio.sleep(4)
        await peer.send(text("x"))
    await peer.send(close())
    assert await peer.close_code() == 1000
    assert len(recorder.messages) == 20


async def test_no_pings_where_none_are_wanted(connect_memory: Connect, autojump_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    peer = await open_peer(connect_memory, recorder, ping_interval=None)
    await trio.sleep(1000)
    await peer.send(close())
    assert await peer.close_code() == 1000


@pytest.mark.parametrize("timeout", [None, 600])
async def test_a_peer_that_answers_no_ping_is_pinged_all_the_same(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, timeout: float | None
) -> None:
    """Once for each interval of silence: proxies take that for life."""
    recorder = Recorder()
    peer = await open_peer(connect_memory, recorder, ping_interval=5, ping_timeout=timeout)
    for _ in range(100):
        watch = Stopwatch()
        assert await peer.frame() == Frame(PING, b"")
        assert 4 <= watch.lap() <= 5
    await peer.send(text("still here") + close())
    assert await peer.close_code() == 1000
    assert recorder.messages == ["still here"]


@pytest.mark.parametrize("interval", [5, None])
async def test_a_peer_that_does_not_read_is_dropped(mock_clock: trio.testing.MockClock, interval: float | None) -> None:
    """After `send_timeout` in which its host acknowledged nothing, whatever it says and whether it is pinged."""
    ends: list[websocket.ConnectionClosed] = []

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        with pytest.raises(websocket.ConnectionClosed) as caught:
            while True:
                await ws.send(bytes(1_000_000))
        ends.append(caught.value)

    async with serving(server_of(talk, ping_interval=interval, ping_timeout=5, send_timeout=40)) as listener:
        peer = await shake(await open_client(listener))
        for _ in range(39):
            assert not ends
            await trio.testing.wait_all_tasks_blocked(0.01)
            await peer.stream.send_all(frame(PONG))
            mock_clock.jump(1)
        while not ends:
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(1)
            assert trio.current_time() < 45
        await peer.aclose()
    assert ends[0].code == 1006
    assert ends[0].reason == "nothing of what we sent was taken for 40 seconds"


async def test_a_peer_that_reads_slowly_stays(mock_clock: trio.testing.MockClock) -> None:
    """It says nothing, and answers no ping before it has read what stands in front of it."""
    size = 2_000_000

    async def talk(ws: websocket.WebSocket[Message]) -> None:
        await ws.send(bytes(size))
        await ws.send("done")

    async with serving(server_of(talk, ping_interval=5, ping_timeout=5)) as listener:
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)
        peer = await shake(await open_client(listener))
        await peer.client.exactly(10)
        for _ in range(size // 100_000):
            await peer.client.exactly(100_000)
            await trio.testing.wait_all_tasks_blocked(0.005)
            mock_clock.jump(4)
        frames = [await peer.frame() for _ in range(2)]
        assert Frame(TEXT, b"done") in frames
        await peer.aclose()


async def test_a_quick_one_does_not_wait_for_the_slow_ones(nursery: trio.Nursery, autojump_clock: Any) -> None:
    async def handler(ws: websocket.WebSocket[Any]) -> None:
        await Recorder()(ws)

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        seconds = float(request.query)
        async with websocket.accept(request, stream, ping_interval=seconds, ping_timeout=seconds) as ws:
            await Recorder()(ws)

    server = Server(on_upgrade=on_upgrade)
    async with serving(server) as listener:
        slow = await shake(await open_client(listener), target="/?50")
        await trio.sleep(0.1)
        quick = await shake(await open_client(listener), target="/?0.04")
        watch = Stopwatch()
        assert (await quick.frame()).opcode == PING
        assert await quick.ended()
        assert watch.lap() <= 0.08
        await slow.aclose()
        await quick.aclose()


async def test_keepalive_is_for_every_websocket_of_a_server(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    """They come and go, and each has its own times."""

    async def handler(ws: websocket.WebSocket[Any]) -> None:
        await Recorder()(ws)

    slow = await open_peer(connect_memory, handler, ping_interval=50)
    assert (await slow.frame()).opcode == PING
    await slow.send(close())
    assert await slow.close_code() == 1000
    await trio.sleep(100)
    quick = await open_peer(connect_memory, handler, ping_interval=1, ping_timeout=0.5)
    begin = trio.current_time()
    assert (await quick.frame()).opcode == PING
    assert await quick.ended()
    assert trio.current_time() - begin <= 1.5
