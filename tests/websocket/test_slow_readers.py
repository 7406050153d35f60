"""Peers that read slowly, at the system's own buffer sizes: they stay, and get all that was sent.

The clock is Trio's, the sockets are real: the kernel takes and acknowledges at once what there is room for.
"""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from trio_upgrade import websocket
from trio_upgrade._patience import FLOOR_RATE, LEAST_SEND_TIMEOUT, MOST_EXTRA
from trio_upgrade.websocket._waiting import CLOSE, PONG, Wait, least_send_timeout

from ..support.client import open_client, serving
from ..support.websocket_client import BINARY, PING, Message, Peer, close, frame, server_of, shake, text
from ..support.websocket_client import CLOSE as CLOSE_FRAME
from ..support.websocket_client import PONG as PONG_FRAME

WebSocket = websocket.WebSocket[Message]

RATE = 20_000  # bytes a second
HEADER = 4  # bytes of the frame of a message of up to 64 KiB


async def read_slowly(peer: Peer, clock: trio.testing.MockClock, size: int, step: float = 1) -> None:
    """Read so many bytes at a steady rate."""
    for at in range(0, size, int(RATE * step)):
        await peer.client.exactly(min(int(RATE * step), size - at))
        for _ in range(round(4 * step)):
            await trio.testing.wait_all_tasks_blocked(0.001)
            clock.jump(0.25)


