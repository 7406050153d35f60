"""How an upgraded connection ends: nothing that was sent is destroyed, and nothing outlives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server, UpgradedStream, websocket

from ..support.client import Client, Connect, echo, get, okay, open_client, post, reset, serving, upgrade
from ..support.websocket_client import handshake

Logged = Callable[[], list[str]]

MEGABYTE = bytes(range(256)) * 4096


async def upgraded(connect: Connect, server: Server) -> Client:
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    return client


async def test_the_peer_half_closes_and_still_gets_an_answer(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        received = b""
        async for data in stream:
            received += data
        await stream.send_all(received[::-1])

    client = await upgraded(connect, Server(on_upgrade=handler))
    await client.send(b"abc")
    await client.send_eof()
    assert await client.rest() == b"cba"


async def test_the_handler_half_closes_and_still_receives(connect: Connect) -> None:
    received: list[bytes] = []
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        await request.accept()
        await stream.send_all(b"bye")
        await stream.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"more")
        async for data in stream:
            received.append(bytes(data))
        done.set()

    client = await upgraded(connect, Server(on_upgrade=handler))
    assert await client.rest() == b"bye"
    await client.send(b"still here")
    await client.send_eof()
    await done.wait()
    assert b"".join(received) == b"still here"


async def sends_a_megabyte(request: Request, stream: trio.abc.Stream) -> None:
    await request.accept()
    await stream.send_all(MEGABYTE)


@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_what_was_sent_arrives_at_a_slow_reader_that_keeps_sending(
    connect_tcp: Connect, connect_tls: Connect, way: str
) -> None:
    """Closing a socket with unread bytes resets it, and the reset would overtake the megabyte."""
    client = await upgraded(connect_tls if way == "tls" else connect_tcp, Server(on_upgrade=sends_a_megabyte))
    received = b""
    while len(received) < len(MEGABYTE):
        await client.send(b"x" * 100)
        received += await client.exactly(min(16384, len(MEGABYTE) - len(received)))
    assert received == MEGABYTE
    assert await client.rest() == b""  # over TLS, an end without close_notify would raise


async def test_over_tls_the_end_is_told_even_if_the_peers_data_was_never_read(connect_tls: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        assert len(await stream.receive_some(1)) == 1
        await stream.send_all(b"bye")

    client = await upgraded(connect_tls, Server(on_upgrade=handler))
    await client.send(b"x" * 50_000)
    assert await client.rest() == b"bye"


async def test_the_linger_is_bounded(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    """A peer that never closes is dropped `linger_timeout` seconds after the handler returned."""

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    client = await upgraded(connect, Server(on_upgrade=handler, limits=Limits(linger_timeout=7)))
    start = trio.current_time()
    assert await client.rest() == b""  # the half-close comes at once
    assert trio.current_time() == start
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await client.send(b"x")
            await trio.sleep(0.5)
    assert start + 7 <= trio.current_time() <= start + 8


async def test_without_a_linger_nothing_is_awaited(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    closed = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all(MEGABYTE)
        await stream.aclose()
        closed.set()

    client = await upgraded(connect, Server(on_upgrade=handler, limits=Limits(linger_timeout=0)))
    assert await client.rest() == MEGABYTE
    start = trio.current_time()
    await closed.wait()
    assert trio.current_time() == start


async def test_aclose_does_what_returning_does(connect: Connect) -> None:
    closed = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all(b"bye")
        await stream.aclose()
        closed.set()
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")

    client = await upgraded(connect, Server(on_upgrade=handler))
    await client.send(b"unread")
    assert await client.rest() == b"bye"
    assert not closed.is_set()
    await client.aclose()
    await closed.wait()


async def test_aclose_wakes_a_task_that_reads(connect: Connect) -> None:
    woken = trio.Event()

    async def read(stream: trio.abc.Stream) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        woken.set()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, stream)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"bye")
            await stream.aclose()

    client = await upgraded(connect, Server(on_upgrade=handler))
    assert await client.rest() == b"bye"
    await woken.wait()
    if isinstance(client.stream, trio.SocketStream):
        for _ in range(3):  # what we still send is discarded: no reset
            await client.send(b"x")
            await trio.testing.wait_all_tasks_blocked()


async def test_aclose_over_tls_wakes_a_task_that_reads_and_tells_the_end(connect_tls: Connect) -> None:
    async def read(stream: trio.abc.Stream) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, stream)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"bye")
            await stream.aclose()

    client = await upgraded(connect_tls, Server(on_upgrade=handler))
    assert await client.rest() == b"bye"


async def test_a_cancelled_aclose_closes_at_once(connect: Connect) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()
        assert scope.cancelled_caught

    client = await upgraded(connect, Server(on_upgrade=handler, limits=Limits(linger_timeout=100)))
    with trio.fail_after(5):
        assert await client.rest() == b""


# ---- peers that fail


async def test_a_peer_that_resets_breaks_the_stream(connect_tcp: Connect, logged: Logged) -> None:
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            await stream.receive_some()
        finally:
            done.set()

    client = await upgraded(connect_tcp, Server(on_upgrade=handler))
    await trio.testing.wait_all_tasks_blocked()
    reset(client)
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["DEBUG ConnectionBroken"]


async def test_a_peer_that_vanishes_breaks_what_is_sent_to_it(connect: Connect, logged: Logged) -> None:
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            while True:
                await stream.send_all(b"x" * 10_000)
        finally:
            done.set()

    client = await upgraded(connect, Server(on_upgrade=handler))
    await client.aclose()
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["DEBUG ConnectionBroken"]


async def test_over_tls_an_end_without_close_notify_is_an_error(connect_tls: Connect, logged: Logged) -> None:
    ended: list[str] = []
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        assert await stream.receive_some() == b"half a mess"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        ended.append("broken")
        done.set()

    client = await upgraded(connect_tls, Server(on_upgrade=handler))
    await client.send(b"half a mess")
    assert isinstance(client.stream, trio.SSLStream)
    await client.stream.transport_stream.aclose()
    await done.wait()
    assert ended == ["broken"]


# ---- handlers that fail


async def others_are_untouched(server: Server) -> None:
    """Make one connection fail while another is in the middle of an exchange."""
    async with serving(server) as listener:
        bystander, client = await open_client(listener), await open_client(listener)
        async with bystander.stream, client.stream:
            await bystander.send(upgrade(target="/echo"))
            assert (await bystander.reply()).status == 101
            await client.send(upgrade(target="/fail"))
            reply = await client.reply()
            assert (reply.status, reply.closes) == (500, True)
            assert await client.rest() == b""
            await bystander.send(b"still here")
            assert await bystander.exactly(10) == b"still here"


async def test_a_handler_that_raises_ends_its_own_connection_alone(logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        if request.path == "/fail":
            raise LookupError("no such room")
        await echo(request, stream)

    await others_are_untouched(Server(on_upgrade=handler))
    assert logged() == ["ERROR LookupError"]


async def test_a_handler_that_raises_a_group_ends_its_own_connection_alone(logged: Logged) -> None:
    async def fail(exc: Exception) -> None:
        raise exc

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        if request.path == "/fail":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, LookupError("no such room"))
                nursery.start_soon(fail, OSError("no such disk"))
        await echo(request, stream)

    await others_are_untouched(Server(on_upgrade=handler))
    assert logged() == ["ERROR ExceptionGroup"]


async def test_a_group_of_a_vanished_peer_and_a_mistake_is_an_error(connect: Connect, logged: Logged) -> None:
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            while True:
                await stream.send_all(bytes(2**16))
        except trio.BrokenResourceError as exc:
            done.set()
            raise ExceptionGroup("both", [exc, LookupError("no such room")]) from None

    client = await upgraded(connect, Server(on_upgrade=handler))
    await client.aclose()
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["ERROR ExceptionGroup"]


async def test_an_ending_of_the_program_is_not_lost_in_a_cancellation(connect_memory: Connect) -> None:
    async def on_request(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit(3)

    for way in ("stream", "tcp"):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                server = Server(on_request)
                if way == "tcp":
                    (listener,) = await nursery.start(server.serve_tcp, 0)
                    client = await open_client(listener)
                else:
                    ours, theirs = trio.testing.memory_stream_pair()
                    nursery.start_soon(server.serve_stream, theirs)
                    client = Client(ours)
                await client.send(get())
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert caught.group_contains(SystemExit)
        await client.aclose()


async def test_a_handler_that_raises_after_the_101_is_logged_and_closed(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        raise LookupError("no such room")

    client = await upgraded(connect, Server(on_upgrade=handler))
    assert await client.rest() == b""
    assert logged() == ["ERROR LookupError"]


async def test_a_vanished_peer_in_a_group_is_no_error(connect_tcp: Connect, logged: Logged) -> None:
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
        finally:
            done.set()

    client = await upgraded(connect_tcp, Server(on_upgrade=handler))
    await trio.testing.wait_all_tasks_blocked()
    reset(client)
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["DEBUG ExceptionGroup"]


async def test_a_broken_database_is_never_taken_for_a_vanished_peer(connect: Connect, logged: Logged) -> None:
    """Even if the handler's own peer vanished, too, and both come in one group."""

    async def query() -> None:
        raise trio.BrokenResourceError("the database is gone")

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(query)
            nursery.start_soon(stream.send_all, b"x")

    client = await upgraded(connect, Server(on_upgrade=handler))
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["ERROR ExceptionGroup"]


