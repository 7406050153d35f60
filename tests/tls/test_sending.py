"""What is sent over TLS: encrypted once, so sent whole and in order, whoever stops waiting for it."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_upgrade import Request, Response, Server, UpgradedStream
from trio_upgrade._exceptions import ConnectionBroken

from ..support.client import Connect, get, upgrade
from ..support.tls_client import make_contexts
from ..support.tls_pair import Pair, logging_contexts, tls_pair

CONTEXTS = make_contexts()


async def clog(pair: Pair) -> int:
    """Send without waiting until nothing is taken any more; returns how much was taken."""
    sent = 0
    while taken := pair.transport.send_nowait(bytes(2**20)):
        sent += taken
    return sent


# ---- without waiting


async def test_send_nowait_takes_what_fits_and_nobody_has_to_send_the_rest(connect_tls: Connect) -> None:
    sent = 0

    async def handler(request: Request, stream: UpgradedStream) -> None:
        nonlocal sent
        await request.accept()
        with trio.testing.assert_no_checkpoints():
            sent = stream.send_nowait(b"hello")
            while taken := stream.send_nowait(bytes(2**20)):
                sent += taken
            assert stream.send_nowait(b"x") == 0
        await trio.sleep_forever()

    client = await connect_tls(Server(on_upgrade=handler))
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await trio.testing.wait_all_tasks_blocked()
    assert await client.exactly(sent) == b"hello" + bytes(sent - 5)


async def test_a_task_sends_the_rest_and_lives_no_longer() -> None:
    async with trio.open_nursery() as nursery:
        pair = Pair(CONTEXTS, nursery)
        await pair.start()
        assert pair.transport.send_nowait(b"hello") == 5
        assert not nursery.child_tasks
        sent = await clog(pair)
        assert len(nursery.child_tasks) == 1
        assert await pair.receive(5 + sent) == b"hello" + bytes(sent)
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert pair.transport.send_nowait(b"again") == 5
        assert await pair.receive(5) == b"again"
        await clog(pair)
        assert len(nursery.child_tasks) == 1
        await pair.transport.abort()  # the nursery ends, so that task did
        await pair.socket.aclose()


async def test_send_nowait_while_another_task_sends_is_an_error() -> None:
    async with tls_pair(CONTEXTS) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.send_all, bytes(2**20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                pair.transport.send_nowait(b"x")
            nursery.cancel_scope.cancel()


async def test_only_one_task_may_send() -> None:
    """Also while the first waits for what send_nowait has left."""
    for left in (False, True):
        async with tls_pair(CONTEXTS) as pair:
            if left:
                await clog(pair)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.transport.send_all, bytes(2**20))
                await trio.testing.wait_all_tasks_blocked()
                for call in (
                    partial(pair.transport.send_all, b"x"),
                    pair.transport.wait_send_all_might_not_block,
                    pair.transport.send_eof,
                ):
                    with pytest.raises(trio.BusyResourceError), trio.fail_after(1):
                        await call()
                nursery.cancel_scope.cancel()


async def test_send_nowait_of_nothing_takes_nothing() -> None:
    async with tls_pair(CONTEXTS) as pair:
        assert pair.transport.send_nowait(b"") == 0
        assert pair.transport.send_nowait(memoryview(b"hello")) == 5
        await pair.transport.send_all(memoryview(b"again"))
        await pair.transport.send_all(bytearray())
        assert await pair.receive(10) == b"helloagain"


# ---- waiting, and being cancelled


async def test_send_all_waits_for_what_send_nowait_has_left() -> None:
    async with tls_pair(CONTEXTS) as pair:
        sent = await clog(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.send_all, b"last")
            await trio.testing.wait_all_tasks_blocked()
            assert await pair.receive(sent) == bytes(sent)
            assert await pair.receive(4) == b"last"


async def test_waiting_to_send_waits_for_what_send_nowait_has_left() -> None:
    async with tls_pair(CONTEXTS) as pair:
        sent = await clog(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.wait_send_all_might_not_block)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            await pair.receive(sent)
        assert pair.transport.send_nowait(b"x") == 1


async def test_cancelled_sends_do_not_pile_up() -> None:
    async with tls_pair(CONTEXTS) as pair:
        counts = []
        for _ in range(20):
            with trio.move_on_after(0.005):
                await pair.transport.send_all(b"x" * 100_000)
            counts.append(pair.transport.bytes_sent)
        assert counts[-1] == counts[3]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.send_all, b"still whole")
            assert await pair.receive(counts[-1]) == b"x" * counts[-1]
            assert await pair.receive(11) == b"still whole"


async def test_a_cancelled_send_has_sent_nothing_or_goes_out_with_the_next() -> None:
    async with tls_pair(CONTEXTS) as pair:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pair.transport.send_all(b"never")
        assert pair.transport.bytes_sent == 0
        await pair.transport.send_all(b"sent")
        assert await pair.receive(4) == b"sent"


OPERATIONS = ["nowait", "all", "cancelled", "wait", "updates", "read"]


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(1, 300) | st.integers(1, 200_000)), min_size=1, max_size=25
    ),
    polite=st.booleans(),
)
def test_whatever_is_taken_arrives_once_and_in_order(
    operations: list[tuple[str, int]], polite: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a peer that reads now and then, and asks for new keys in between."""
    folder = tmp_path_factory.mktemp("keys")
    expected = bytearray()
    received = bytearray()
    counter = itertools.count()

    def make(size: int) -> bytes:
        return b"".join(b"%07d " % next(counter) for _ in range(size // 8 + 1))[:size]

    async def main() -> None:
        async with tls_pair(logging_contexts(folder)) as pair:
            transport = pair.transport

            def count(data: bytes, before: int) -> None:
                expected.extend(data[: transport.bytes_sent - before])

            for operation, size in operations:
                data, before = make(size), transport.bytes_sent
                if operation == "nowait":
                    taken = transport.send_nowait(data)
                    assert taken == transport.bytes_sent - before
                    count(data, before)
                elif operation == "updates":
                    await pair.socket.send_all(pair.records.key_update(True) + pair.records.data(b"x"))
                    assert await transport.receive_some() == b"x"
                elif operation == "read":
                    with trio.move_on_after(0.001):
                        received.extend(await pair.receive(size))
                else:
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as nursery:
                            if operation == "wait":
                                nursery.start_soon(transport.wait_send_all_might_not_block)
                            else:
                                nursery.start_soon(transport.send_all, data)
                            if operation == "all":
                                while nursery.child_tasks:
                                    with trio.move_on_after(0.001):
                                        received.extend(await pair.receive(1000))
                            else:
                                await trio.testing.wait_all_tasks_blocked()
                                scope.cancel()
                    if operation != "wait":
                        count(data, before)
            async with trio.open_nursery() as nursery:
                if polite:
                    nursery.start_soon(transport.send_eof)
                else:
                    nursery.start_soon(transport.linger, 10)
                while len(received) < len(expected):
                    received.extend(await pair.receive(min(1000, len(expected) - len(received))))
                if not polite:
                    assert await pair.receive_rest() == b""
                    await pair.socket.aclose()
                    assert pair.client.has_ended

    trio.run(main)
    assert received == expected


# ---- TLS that has to send in order to receive


async def test_keys_are_updated_while_a_task_sends(tmp_path: Path) -> None:
    async with tls_pair(logging_contexts(tmp_path)) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.send_all, bytes(2**20))
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(50):
                await pair.socket.send_all(pair.records.key_update(True) + pair.records.data(b"x"))
                assert await pair.transport.receive_some() == b"x"
            assert await pair.receive(2**20) == bytes(2**20)


# ---- the end


async def test_the_end_goes_out_after_what_was_kept(tmp_path: Path) -> None:
    async with tls_pair(CONTEXTS) as pair:
        sent = await clog(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.linger, 10)
            assert await pair.receive_rest() == bytes(sent)
            assert pair.client.has_ended
            await pair.socket.aclose()


async def test_the_end_of_our_side_leaves_the_peers_open() -> None:
    async with tls_pair(CONTEXTS) as pair:
        await pair.transport.send_all(b"bye")
        await pair.transport.send_eof()
        await pair.transport.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await pair.transport.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            pair.transport.send_nowait(b"x")
        assert await pair.receive(3) == b"bye"
        await pair.send(b"still here")
        assert await pair.transport.receive_some() == b"still here"
        await pair.socket.send_all(pair.client.end())
        assert await pair.transport.receive_some() == b""
        assert pair.client.has_ended


async def test_send_eof_while_another_task_sends_is_an_error() -> None:
    async with tls_pair(CONTEXTS) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.transport.send_all, bytes(2**20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await pair.transport.send_eof()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("closing", ["linger", "aclose", "abort"])
@pytest.mark.parametrize("left", [False, True])
async def test_closing_wakes_who_sends_and_who_receives(closing: str, left: bool) -> None:
    """At once, though the closing itself waits for the peer. What send_nowait has left is sent by a third task."""
    woken = 0

    async def expect_closed(method: str, *args: object) -> None:
        nonlocal woken
        with pytest.raises(trio.ClosedResourceError):
            await getattr(pair.transport, method)(*args)
        woken += 1

    async with tls_pair(CONTEXTS) as pair:
        if left:
            await clog(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, "send_all", bytes(2**20))
            nursery.start_soon(expect_closed, "receive_some")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(getattr(pair.transport, closing), *([10] if closing == "linger" else []))
            await trio.testing.wait_all_tasks_blocked()
            assert woken == 2
            nursery.cancel_scope.cancel()
        for method, args in [("send_all", (b"x",)), ("receive_some", ()), ("send_eof", ())]:
            await expect_closed(method, *args)
        await pair.transport.aclose()


@pytest.mark.parametrize("left", [False, True])
async def test_closing_wakes_who_sends_though_nobody_receives(left: bool) -> None:
    """At once, and the closing then waits for the peer without using the processor."""
    woken = trio.Event()

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pair.transport.send_all(bytes(2**20))
        woken.set()

    async with tls_pair(CONTEXTS) as pair:
        if left:
            await clog(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(pair.transport.linger, 10)
            with trio.fail_after(5):
                await woken.wait()
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("closing", ["abort", "aclose", "reset"])
async def test_every_close_is_told_before_the_socket_is_closed(closing: str) -> None:
    told: list[int] = []

    async with tls_pair(CONTEXTS) as pair:
        pair.transport.on_close = lambda transport: told.append(pair.transport.socket.fileno())
        await getattr(pair.transport, closing)()
        assert told[0] > 0


@pytest.mark.parametrize("turns", range(5))
async def test_closing_wakes_who_is_taking_half_a_record(turns: int) -> None:
    async def expect_closed(pair: Pair) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pair.transport.receive_some()

    async def leave(pair: Pair) -> None:
        await pair.receive_rest()
        await pair.socket.aclose()

    for _ in range(10):  # Trio runs the tasks of a moment in any order
        async with tls_pair(CONTEXTS) as pair:
            await pair.socket.send_all(pair.client.encrypt(b"hello")[:10])
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave, pair)
                nursery.start_soon(expect_closed, pair)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await pair.transport.linger(10)
            assert trio.current_time() - start < 5


async def test_a_reset_breaks_both_directions() -> None:
    async with tls_pair(CONTEXTS) as pair:
        await pair.transport.send_all(b"unread")
        await pair.socket.aclose()
        with pytest.raises(trio.BrokenResourceError) as caught:
            while True:
                await pair.transport.send_all(bytes(1000))
        assert isinstance(caught.value, ConnectionBroken)
        assert caught.value._transport is pair.transport
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await pair.transport.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            pair.transport.send_nowait(b"x")


async def test_a_send_that_must_not_wait_tells_whose_connection_is_broken() -> None:
    """Also when what breaks is the sending of an earlier send's rest."""
    async with tls_pair(CONTEXTS) as pair:
        with trio.move_on_after(0.005):
            await pair.transport.send_all(bytes(2**20))
        await pair.socket.aclose()
        with pytest.raises(ConnectionBroken) as caught:
            pair.transport.send_nowait(b"x")
        assert caught.value._transport is pair.transport


# ---- responses


async def test_a_large_response_is_encrypted_as_the_client_reads(connect_tls: Connect) -> None:
    content = bytes(range(256)) * 2**17
    server = Server(lambda request: respond(content))
    client = await connect_tls(server)
    await client.send(get())
    await client.head(200)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert server.statistics().bytes_sent < len(content) / 2
    assert await client.exactly(len(content)) == content


async def respond(content: bytes) -> Response:
    return Response(200, content)