async def pass_time(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let time pass in steps of a look, and everybody do what is due; the kernel, too, which may acknowledge late."""
    for _ in range(round(4 * seconds)):
        await trio.testing.wait_all_tasks_blocked(0.02)
        clock.jump(0.25)
    await trio.testing.wait_all_tasks_blocked(0.001)


async def next_but_pings(peer: Peer) -> tuple[int, bytes]:
    """The next frame that is no ping."""
    while (received := await peer.frame()).opcode == PING:
        pass
    return received.opcode, received.payload


@pytest.mark.parametrize("size", [600_000, 1_000_000])
async def test_a_slow_reader_of_what_the_kernel_has_taken_whole_stays(
    mock_clock: trio.testing.MockClock, size: int
) -> None:
    """Its pong comes when it has read what stands before the ping."""

    async def talk(ws: WebSocket) -> None:
        await ws.send(bytes(size))
        async for _ in ws:
            pass
        assert ws.close_code == 1000

    async with serving(server_of(talk, ping_interval=2, ping_timeout=2)) as listener:
        peer = await shake(await open_client(listener))
        await read_slowly(peer, mock_clock, size + 10)
        await peer.stream.send_all(frame(PONG_FRAME) + close())
        assert await next_but_pings(peer) == (CLOSE_FRAME, b"\x03\xe8")
        await peer.aclose()


async def test_a_slow_reader_of_more_than_the_kernel_takes_stays(mock_clock: trio.testing.MockClock) -> None:
    """For half a minute at a time, its host acknowledges nothing."""
    size = 12_000_000
    sent = trio.Event()

    async def talk(ws: WebSocket) -> None:
        await ws.send(bytes(size))
        sent.set()
        await ws.wait_closed()

    async with serving(server_of(talk, ping_interval=5, ping_timeout=5)) as listener:
        peer = await shake(await open_client(listener))
        await read_slowly(peer, mock_clock, 2_000_000, step=5)
        assert not sent.is_set()
        await peer.client.exactly(size + 10 - 2_000_000)
        await sent.wait()
        await peer.stream.send_all(close())
        assert (await next_but_pings(peer))[0] == CLOSE_FRAME
        await peer.aclose()


async def test_a_pong_says_nothing_of_what_was_sent_after_its_ping(mock_clock: trio.testing.MockClock) -> None:
    """So that is still to be read, and the next pong may take longer."""
    go = trio.Event()

    async def talk(ws: WebSocket) -> None:
        await go.wait()
        await ws.send(bytes(3 * FLOOR_RATE))
        await ws.wait_closed()

    async with serving(server_of(talk, ping_interval=2, ping_timeout=2)) as listener:
        peer = await shake(await open_client(listener))
        await pass_time(mock_clock, 2.25)
        assert (await peer.frame()).opcode == PING
        go.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.stream.send_all(frame(PONG_FRAME))
        await pass_time(mock_clock, 5.5)  # it reads, at nearly the floor rate, and then comes to the next ping
        await peer.client.exactly(3 * FLOOR_RATE + HEADER)
        await peer.stream.send_all(frame(PONG_FRAME) + close())
        assert (await next_but_pings(peer))[0] == CLOSE_FRAME
        await peer.aclose()


@pytest.mark.parametrize("how", ["return", "shutdown"])
async def test_a_slow_reader_gets_all_that_came_before_our_close(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery, how: str
) -> None:
    """The close timeout begins when there is nothing more to read."""

    async def talk(ws: WebSocket) -> None:
        await ws.send(bytes(900_000))
        if how == "shutdown":
            await ws.wait_closed()

    server = server_of(talk, close_timeout=2)
    async with serving(server) as listener:
        peer = await shake(await open_client(listener))
        await trio.testing.wait_all_tasks_blocked(0.01)
        if how == "shutdown":
            nursery.start_soon(server.shutdown, 1000)
        await read_slowly(peer, mock_clock, 900_010)
        opcode, payload = await next_but_pings(peer)
        assert (opcode, int.from_bytes(payload[:2])) == (CLOSE_FRAME, {"return": 1000, "shutdown": 1001}[how])
        await peer.stream.send_all(close())
        assert await peer.ended()
        await peer.aclose()


async def test_a_peer_that_is_stopped_is_dropped_when_it_had_time_to_read(mock_clock: trio.testing.MockClock) -> None:
    """Its host acknowledges everything, so only the time tells."""
    ends: list[float] = []

    async def talk(ws: WebSocket) -> None:
        await ws.send(bytes(3 * FLOOR_RATE))
        await ws.wait_closed()
        ends.append(trio.current_time())

    async with serving(server_of(talk, ping_interval=5, ping_timeout=5)) as listener:
        peer = await shake(await open_client(listener))
        for _ in range(4 * 15):
            await trio.testing.wait_all_tasks_blocked(0.001)
            mock_clock.jump(0.25)
        assert len(ends) == 1
        assert 12 <= ends[0] <= 13
        await peer.aclose()


# ---- a message that is never finished


@pytest.mark.parametrize("receives", [True, False])
async def test_a_message_that_is_never_finished_closes_the_websocket(
    mock_clock: trio.testing.MockClock, receives: bool
) -> None:
    ends: list[int | None] = []

    async def handler(ws: WebSocket) -> None:
        if receives:
            with pytest.raises(websocket.ConnectionClosed):
                await ws.receive()
        else:
            await ws.wait_closed()
        ends.append(ws.close_code)

    async with serving(server_of(handler, message_timeout=10)) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(text("a whole one")[:-1])
        for second in range(12):
            assert ends == [] or second > 10
            for _ in range(4):
                await trio.testing.wait_all_tasks_blocked(0.001)
                mock_clock.jump(0.25)
        assert await peer.close_code() == 1008
        assert await peer.ended()
        assert ends == [1008]
        await peer.aclose()


async def test_a_message_that_keeps_coming_has_more_time(mock_clock: trio.testing.MockClock) -> None:
    received: list[Message] = []

    async def handler(ws: WebSocket) -> None:
        received.append(await ws.receive())

    size = 30 * FLOOR_RATE
    async with serving(server_of(handler, message_timeout=10)) as listener:
        peer = await shake(await open_client(listener))
        data = frame(BINARY, bytes(size))
        for at in range(0, len(data), FLOOR_RATE):
            await peer.stream.send_all(data[at : at + FLOOR_RATE])
            for _ in range(4):
                await trio.testing.wait_all_tasks_blocked(0.001)
                mock_clock.jump(0.25)
        assert await next_but_pings(peer) == (CLOSE_FRAME, b"\x03\xe8")
        await peer.aclose()
    assert received == [bytes(size)]


async def test_the_time_in_which_nobody_reads_is_not_that_of_a_message(mock_clock: trio.testing.MockClock) -> None:
    received: list[Message] = []
    go = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await go.wait()
        received.append(await ws.receive())

    async with serving(server_of(handler, message_timeout=10, receive_buffer=100)) as listener:
        peer = await shake(await open_client(listener))
        data = frame(BINARY, bytes(1000))
        await peer.stream.send_all(data[:500])
        for _ in range(100):
            await trio.testing.wait_all_tasks_blocked(0.001)
            mock_clock.jump(0.25)
        go.set()
        await trio.testing.wait_all_tasks_blocked(0.001)
        await peer.stream.send_all(data[500:])
        assert await next_but_pings(peer) == (CLOSE_FRAME, b"\x03\xe8")
        await peer.aclose()
    assert received == [bytes(1000)]


async def test_a_handler_that_reads_with_pauses_does_not_begin_the_time_of_a_message_anew(
    mock_clock: trio.testing.MockClock,
) -> None:
    ends: list[int | None] = []

    async def handler(ws: WebSocket) -> None:
        while ws.close_code is None:
            with trio.move_on_after(0.9), contextlib.suppress(websocket.ConnectionClosed):
                await ws.receive()
            await trio.sleep(0.1)
        ends.append(ws.close_code)

    async with serving(server_of(handler, message_timeout=10)) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(text("a whole one")[:-1])
        for _ in range(15 * 20):
            await trio.testing.wait_all_tasks_blocked(0.001)
            mock_clock.jump(0.05)
        assert ends == [1008]
        await peer.aclose()


# ---- the arithmetic


def deadline(wait: Wait, now: float, sent: int, unacknowledged: int) -> float:
    return wait.deadline(now, sent, unacknowledged, timeout=20, send_timeout=60)


def test_a_host_that_acknowledges_something_now_and_then_is_alive() -> None:
    """Also while as much is sent as it acknowledges."""
    wait = Wait(0)
    assert deadline(wait, 0, 1000, 500) == 60
    assert deadline(wait, 50, 1000, 500) == 60
    assert deadline(wait, 59, 1001, 500) == 119
    assert deadline(wait, 118, 1001, 500) == 119
    assert wait.is_for_host


def test_the_time_for_an_answer_begins_when_the_question_is_acknowledged() -> None:
    for answer in (PONG, CLOSE):
        wait = Wait(0)
        wait.ask(answer, sent=1000, unheard=2 * FLOOR_RATE + 1)
        assert deadline(wait, 10, 1000, 2) == 70
        assert deadline(wait, 30, 1000, 0) == 30 + 20 + 2
        assert deadline(wait, 40, 5000, 0) == 30 + 20 + 2  # what is sent later makes no difference
        assert deadline(wait, 41, 9000, 1) == 41 + 60
        assert deadline(wait, 42, 9000, 0) == 30 + 20 + 2


def test_the_time_to_read_has_a_limit() -> None:
    wait = Wait(0)
    wait.ask(PONG, sent=10**12, unheard=10**12)
    assert deadline(wait, 0, 10**12, 0) == 20 + MOST_EXTRA


def test_who_is_heard_owes_no_answer() -> None:
    wait = Wait(0)
    wait.ask(PONG, sent=1000, unheard=0)
    assert deadline(wait, 0, 1000, 0) == 20
    wait.stop_asking()
    assert deadline(wait, 1, 1000, 0) == float("inf")


def test_a_send_timeout_is_at_least_what_the_kernel_can_tell() -> None:
    assert least_send_timeout(1, is_measured=True) == LEAST_SEND_TIMEOUT
    assert least_send_timeout(1, is_measured=False) == 1
    assert least_send_timeout(90, is_measured=True) == 90
    assert least_send_timeout(None, is_measured=True) == float("inf")