@pytest.mark.parametrize(
    "sent", [post(b"half of it")[:-5], upgrade(), handshake()], ids=["a body", "an upgrade", "a WebSocket"]
)
async def test_a_vanished_client_of_a_server_inside_of_another_is_no_error_of_either(
    connect_socket: Connect, logged: Logged, sent: bytes
) -> None:
    async def read(request: Request) -> Response:
        return Response(200, await request.body.read())

    async def inner_upgrade(request: Request, stream: UpgradedStream) -> None:
        if websocket.is_handshake(request):
            async with websocket.accept(request, stream) as ws:
                await ws.receive()
        else:
            await echo(request, stream)

    inner = Server(read, on_upgrade=inner_upgrade)
    done = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            await inner.serve_stream(stream)
        finally:
            done.set()

    client = await upgraded(connect_socket, Server(on_upgrade=handler))
    await client.send(sent)
    await trio.testing.wait_all_tasks_blocked(0.01)
    reset(client)
    await done.wait()
    await trio.testing.wait_all_tasks_blocked(0.01)
    levels = [line.split()[0] for line in logged()]
    assert set(levels) == {"DEBUG"}
    assert inner.statistics().handler_errors == 0


async def test_another_connections_failure_is_an_error(logged: Logged) -> None:
    """A broadcast that trips over somebody else's vanished peer is a mistake of the handler."""
    streams: list[trio.abc.Stream] = []
    vanished = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        streams.append(stream)
        if len(streams) == 1:
            await trio.sleep_forever()
        await vanished.wait()
        while True:
            await streams[0].send_all(b"x" * 10_000)

    async with serving(Server(on_upgrade=handler)) as listener:
        one, two = await open_client(listener), await open_client(listener)
        async with one.stream, two.stream:
            for client in (one, two):
                await client.send(upgrade())
                assert (await client.reply()).status == 101
            reset(one)
            vanished.set()
            assert await two.rest() == b""
    assert logged() == ["ERROR ConnectionBroken"]


