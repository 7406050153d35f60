"""A peer that leaves while nobody receives: who is told, and when."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Server, websocket

from ..support.client import Client, Connect, open_client, reset, serving
from ..support.websocket_client import (
    BINARY,
    PING,
    PONG,
    Frame,
    Message,
    Peer,
    Recorder,
    close,
    frame,
    open_peer,
    server_of,
    shake,
    text,
)

WebSocket = websocket.WebSocket[Message]

OVERFILL = frame(BINARY, bytes(10_000)) * 12  # more than the receive buffer has room for, by default


async def pass_time(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let time pass in steps of a look, and everybody do what is due."""
    for _ in range(round(4 * seconds)):
        await trio.testing.wait_all_tasks_blocked(0.002)
        clock.jump(0.25)
    await trio.testing.wait_all_tasks_blocked(0.002)


def is_closed(ws: WebSocket) -> bool:
    """Whether the connection below is."""
    socket = ws.request.transport.socket
    assert socket is not None
    return socket.fileno() == -1


class Pushing:
    """A handler that never receives, until it is told to, and waits for the end.

    Attributes:
      waited: `wait_closed` has returned.
      cancelled: the scope of `cancel_on_close` was cancelled.
    """

    ws: WebSocket

    def __init__(self) -> None:
        self.opened, self.waited, self.cancelled, self.go = trio.Event(), trio.Event(), trio.Event(), trio.Event()
        self.recorder = Recorder()

    async def __call__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.opened.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait)
            with ws.cancel_on_close() as scope:
                await trio.sleep_forever()
            assert scope.cancelled_caught
            self.cancelled.set()
        await self.go.wait()
        await self.recorder(ws)

    async def _wait(self) -> None:
        await self.ws.wait_closed()
        self.waited.set()

    async def noticed(self) -> None:
        await self.cancelled.wait()
        await self.waited.wait()


# ---- who waits for the end is told


ENDS: dict[str, tuple[bytes, bool, int]] = {
    "a close frame": (close(4001), False, 4001),
    "an end": (b"", True, 1006),
    "a close frame and an end": (close(1000), True, 1000),
    "a violation": (frame(15), False, 1002),
}


@pytest.mark.parametrize("end", ENDS)
async def test_who_waits_is_told_of_the_end(connect: Connect, autojump_clock: Any, end: str) -> None:
    await check_end(connect, end)


@pytest.mark.parametrize("end", [end for end in ENDS if end != "a violation"])  # after `close_timeout` seconds
async def test_who_waits_is_told_of_the_end_over_tls(connect_tls: Connect, end: str) -> None:
    await check_end(connect_tls, end)


async def check_end(connect: Connect, end: str) -> None:
    data, ends, code = ENDS[end]
    pushing = Pushing()
    peer = await open_peer(connect, pushing)
    await pushing.opened.wait()
    await peer.stream.send_all(text("last") + data)
    if ends and isinstance(peer.stream, trio.abc.HalfCloseableStream):
        await peer.client.send_eof()
    elif ends:
        await peer.client.aclose()
    await pushing.noticed()
    assert pushing.ws.close_code == code
    with pytest.raises(websocket.ConnectionClosed):
        await pushing.ws.send("too late")
    pushing.go.set()
    await pushing.recorder.ended.wait()
    assert pushing.recorder.messages == ["last"]


async def test_who_waits_is_told_of_a_reset(connect_socket: Connect) -> None:
    pushing = Pushing()
    peer = await open_peer(connect_socket, pushing)
    await pushing.opened.wait()
    reset(peer.client)
    await pushing.noticed()
    assert pushing.ws.close_code == 1006
    pushing.go.set()


async def test_who_waits_is_told_of_the_end_on_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    pushing = Pushing()
    await nursery.start(server_of(pushing).serve_unix, tmp_path / "socket")
    peer = await shake(Client(await trio.open_unix_socket(tmp_path / "socket")))
    await pushing.opened.wait()
    await peer.stream.send_all(OVERFILL)
    await peer.aclose()
    await pushing.noticed()
    assert pushing.ws.close_code == 1006
    pushing.go.set()


@pytest.mark.parametrize("who", ["aclose", "shutdown", "broadcast"])
async def test_who_waits_is_told_when_our_side_closes(connect_tcp: Connect, nursery: trio.Nursery, who: str) -> None:
    pushing = Pushing()
    server = server_of(pushing, send_buffer=1)
    peer = await shake(await connect_tcp(server))
    await pushing.opened.wait()
    if who == "aclose":
        nursery.start_soon(pushing.ws.aclose, 4000)
    elif who == "shutdown":
        nursery.start_soon(server.shutdown, 60)
    else:
        while pushing.ws.close_code is None:
            websocket.broadcast([pushing.ws], bytes(100_000))
    await pushing.noticed()
    assert pushing.ws.close_code == {"aclose": 4000, "shutdown": 1001, "broadcast": 1013}[who]
    pushing.go.set()
    await peer.aclose()


