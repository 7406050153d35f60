"""A WebSocket as a channel: receiving, sending, conflicts and cancellation."""

from __future__ import annotations

from array import array
from functools import partial
from typing import Any, assert_type

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Server, websocket

from ..support.client import Client, Connect, open_client, reset, serving
from ..support.websocket_client import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Busy,
    Frame,
    Message,
    Peer,
    Recorder,
    check_failure,
    close,
    echo,
    frame,
    open_peer,
    server_of,
    shake,
    text,
)

WebSocket = websocket.WebSocket[Any]


async def cancel_after(scope: trio.CancelScope, turns: int) -> None:
    """Cancel after so many turns of the scheduler."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def blocked_peer(server: Server, listener: trio.SocketListener) -> Peer:
    """A peer that does not read, for whom the server's kernel buffers little."""
    listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)
    return await shake(await open_client(listener))


# ---- receiving


async def test_text_is_str_and_binary_is_bytes(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(text("é") + frame(BINARY, b"\xff") + close())
    await recorder.ended.wait()
    assert recorder.messages == ["é", b"\xff"]


async def test_it_is_a_channel_of_the_type_that_was_asked_for(connect: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        if request.query == "str":
            async with websocket.accept(request, stream, message_type=str) as strings:
                assert_type(strings, websocket.WebSocket[str])
                assert isinstance(strings, trio.abc.Channel)
                async for string in strings:
                    await strings.send(string.upper())
        elif request.query == "bytes":
            async with websocket.accept(request, stream, message_type=bytes) as octets:
                assert_type(octets, websocket.WebSocket[bytes])
                async for data in octets:
                    await octets.send(data.hex().encode())
        else:
            async with websocket.accept(request, stream) as both:
                assert_type(both, websocket.WebSocket[str | bytes])
                async for message in both:
                    await both.send(message)

    server = Server(on_upgrade=on_upgrade)
    for target, sent, answer in [
        ("/?str", text("a"), "A"),
        ("/?bytes", frame(BINARY, b"a"), b"61"),
        ("/", text("a"), "a"),
        ("/", frame(BINARY, b"a"), b"a"),
    ]:
        peer = await shake(await connect(server), target=target)
        await peer.send(sent)
        assert await peer.message() == answer
        await peer.send(close())
        assert await peer.close_code() == 1000


async def test_binary_where_text_is_wanted_is_1003(connect: Connect) -> None:
    await check_failure(connect, frame(BINARY, b"x"), 1003, message_type=str)
    await check_failure(connect, frame(BINARY, b""), 1003, message_type=str)


async def test_text_where_binary_is_wanted_is_1003(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, message_type=bytes)
    await peer.send(frame(BINARY, b"a") + text("b"))
    assert await peer.close_code() == 1003
    await recorder.ended.wait()
    assert (recorder.messages, recorder.code) == ([b"a"], 1003)


async def test_one_task_receives_at_a_time(connect: Connect) -> None:
    async def two(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await ws.receive()
            await ws.send("busy")
        await ws.send(await ws.receive())

    peer = await open_peer(connect, two)
    assert await peer.message() == "busy"
    await peer.send(text("first"), text("second"))
    assert await peer.message() == "second"


async def test_a_cancelled_receive_loses_no_message(connect: Connect) -> None:
    """At whatever turn of the scheduler it is cancelled, and however the bytes arrive."""
    received: list[Message] = []
    cancelled = 0

    async def impatient(ws: WebSocket) -> None:
        nonlocal cancelled
        async with trio.open_nursery() as nursery:
            turns = 0
            while True:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, turns % 5)
                    turns += 1
                    received.append(await ws.receive())
                cancelled += scope.cancelled_caught
                if received[-1:] == ["99"]:
                    break

    peer = await open_peer(connect, impatient)
    data = b"".join(text(str(number)) for number in range(100))
    for at in range(0, len(data), 7):
        await peer.stream.send_all(data[at : at + 7])
        await trio.lowlevel.checkpoint()
    assert await peer.close_code() == 1000
    assert received == [str(number) for number in range(100)]
    assert cancelled > 10


async def test_the_operations_are_checkpoints(connect: Connect) -> None:
    async def check(ws: WebSocket) -> None:
        with trio.testing.assert_checkpoints():
            assert await ws.receive() == "there already"
        with trio.testing.assert_checkpoints():
            assert await ws.receive() == "this, too"
        with trio.testing.assert_checkpoints():
            await ws.send("x")
        with trio.testing.assert_no_checkpoints():
            ws.send_nowait("y")
        with trio.testing.assert_no_checkpoints():
            websocket.broadcast([ws], "z")
        with trio.testing.assert_checkpoints(), pytest.raises(trio.EndOfChannel):
            await ws.receive()
        with trio.testing.assert_checkpoints(), pytest.raises(trio.EndOfChannel):
            await ws.receive()
        with trio.testing.assert_checkpoints():
            await ws.aclose()
        with trio.testing.assert_checkpoints():
            await ws.aclose()
        with trio.testing.assert_checkpoints(), pytest.raises(trio.EndOfChannel):
            await ws.receive()

    peer = await open_peer(connect, check, after=text("there already") + text("this, too") + close())
    assert [await peer.message() for _ in range(3)] == ["x", "y", "z"]
    assert await peer.close_code() == 1000


async def test_nothing_is_taken_or_sent_by_who_is_cancelled_already(connect: Connect) -> None:
    async def check(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.receive()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.send("never")
        assert scope.cancelled_caught
        assert await ws.receive() == "still there"

    peer = await open_peer(connect, check, after=text("still there"))
    assert await peer.close_code() == 1000


# ---- sending


async def test_a_peer_that_does_not_read_makes_send_wait() -> None:
    sent = 0

    async def talk(ws: WebSocket) -> None:
        nonlocal sent
        for number in range(1000):
            await ws.send(b"%05d" % number + bytes(10_000))
            sent += 1

    async with serving(server := server_of(talk)) as listener:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert sent < 500
        for number in range(1000):
            assert await peer.message() == b"%05d" % number + bytes(10_000)
        assert await peer.close_code() == 1000
        await peer.aclose()


async def test_a_cancelled_send_has_sent_nothing_or_everything() -> None:
    """It is cancelled while the socket has taken a part of the message, and before it has taken any."""
    returned: list[int] = []

    async def talk(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(300):
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, number % 4)
                    await ws.send(b"%05d" % number + bytes(20_000))
                    returned.append(number)
        await ws.send("the end")

    async with serving(server := server_of(talk, send_buffer=100_000)) as listener:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        received = []
        while (message := await peer.message()) != "the end":
            assert isinstance(message, bytes)
            assert message[5:] == bytes(20_000)
            received.append(int(message[:5]))
        assert received == sorted(set(received))
        assert set(returned) <= set(received)
        assert 0 < len(returned) < 300
        assert await peer.close_code() == 1000
        await peer.aclose()


async def test_a_send_that_was_taken_at_once_is_not_told_that_it_was_cancelled(connect_tcp: Connect) -> None:
    returned = trio.Event()

    async def talk(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_after, scope, 0)
                await ws.send("taken")
                returned.set()

    peer = await open_peer(connect_tcp, talk)
    assert await peer.message() == "taken"
    assert await peer.close_code() == 1000
    assert returned.is_set()


async def test_what_was_sent_makes_room_again(connect: Connect) -> None:
    peer = await open_peer(connect, echo, send_buffer=1000)
    with trio.fail_after(5):
        for number in range(100):
            await peer.send(text(str(number)))
            assert await peer.message() == str(number)


async def test_several_tasks_send_whole_messages() -> None:
    async def talk(ws: WebSocket) -> None:
        async def repeat(letter: str) -> None:
            for number in range(100):
                await ws.send(f"{letter * 5000}{number}")

        async with trio.open_nursery() as nursery:
            for letter in "abc":
                nursery.start_soon(repeat, letter)

    async with serving(server := server_of(talk, send_buffer=20_000)) as listener:
        peer = await blocked_peer(server, listener)
        messages = [await peer.message() for _ in range(300)]
        for letter in "abc":
            mine = [message for message in messages if str(message)[0] == letter]
            assert mine == [f"{letter * 5000}{number}" for number in range(100)]
        assert await peer.close_code() == 1000
        await peer.aclose()


async def test_senders_get_their_turn_in_the_order_in_which_they_came() -> None:
    async def talk(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ws.send, b"%05d" % number + bytes(5000))
                await trio.lowlevel.checkpoint()  # Trio starts tasks in any order

    async with serving(server := server_of(talk, send_buffer=20_000)) as listener:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        for number in range(200):
            assert await peer.message() == b"%05d" % number + bytes(5000)
        assert await peer.close_code() == 1000
        await peer.aclose()


async def test_a_sender_that_comes_when_there_is_room_again_does_not_overtake(connect_memory: Connect) -> None:
    async def talk(ws: WebSocket) -> None:
        async def repeat(letter: str) -> None:
            for _ in range(30):
                await ws.send(letter * 200)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(repeat, "a")
            nursery.start_soon(repeat, "b")

    peer = await open_peer(connect_memory, talk, send_buffer=100)  # room for one at a time
    letters = "".join([str(await peer.message())[0] for _ in range(60)])
    assert letters in ("ab" * 30, "ba" * 30)
    assert await peer.close_code() == 1000


async def test_a_send_that_waits_for_its_turn_sends_nothing_after_our_close() -> None:
    failed = trio.Event()

    async def talk(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(10_000_000))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(websocket.ConnectionClosed) as caught:
                await ws.send("too late")
            assert caught.value.code == 1001
        failed.set()

    async with serving(server := server_of(talk, send_buffer=20_000)) as listener, trio.open_nursery() as nursery:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(server.shutdown, 60)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await peer.message() == bytes(10_000_000)
        assert await peer.close_code() == 1001
        await peer.send(close(1001))
        assert await peer.ended()
        await peer.aclose()
    assert failed.is_set()


async def test_a_send_that_waits_for_its_turn_can_be_cancelled() -> None:
    async def talk(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(10_000_000))
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, 3)
                    await ws.send("never")
                assert scope.cancelled_caught
        await ws.send("in turn")

    async with serving(server := server_of(talk, send_buffer=20_000)) as listener:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await peer.message() == bytes(10_000_000)
        assert await peer.message() == "in turn"
        await peer.aclose()


async def test_a_send_that_fails_loses_nothing_that_has_arrived(connect: Connect) -> None:
    """What the peer had said before it went is still received, its close frame too."""
    recorder = Recorder()
    gone, ended = trio.Event(), trio.Event()

    async def talk(ws: WebSocket) -> None:
        await gone.wait()
        with pytest.raises(websocket.ConnectionClosed):
            while True:
                await ws.send(bytes(1000))
        assert ws.close_code == 1006
        await recorder(ws)
        ended.set()

    peer = await open_peer(connect, talk)
    await peer.stream.send_all(b"".join(text(str(number)) for number in range(50)) + close())
    await peer.aclose()
    gone.set()
    await ended.wait()
    if isinstance(peer.stream, trio.SocketStream) and not recorder.messages:
        assert recorder.code == 1006  # the kernel throws away what it has when the reset comes
    else:
        assert recorder.messages == [str(number) for number in range(50)]
        assert isinstance(recorder.end, trio.EndOfChannel)
        assert recorder.ws.close_code == 1000


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(("last", "code"), [(close(4000), 4000), (frame(15), 1006), (b"", 1006)])
async def test_after_a_send_that_failed_the_last_word_of_the_peer_counts(
    nursery: trio.Nursery, last: bytes, code: int, closes: bool
) -> None:
    """The peer has stopped reading only: its close frame may still come, whether we receive or close."""
    gone, sent, ended = trio.Event(), trio.Event(), trio.Event()

    async def talk(ws: WebSocket) -> None:
        await gone.wait()
        with pytest.raises(websocket.ConnectionClosed) as caught:
            await ws.send("x")
        assert (caught.value.code, ws.close_code) == (1006, 1006)
        await sent.wait()
        if closes:
            await ws.aclose()
        else:
            with pytest.raises(websocket.ConnectionClosed) as caught:
                await ws.receive()
            assert caught.value.code == code
        assert ws.close_code == code
        ended.set()

    to_server, from_client = trio.testing.memory_stream_one_way_pair()
    to_client, from_server = trio.testing.memory_stream_one_way_pair()
    nursery.start_soon(
        server_of(talk, limits=Limits(linger_timeout=0.1)).serve_stream, trio.StapledStream(to_client, from_client)
    )
    await shake(Client(trio.StapledStream(to_server, from_server)))
    await from_server.aclose()
    gone.set()
    if last:
        await to_server.send_all(last)  # and the stream stays open
    else:
        await to_server.aclose()
    sent.set()
    with trio.fail_after(5):
        await ended.wait()


async def test_every_kind_of_bytes_can_be_sent(connect: Connect) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.send(bytearray(b"abc"))
        await ws.send(memoryview(b"abcdef")[1:3])
        ws.send_nowait(memoryview(b"abcdef")[::2])
        ws.send_nowait(memoryview(numbers))

    numbers = array("Q", [1, 2])
    peer = await open_peer(connect, talk)
    assert [await peer.message() for _ in range(4)] == [b"abc", b"bc", b"ace", numbers.tobytes()]


async def test_a_bytearray_may_be_reused_at_once() -> None:
    async def talk(ws: WebSocket) -> None:
        buffer = bytearray(50_000)
        for number in range(100):
            buffer[:] = bytes([number]) * 50_000
            websocket.broadcast([ws], buffer)

    async with serving(server := server_of(talk, send_buffer=10**7)) as listener:
        peer = await blocked_peer(server, listener)
        for number in range(100):
            assert await peer.message() == bytes([number]) * 50_000
        await peer.aclose()


# ---- the peer closes


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_an_orderly_close_ends_the_iteration(connect: Connect, code: int | None) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(text("last") + close(code))
    assert await peer.frame() == Frame(CLOSE, b"" if code is None else code.to_bytes(2))
    assert await peer.ended()
    await recorder.ended.wait()
    assert recorder.messages == ["last"]
    assert isinstance(recorder.end, trio.EndOfChannel)
    assert (recorder.ws.close_code, recorder.ws.close_reason) == (code or 1005, "")


@pytest.mark.parametrize("code", [1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
async def test_any_other_close_raises(connect: Connect, code: int) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(text("last") + close(code, "grüße"))
    assert await peer.frame() == Frame(CLOSE, code.to_bytes(2) + "grüße".encode())
    assert await peer.ended()
    await recorder.ended.wait()
    assert recorder.messages == ["last"]
    assert isinstance(recorder.end, websocket.ConnectionClosed)
    assert isinstance(recorder.end, trio.BrokenResourceError)
    assert (recorder.end.code, recorder.end.reason) == (code, "grüße")
    assert (recorder.ws.close_code, recorder.ws.close_reason) == (code, "grüße")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
async def test_codes_that_no_close_frame_may_have(connect: Connect, code: int) -> None:
    await check_failure(connect, close(code), 1002)


async def test_half_a_close_code(connect: Connect) -> None:
    await check_failure(connect, frame(CLOSE, b"\3"), 1002)


async def test_the_longest_close_reason(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(close(4000, "x" * 123))
    assert await peer.frame() == Frame(CLOSE, (4000).to_bytes(2) + b"x" * 123)
    await recorder.ended.wait()
    assert recorder.ws.close_reason == "x" * 123


async def test_what_comes_after_a_close_is_ignored(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(text("before") + close() + text("after") + frame(PING, b"after") + frame(15))
    assert await peer.close_code() == 1000
    assert await peer.ended()
    await recorder.ended.wait()
    assert recorder.messages == ["before"]


async def test_the_end_stays_the_end(connect: Connect) -> None:
    raised: list[type[Exception]] = []

    async def insist(ws: WebSocket) -> None:
        for operation in (ws.receive, ws.receive, partial(ws.send, "x"), ws.receive):
            try:
                await operation()
            except Exception as exc:
                raised.append(type(exc))

    peer = await open_peer(connect, insist, after=close() + text("after"))
    assert await peer.close_code() == 1000
    assert await peer.ended()
    assert raised == [trio.EndOfChannel, trio.EndOfChannel, websocket.ConnectionClosed, trio.EndOfChannel]


@pytest.mark.parametrize("part", [b"", text("half")[:-1], text("half")[:3], frame(TEXT, b"half", fin=False)])
async def test_a_peer_that_vanishes_is_1006(connect: Connect, part: bytes) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(text("last") + part)
    await trio.testing.wait_all_tasks_blocked()
    await peer.aclose()
    await recorder.ended.wait()
    assert (recorder.messages, recorder.code, recorder.ws.close_code) == (["last"], 1006, 1006)


async def test_a_peer_that_resets_is_1006(connect_tcp: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect_tcp, recorder)
    await recorder.opened.wait()
    reset(peer.client)
    await recorder.ended.wait()
    assert recorder.code == 1006
    assert recorder.ws.close_reason


async def test_sending_finds_out_that_the_peer_is_gone(connect: Connect) -> None:
    raised = trio.Event()

    async def talk(ws: WebSocket) -> None:
        with pytest.raises(websocket.ConnectionClosed) as caught:
            while True:
                await ws.send(bytes(1000))
        assert (caught.value.code, ws.close_code) == (1006, 1006)
        raised.set()

    peer = await open_peer(connect, talk)
    if isinstance(peer.stream, trio.SocketStream):
        reset(peer.client)
    else:
        await peer.aclose()
    await raised.wait()


@pytest.mark.parametrize("fails", ["sending", "reading"])
async def test_what_fails_inside_a_stream_of_another_kind_is_the_end(
    connect_memory: Connect, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock, fails: str
) -> None:
    """It is logged, and nobody waits for ever."""

    class Failing(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self.stream = stream

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            if fails == "reading":
                raise ZeroDivisionError
            return await self.stream.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise ZeroDivisionError

        async def wait_send_all_might_not_block(self) -> None:
            await self.stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self.stream.aclose()

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        async with websocket.accept(request, Failing(stream)) as ws:
            if fails == "reading":
                await trio.sleep(1)  # meanwhile it is read ahead
            with pytest.raises(websocket.ConnectionClosed) as caught:
                await ws.send("x")
            assert (caught.value.code, ws.close_code) == (1006, 1006)
            failed.set()

    failed = trio.Event()
    peer = await shake(await connect_memory(Server(on_upgrade=on_upgrade)))
    with trio.fail_after(5):
        await failed.wait()
    await peer.aclose()
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith(fails)
    caplog.clear()


async def test_what_is_unhandled_is_no_error_of_ours(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def loop(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    peer = await open_peer(connect, loop)
    await peer.send(close(4000))
    assert await peer.close_code() == 4000
    assert await peer.ended()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert caplog.records[0].exc_info is not None
    assert isinstance(caplog.records[0].exc_info[1], websocket.ConnectionClosed)


# ---- this side closes


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "x" * 123), (1011, "é"), (3000, ""), (4999, "€")])
async def test_aclose_says_why_and_waits_for_the_answer(connect: Connect, code: int, reason: str) -> None:
    closed = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await ws.aclose(code, reason)
        assert (ws.close_code, ws.close_reason) == (code, reason)
        closed.set()

    peer = await open_peer(connect, leave)
    assert await peer.frame() == Frame(CLOSE, code.to_bytes(2) + reason.encode())
    await peer.send(text("of no interest") + frame(PING))
    await trio.testing.wait_all_tasks_blocked()
    assert not closed.is_set()
    await peer.send(close(code))
    assert await peer.frame() == Frame(PONG, b"")  # until its close comes, the peer may ask whether we live
    assert await peer.ended()
    await peer.aclose()
    await closed.wait()


@pytest.mark.parametrize(
    ("code", "reason"), [(0, ""), (999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (2999, ""), (5000, "")]
)
async def test_aclose_says_nothing_that_cannot_be_said(connect: Connect, code: int, reason: str) -> None:
    async def leave(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="no close frame may have the code"):
            await ws.aclose(code, reason)
        with pytest.raises(ValueError, match="at most 123 bytes"):
            await ws.aclose(1000, "é" * 62)
        await ws.send("still open")

    peer = await open_peer(connect, leave)
    assert await peer.message() == "still open"
    assert await peer.close_code() == 1000


async def test_after_aclose_nothing_goes(connect: Connect) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.aclose()
        with pytest.raises(trio.EndOfChannel):
            await ws.receive()
        with pytest.raises(websocket.ConnectionClosed):
            await ws.send("x")
        with pytest.raises(websocket.ConnectionClosed):
            ws.send_nowait("x")
        websocket.broadcast([ws], "x")

    peer = await open_peer(connect, leave, after=text("unread") + close())
    assert await peer.close_code() == 1000
    assert await peer.ended()


async def test_aclose_wakes_the_task_that_receives(connect: Connect) -> None:
    woken = trio.Event()

    async def leave(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(trio.EndOfChannel):
                    await ws.receive()
                woken.set()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await ws.aclose(4000)

    peer = await open_peer(connect, leave)
    assert await peer.close_code() == 4000
    await peer.send(close(4000))
    assert await peer.ended()
    await woken.wait()


@pytest.mark.parametrize("receives", [True, False])
async def test_aclose_reads_on_where_the_task_that_receives_has_stopped(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, receives: bool
) -> None:
    """It has received a message, or was cancelled."""
    took: list[float] = []
    closed = trio.Event()

    async def leave(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope(shield=True):
                if not receives:
                    nursery.cancel_scope.cancel()
                begin = trio.current_time()
                await ws.aclose()
                took.append(trio.current_time() - begin)
        closed.set()

    peer = await open_peer(connect_memory, leave)
    assert await peer.close_code() == 1000
    await peer.send(text("the last one"), close())
    assert await peer.ended()
    await peer.aclose()
    await closed.wait()
    assert took == [0]


async def test_two_tasks_close_what_is_read_ahead(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    closed = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await trio.sleep(1)  # until it is read ahead
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            nursery.start_soon(ws.aclose)
        closed.set()

    peer = await open_peer(connect_memory, leave)
    assert await peer.close_code() == 1000
    await peer.send(close())
    with trio.fail_after(5):
        assert await peer.ended()
        await closed.wait()


async def test_aclose_waits_for_a_close_that_has_begun(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    order: list[str] = []
    closed = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await trio.sleep(1)  # until the peer's close is answered, and its end waited for
        await ws.aclose()
        order.append("closed")
        closed.set()

    peer = await shake(await connect_memory(server_of(leave, limits=Limits(linger_timeout=1000))))
    await peer.send(close())
    assert await peer.close_code() == 1000
    await trio.sleep(5)
    order.append("ended")
    await peer.aclose()
    await closed.wait()
    assert order == ["ended", "closed"]


async def test_a_second_aclose_waits_for_the_first(connect: Connect) -> None:
    order: list[str] = []
    second, left = trio.Event(), trio.Event()

    async def leave(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            async def first() -> None:
                await ws.aclose(4000)
                order.append("first")

            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            second.set()
            await ws.aclose(4001)
            order.append("second")
        left.set()

    peer = await open_peer(connect, leave)
    assert await peer.close_code() == 4000
    await second.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert order == []
    await peer.send(close(4000))
    assert await peer.ended()
    await peer.aclose()
    await left.wait()
    assert sorted(order) == ["first", "second"]


async def test_a_peer_that_does_not_answer_a_close_is_not_waited_for(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    took: list[float] = []

    async def leave(ws: WebSocket) -> None:
        begin = trio.current_time()
        await ws.aclose()
        took.append(trio.current_time() - begin)
        closed.set()

    closed = trio.Event()
    peer = await open_peer(connect_memory, leave, close_timeout=7)
    assert await peer.close_code() == 1000
    assert await peer.ended()
    await closed.wait()
    assert took == [7]


async def test_a_cancelled_aclose_drops_the_connection(connect: Connect) -> None:
    async def leave(ws: WebSocket) -> None:
        with trio.move_on_after(0.01) as scope:
            await ws.aclose(4000)
        assert scope.cancelled_caught
        with pytest.raises(trio.EndOfChannel):
            await ws.receive()

    peer = await open_peer(connect, leave)
    assert await peer.close_code() == 4000
    assert await peer.ended()


async def test_a_send_that_waits_wakes_when_another_task_closes() -> None:
    woken = trio.Event()

    async def leave(ws: WebSocket) -> None:
        async def send() -> None:
            with pytest.raises(websocket.ConnectionClosed):
                await ws.send(bytes(10_000_000))
            woken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.01):
                await ws.aclose()

    async with serving(server := server_of(leave)) as listener:
        peer = await blocked_peer(server, listener)
        await woken.wait()
        await peer.aclose()


async def test_a_cancelled_aclose_drops_what_a_shutdown_has_begun_to_close() -> None:
    dropped = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await ws.request.server.shutting_down.wait()
        await trio.sleep(0.6)  # until the peer's answer is taken, and its end waited for
        with trio.move_on_after(0) as scope:
            await ws.aclose()
        assert scope.cancelled_caught
        dropped.set()

    server = server_of(leave, limits=Limits(linger_timeout=1000))
    async with serving(server) as listener, trio.open_nursery() as nursery:
        peer = await shake(await open_client(listener))
        over = trio.Event()

        async def shut_down() -> None:
            await server.shutdown(60)
            over.set()

        nursery.start_soon(shut_down)
        assert await peer.close_code() == 1001
        await peer.send(close(1001))
        await dropped.wait()
        with trio.fail_after(5):
            assert await peer.ended()
            await over.wait()
        await peer.aclose()


async def test_aclose_gives_no_further_time_to_a_peer_that_was_told_already(mock_clock: trio.testing.MockClock) -> None:
    left = trio.Event()

    async def leave(ws: WebSocket) -> None:
        await ws.request.server.shutting_down.wait()
        await trio.sleep(9)
        begin = trio.current_time()
        await ws.aclose()
        assert trio.current_time() - begin <= 1
        left.set()

    server = server_of(leave, close_timeout=10)
    async with serving(server) as listener, trio.open_nursery() as nursery:
        peer = await shake(await open_client(listener))
        nursery.start_soon(server.shutdown, 60)
        assert await peer.close_code() == 1001
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.5)
        await left.wait()
        await peer.aclose()


async def test_messages_in_front_of_our_close_arrive() -> None:
    async def talk(ws: WebSocket) -> None:
        for number in range(50):
            ws.send_nowait(b"%05d" % number + bytes(10_000))

    async with serving(server := server_of(talk)) as listener:
        peer = await blocked_peer(server, listener)
        await trio.testing.wait_all_tasks_blocked(0.05)
        for number in range(50):
            assert await peer.message() == b"%05d" % number + bytes(10_000)
        assert await peer.close_code() == 1000
        await peer.send(close())
        assert await peer.ended()
        await peer.aclose()


async def test_both_close_at_once(connect: Connect) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.aclose(4000)
        assert ws.close_code == 4000

    peer = await open_peer(connect, leave, after=close(1001))
    assert await peer.close_code() == 4000
    assert await peer.ended()


async def test_a_violation_while_we_wait_for_the_close_ends_it(connect: Connect) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.aclose(4000)

    peer = await open_peer(connect, leave)
    assert await peer.close_code() == 4000
    await peer.send(frame(15))
    with trio.fail_after(5):
        assert await peer.ended()


# ---- the handler's end


async def test_returning_closes_with_1000(connect: Connect) -> None:
    async def leave(ws: WebSocket) -> None:
        pass

    peer = await open_peer(connect, leave)
    assert await peer.close_code() == 1000
    await peer.send(close())
    assert await peer.ended()


@pytest.mark.parametrize("groups", [0, 2])
async def test_a_handler_that_raises_closes_with_1011(
    connect: Connect, groups: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(ws: WebSocket) -> None:
        error: Exception = KeyError("secret")
        for _ in range(groups):
            error = ExceptionGroup("", [error])
        raise error

    peer = await open_peer(connect, fail)
    assert await peer.frame() == Frame(CLOSE, (1011).to_bytes(2))  # the peer is told nothing of what it was
    await peer.send(close(1011))
    assert await peer.ended()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    caplog.clear()


async def test_a_handler_that_is_cancelled_drops_the_connection(nursery: trio.Nursery) -> None:
    busy = Busy()
    server = server_of(busy)
    ours, theirs = trio.testing.memory_stream_pair()
    scope = trio.CancelScope()

    async def serve() -> None:
        with scope:
            await server.serve_stream(theirs)
        left.set()

    left = trio.Event()
    nursery.start_soon(serve)
    peer = await shake(Client(ours))
    await busy.opened.wait()
    scope.cancel()
    assert await peer.ended()
    await left.wait()
    assert busy.ws.close_code == 1006
    with pytest.raises(websocket.ConnectionClosed):
        busy.ws.send_nowait("x")


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("closed", [False, True])
async def test_what_ends_the_program_is_not_held_up(nursery: trio.Nursery, cancelled: bool, closed: bool) -> None:
    """Nor hidden by a cancellation that comes with it."""

    async def leave(ws: WebSocket) -> None:
        if closed:
            with pytest.raises(trio.EndOfChannel):
                await ws.receive()
            await trio.testing.wait_all_tasks_blocked()  # until that is answered
        if cancelled:
            scope.cancel()
        raise SystemExit(3)

    ours, theirs = trio.testing.memory_stream_pair()
    scope = trio.CancelScope()
    seen = trio.Event()

    async def serve() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            with scope:
                await server_of(leave).serve_stream(theirs)
        assert caught.group_contains(SystemExit)
        seen.set()

    nursery.start_soon(serve)
    peer = await shake(Client(ours), after=close() if closed else b"")
    if closed:
        assert await peer.close_code() == 1000
    assert await peer.ended()
    await seen.wait()


# ---- shutdown


async def test_a_shutdown_closes_with_1001_and_ends_the_iteration() -> None:
    recorder = Recorder()
    server = server_of(recorder)
    async with serving(server) as listener, trio.open_nursery() as nursery:
        peer = await shake(await open_client(listener))
        await recorder.opened.wait()
        nursery.start_soon(server.shutdown, 5)
        assert await peer.close_code() == 1001
        await peer.send(text("one more") + close(1001))
        assert await peer.ended()
        await recorder.ended.wait()
        assert recorder.messages == ["one more"]
        assert isinstance(recorder.end, trio.EndOfChannel)
        assert recorder.ws.close_code == 1001
        await peer.aclose()


async def test_a_shutdown_does_not_wait_for_a_peer_that_does_not_answer(mock_clock: trio.testing.MockClock) -> None:
    recorder = Recorder()
    server = server_of(recorder, close_timeout=3)
    async with serving(server) as listener, trio.open_nursery() as nursery:
        peer = await shake(await open_client(listener))
        await recorder.opened.wait()
        nursery.start_soon(server.shutdown, 60)
        assert await peer.close_code() == 1001
        mock_clock.jump(4)
        await recorder.ended.wait()
        assert isinstance(recorder.end, trio.EndOfChannel)
        assert await peer.ended()
        await peer.aclose()


async def test_nothing_but_pongs_follows_the_close_of_a_shutdown(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """No ping is due any more."""
    recorder = Recorder()
    server = server_of(recorder, ping_interval=1, close_timeout=10)
    peer = await shake(await connect_memory(server))
    await recorder.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    assert await peer.ended()
    await recorder.ended.wait()
    assert isinstance(recorder.end, trio.EndOfChannel)


async def test_a_violation_after_the_close_of_a_shutdown_raises(connect: Connect, nursery: trio.Nursery) -> None:
    recorder = Recorder()
    server = server_of(recorder)
    peer = await shake(await connect(server))
    await recorder.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    await peer.send(frame(15))
    await recorder.ended.wait()
    assert recorder.code == 1001


async def test_a_shutdown_does_not_wait_longer_than_it_says(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    recorder = Recorder()
    server = server_of(recorder, close_timeout=0.1)
    peer = await shake(await connect_memory(server))
    await recorder.opened.wait()
    nursery.start_soon(server.shutdown, 60)
    assert await peer.close_code() == 1001
    begin = trio.current_time()
    assert await peer.ended()
    assert trio.current_time() - begin <= 0.13


async def test_a_websocket_that_opens_during_a_shutdown_is_closed_at_once() -> None:
    server = server_of(echo)
    async with serving(server) as listener, trio.open_nursery() as nursery:
        client = await open_client(listener)
        await client.send(b"GET / HT")
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(server.shutdown, 5)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(
            b"TP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        reply = await client.reply()
        assert reply.status == 101
        peer = Peer(client, reply)
        assert await peer.close_code() == 1001
        await peer.aclose()


async def test_a_server_may_serve_websockets_again() -> None:
    server = server_of(echo)
    for _ in range(2):
        async with serving(server) as listener, trio.open_nursery() as nursery:
            peer = await shake(await open_client(listener))
            await peer.send(text("hello"))
            assert await peer.message() == "hello"
            nursery.start_soon(server.shutdown, 5)
            assert await peer.close_code() == 1001
            await peer.send(close(1001))
            assert await peer.ended()
            await peer.aclose()


async def test_cancelling_the_serving_drops_every_connection() -> None:
    busy = trio.Event()

    async def handler(ws: WebSocket) -> None:
        busy.set()
        await trio.sleep_forever()

    async with serving(server_of(handler)) as listener:
        peer = await shake(await open_client(listener))
        await busy.wait()
    assert await peer.ended()
    await peer.aclose()


async def test_a_send_beside_a_cancelled_serving_fails(nursery: trio.Nursery) -> None:
    """Nothing may follow a frame that was cut."""
    scope = trio.CancelScope()
    failed = trio.Event()

    async def talk(ws: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as inner:
                inner.start_soon(expect_failure, ws, bytes(10_000_000))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
            await expect_failure(ws, "goodbye")
        failed.set()

    async def expect_failure(ws: WebSocket, message: Message) -> None:
        with pytest.raises(websocket.ConnectionClosed):
            await ws.send(message)

    server = server_of(talk)
    listening: trio.Event = trio.Event()
    listeners: list[trio.SocketListener] = []

    async def serve() -> None:
        with scope:
            async with serving(server) as listener:
                listeners.append(listener)
                listening.set()
                await trio.sleep_forever()

    nursery.start_soon(serve)
    await listening.wait()
    peer = await blocked_peer(server, listeners[0])
    await failed.wait()
    await peer.aclose()


async def test_nothing_follows_a_frame_that_was_cut(nursery: trio.Nursery) -> None:
    """Not even when the peer has made room for more."""
    cut, drained, done = trio.Event(), trio.Event(), trio.Event()

    async def talk(ws: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            ws.send_nowait(bytes(10_000_000))
            scopes[0].cancel()
            await trio.testing.wait_all_tasks_blocked()
            cut.set()
            await drained.wait()
            websocket.broadcast([ws], "after")
            await trio.testing.wait_all_tasks_blocked()
        done.set()

    server = server_of(talk)
    scopes: list[trio.CancelScope] = []
    listeners: list[trio.SocketListener] = []

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            async with serving(server) as listener:
                scopes.append(scope)
                listeners.append(listener)
                task_status.started()
                await trio.sleep_forever()

    await nursery.start(serve)
    peer = await blocked_peer(server, listeners[0])
    await cut.wait()
    while True:
        with trio.move_on_after(0.1) as quiet:
            await peer.client.exactly(10_000)
        if quiet.cancelled_caught:
            break
    drained.set()
    await done.wait()
    assert b"after" not in await peer.client.rest()
    await peer.aclose()


async def test_a_websocket_says_what_it_is(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await recorder.opened.wait()
    assert repr(recorder.ws).startswith("<WebSocket open of <Request GET / from ")
    await peer.send(close(4000))
    await recorder.ended.wait()
    assert repr(recorder.ws).startswith("<WebSocket closed 4000 of ")