async def test_cancelled_in_a_group_passes_and_the_rest_is_logged(logged: Logged) -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("while being cancelled")

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.start_soon(trio.sleep_forever)

    async with serving(Server(on_upgrade=handler)) as listener:
        client = await open_client(listener)
        await client.send(upgrade())
        assert (await client.reply()).status == 101
        await trio.testing.wait_all_tasks_blocked()
    await client.aclose()
    assert logged() == ["ERROR ExceptionGroup"]  # the nursery's, without its Cancelled


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_keyboard_interrupt_and_system_exit_pass(kind: type[BaseException], logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        raise kind

    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(Server(on_request)) as listener:
            client = await open_client(listener)
            async with client.stream:
                await client.send(get())
                await trio.sleep_forever()
    assert caught.group_contains(kind)
    assert logged() == []


async def test_serve_stream_raises_what_the_handler_raised_after_closing(logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        raise LookupError("no such page")

    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(get())
    await ours.send_eof()
    with pytest.raises(LookupError, match="no such page"):
        await Server(on_request).serve_stream(theirs)
    assert (await Client(ours).reply()).status == 500
    with pytest.raises(trio.ClosedResourceError):
        await theirs.receive_some()
    assert logged() == ["ERROR LookupError"]


async def test_serve_stream_raises_nothing_for_a_peers_mistake() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(b"nonsense\r\n\r\n")
    await ours.send_eof()
    await Server(okay).serve_stream(theirs)
    assert (await Client(ours).reply()).status == 400


async def test_a_stream_may_be_closed_although_the_client_waits_for_a_100(connect: Connect, logged: Logged) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(b"Content-Length: 5\r\nExpect: 100-continue\r\n"))
    assert await client.rest() == b""
    assert logged() == []


@pytest.mark.parametrize("expect", [True, False])
async def test_a_stream_may_be_closed_while_another_task_accepts(expect: bool, logged: Logged) -> None:
    """The client takes nothing: the accept waits in the middle of the 100 (Continue), or of the 101."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    ended = []

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        async def accept() -> None:
            with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
                await request.accept()
            ended.append("accept")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
            ended.append("aclose")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(on_upgrade=handler).serve_stream, theirs)
        await ours.send_all(upgrade(b"Expect: 100-continue\r\n" if expect else b""))
        await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()
    assert sorted(ended) == ["accept", "aclose"]
    assert logged() == []


async def test_a_stream_may_be_closed_after_an_accept_was_cut_short(logged: Logged) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.accept)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        with pytest.raises(trio.BrokenResourceError, match="cut"):
            await request.accept()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(on_upgrade=handler).serve_stream, theirs)
        await ours.send_all(upgrade())
        await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()
    assert logged() == []