async def test_who_waits_is_told_that_a_send_failed(connect_tcp: Connect) -> None:
    pushing = Pushing()
    peer = await open_peer(connect_tcp, pushing)
    await pushing.opened.wait()
    reset(peer.client)
    with pytest.raises(websocket.ConnectionClosed):
        while True:
            await pushing.ws.send("is anybody there?")
    await trio.testing.wait_all_tasks_blocked()
    assert pushing.waited.is_set()
    assert pushing.cancelled.is_set()
    pushing.go.set()


async def test_waiting_for_the_end_of_what_is_closed_is_a_checkpoint_and_no_more(connect_memory: Connect) -> None:
    done = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await ws.aclose()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await ws.wait_closed()
            with ws.cancel_on_close() as scope:
                assert scope.cancel_called
        done.set()

    peer = await open_peer(connect_memory, leave)
    await peer.send(close())
    await done.wait()


async def test_waiting_for_the_end_can_be_cancelled(connect_memory: Connect) -> None:
    done = trio.Event()

    async def handler(ws: WebSocket) -> None:
        with trio.move_on_after(0.01) as scope:
            await ws.wait_closed()
        assert scope.cancelled_caught
        with ws.cancel_on_close() as inner:
            pass
        assert not inner.cancel_called
        assert await ws.receive() == "still open"
        done.set()

    peer = await open_peer(connect_memory, handler)
    await trio.sleep(0.05)
    await peer.send(text("still open"))
    await done.wait()


async def test_it_is_told_beside_a_task_that_receives(connect_tcp: Connect) -> None:
    """At once: what receives finds it out."""
    recorder = Recorder()
    told = trio.Event()

    async def both(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder, ws)
            await ws.wait_closed()
            told.set()

    peer = await open_peer(connect_tcp, both)
    await peer.send(close(4000))
    with trio.fail_after(0.2):
        await told.wait()
    await recorder.ended.wait()


# ---- the receive buffer is full


async def test_pings_go_out_while_the_receive_buffer_is_full(mock_clock: trio.testing.MockClock) -> None:
    """And nobody is dropped for a pong that nobody could see."""
    pushing = Pushing()
    async with serving(server_of(pushing, ping_interval=5, ping_timeout=5)) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(OVERFILL)
        for _ in range(20):
            await pass_time(mock_clock, 5.5)
            assert await peer.frame() == Frame(PING, b"")
            await peer.stream.send_all(frame(PONG))
        await pass_time(mock_clock, 100)
        assert pushing.ws.close_code is None
        await peer.aclose()


async def test_a_handler_that_receives_again_after_a_long_time_finds_its_peer_there(
    mock_clock: trio.testing.MockClock,
) -> None:
    """It has answered the pings, and nobody has read the pongs."""
    go = trio.Event()
    received: list[Message] = []

    async def late(ws: WebSocket) -> None:
        await go.wait()
        while True:
            received.append(await ws.receive())

    async with serving(server_of(late, ping_interval=5, ping_timeout=5)) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(OVERFILL)
        await pass_time(mock_clock, 100)
        go.set()
        await pass_time(mock_clock, 4)
        await peer.stream.send_all(text("here"))
        await pass_time(mock_clock, 1)
        assert received[-1] == "here"
        assert len(received) == 13
        await peer.aclose()


@pytest.mark.parametrize("end", ["an end", "a reset"])
async def test_an_end_after_unread_messages_is_noticed(mock_clock: trio.testing.MockClock, end: str) -> None:
    """At the next look. Then the handler has `close_timeout` seconds for each of the messages."""
    pushing = Pushing()
    async with serving(server_of(pushing, close_timeout=4)) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(OVERFILL)
        await pass_time(mock_clock, 1)
        assert pushing.ws.close_code is None
        if end == "a reset":
            reset(peer.client)
        else:
            await peer.client.send_eof()
        await pass_time(mock_clock, 0.5)
        assert pushing.waited.is_set()
        assert pushing.cancelled.is_set()
        assert pushing.ws.close_code == 1006
        await pass_time(mock_clock, 3)
        assert not is_closed(pushing.ws)
        await pass_time(mock_clock, 2)
        if end == "an end":
            assert await peer.ended()
            await peer.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert is_closed(pushing.ws)
        pushing.go.set()
        await pushing.recorder.ended.wait()
        assert pushing.recorder.code == 1006
        assert 6 <= len(pushing.recorder.messages) < 12


async def test_a_handler_that_takes_its_time_gets_all_that_came_before_the_end(
    mock_clock: trio.testing.MockClock,
) -> None:
    """And the peer its answer."""
    received: list[Message] = []
    ended = trio.Event()

    async def slow(ws: WebSocket) -> None:
        async for message in ws:
            received.append(message)
            await trio.sleep(3)
        assert ws.close_code == 1000
        ended.set()

    async def send(peer: Peer) -> None:
        for number in range(20):
            await peer.stream.send_all(frame(BINARY, bytes([number]) * 10_000))
        await peer.stream.send_all(close())
        await peer.client.send_eof()

    server = server_of(slow, close_timeout=4, ping_interval=None)
    async with serving(server) as listener, trio.open_nursery() as nursery:
        peer = await shake(await open_client(listener))
        nursery.start_soon(send, peer)
        await pass_time(mock_clock, 62)
        await ended.wait()
        assert received == [bytes([number]) * 10_000 for number in range(20)]
        assert await peer.close_code() == 1000
        assert await peer.ended()
        await peer.aclose()


async def test_a_peer_that_answered_the_close_of_a_shutdown_sees_an_orderly_end(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Although its answer stands after messages that nobody has received."""
    pushing = Pushing()
    server = server_of(pushing, close_timeout=4)
    async with serving(server) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(OVERFILL)
        await pass_time(mock_clock, 1)
        nursery.start_soon(server.shutdown, 60)
        assert await peer.close_code() == 1001
        await peer.stream.send_all(close(1001))
        await pass_time(mock_clock, 3)
        with trio.move_on_after(0):
            assert not await peer.ended()
        await pass_time(mock_clock, 2)
        assert await peer.ended()  # a reset would raise
        await peer.aclose()
        pushing.go.set()
        await pushing.recorder.ended.wait()
        assert isinstance(pushing.recorder.end, trio.EndOfChannel)


async def test_after_the_close_of_a_shutdown_the_messages_are_still_received_in_order(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    pushing = Pushing()
    server = server_of(pushing, close_timeout=4)
    async with serving(server) as listener:
        peer = await shake(await open_client(listener))
        await peer.stream.send_all(OVERFILL + text("last"))
        await pass_time(mock_clock, 1)
        nursery.start_soon(server.shutdown, 60)
        assert await peer.close_code() == 1001
        await peer.stream.send_all(close(1001))
        pushing.go.set()
        await pushing.recorder.ended.wait()
        assert pushing.recorder.messages == [bytes(10_000)] * 12 + ["last"]
        assert await peer.ended()
        await peer.aclose()


async def test_a_peer_that_takes_nothing_is_dropped_although_the_receive_buffer_is_full(
    mock_clock: trio.testing.MockClock,
) -> None:
    """An echo server and a client that never reads hold each other."""
    ends: list[Exception] = []

    async def echo(ws: WebSocket) -> None:
        try:
            async for message in ws:
                await ws.send(message)
        except websocket.ConnectionClosed as exc:
            ends.append(exc)

    async with serving(server_of(echo, ping_interval=5, ping_timeout=5, send_timeout=30)) as listener:
        peer = await shake(await open_client(listener))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, peer)
            await pass_time(mock_clock, 29)
            assert ends == []
            await pass_time(mock_clock, 65)  # a host that has no room acknowledges a byte now and then
            assert [str(end) for end in ends] == [
                "the WebSocket is closed: 1006 (abnormal closure [internal]) "
                "nothing of what we sent was taken for 30 seconds"
            ]
            nursery.cancel_scope.cancel()
        await peer.aclose()


async def keep_sending(peer: Peer) -> None:
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await peer.stream.send_all(OVERFILL)


# ---- on streams of other kinds


async def test_a_stream_in_memory_that_breaks_is_noticed_although_the_receive_buffer_is_full(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The next ping finds it out: such a stream cannot be asked."""
    pushing = Pushing()
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server_of(pushing, ping_interval=5).serve_stream, theirs)
    peer = await shake(Client(ours))
    await peer.stream.send_all(OVERFILL)
    await trio.sleep(1)
    await ours.aclose()
    begin = trio.current_time()
    await pushing.noticed()
    assert trio.current_time() - begin <= 6
    pushing.go.set()


async def test_a_stream_of_trios_own_tls_is_asked_too(
    nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    pushing = Pushing()
    server_context, client_context = tls_contexts
    async with trio.open_nursery() as inner:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = server_of(pushing)
        handle = inner.start_soon
        tls_listeners = [trio.SSLListener(listener, server_context) for listener in listeners]
        handle(trio.serve_listeners, serve_stream_of(server), tls_listeners)
        below = await trio.testing.open_stream_to_socket_listener(listeners[0])
        peer = await shake(Client(trio.SSLStream(below, client_context, server_hostname="test.example")))
        await peer.stream.send_all(OVERFILL)
        await trio.sleep(0.8)
        assert pushing.ws.close_code is None
        reset(peer.client)
        await pushing.noticed()
        pushing.go.set()
        await peer.aclose()
        inner.cancel_scope.cancel()


def serve_stream_of(server: Server) -> Callable[[trio.abc.Stream], Any]:
    async def serve(stream: trio.abc.Stream) -> None:
        try:
            await server.serve_stream(stream)
        except Exception:
            pass

    return serve
