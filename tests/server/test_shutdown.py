"""Nothing outlives its nursery, and a shutdown leaves nothing half done."""

from __future__ import annotations

import gc
import os
import socket as stdlib_socket
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Client, Connect, echo, get, okay, open_client, post, serving, upgrade

Logged = Callable[[], list[str]]


@pytest.fixture
def nothing_is_left() -> AsyncIterator[None]:  # type: ignore[misc]
    """No task is left by the test, and no socket: its ResourceWarning would be an error."""
    yield
    gc.collect()


# ---- cancelling


async def test_cancelling_the_nursery_ends_every_connection(nothing_is_left: None) -> None:
    ended: list[str] = []

    async def on_request(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("request")

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        try:
            await stream.receive_some()
        finally:
            ended.append("upgraded")

    before = trio.lowlevel.current_statistics().tasks_living
    clients = []
    async with serving(Server(on_request, on_upgrade=on_upgrade)) as listener:
        for data in (b"", b"GET / HT", get(), upgrade(), post(b"12345")[:-1]):
            client = await open_client(listener)
            clients.append(client)
            if data:
                await client.send(data)
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(ended) == ["request", "request", "upgraded"]
    assert trio.lowlevel.current_statistics().tasks_living == before
    for client in clients:
        with trio.fail_after(1):
            try:
                await client.rest()
            except trio.BrokenResourceError:
                pass  # there were bytes that nobody read
        await client.aclose()


async def test_cancelling_a_linger_closes_at_once(nothing_is_left: None) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    async with serving(Server(on_upgrade=on_upgrade)) as listener:
        client = await open_client(listener)
        await client.send(upgrade())
        assert (await client.reply()).status == 101
        assert await client.rest() == b""
    await client.aclose()


async def test_cancelling_serve_stream_closes_the_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.move_on_after(0.01):
        await Server(okay).serve_stream(theirs)
    assert await ours.receive_some() == b""


# ---- shutting down


async def shut_down(nursery: trio.Nursery, server: Server, grace: float = 60) -> trio.Event:
    """Start a shutdown; the event is set when it is done."""
    done = trio.Event()

    async def run() -> None:
        await server.shutdown(grace)
        done.set()

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    return done


async def test_an_idle_server_shuts_down_at_once(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        address = listener.socket.getsockname()
        assert not server.shutting_down.is_set()
        await server.shutdown(60)
        assert server.shutting_down.is_set()
        assert listener.socket.fileno() == -1
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(*address)
    assert trio.current_time() < 1


async def test_idle_connections_close_and_those_that_have_asked_are_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.1  # seconds: the kernel takes up to 0.04 to acknowledge
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        fresh, kept, asking = [await open_client(listener) for _ in range(3)]
        for client in (kept, asking):
            await client.send(get())
            assert (await client.reply()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        # It is in the kernel's buffer, unseen by the server, when the shutdown begins.
        assert isinstance(asking.stream, trio.SocketStream)
        os.write(asking.stream.socket.fileno(), get("/last"))
        await server.shutdown(60)
        reply = await asking.reply()
        assert (reply.content, reply.closes) == (b"okay /last\n", True)
        for client in (fresh, kept, asking):
            assert await client.rest() == b""
            await client.aclose()
    assert trio.current_time() <= 1.2 + server.limits.linger_timeout


async def test_queued_connections_are_accepted_and_answered(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        clients = []
        for number in range(100):
            client = await open_client(listeners[0])
            await client.send(get(f"/{number}"))
            clients.append(client)
        await nursery.start(server.serve_listeners, listeners)
        nursery.start_soon(server.shutdown, 60)
        for number, client in enumerate(clients):
            reply = await client.reply()
            assert (reply.content, reply.closes) == (f"okay /{number}\n".encode(), True)
            assert await client.rest() == b""
            await client.aclose()
    assert trio.current_time() < 1


async def test_a_shutdown_bears_that_another_process_takes_what_is_queued(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    theirs = listeners[0].socket.dup()
    is_readable = type(theirs).is_readable
    taken: list[stdlib_socket.socket] = []

    def readable_and_then_taken(ours: trio.socket.SocketType) -> bool:
        readable = is_readable(ours)
        if readable:
            with stdlib_socket.fromfd(theirs.fileno(), theirs.family, theirs.type) as their_listener:
                taken.append(their_listener.accept()[0])
        return readable

    monkeypatch.setattr(type(theirs), "is_readable", readable_and_then_taken)
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        client = await open_client(listeners[0])
        await nursery.start(server.serve_listeners, listeners)
        await server.shutdown(60)
    assert trio.current_time() < 1
    assert len(taken) == 1
    taken[0].close()
    theirs.close()
    await client.aclose()


async def test_a_request_that_is_on_its_way_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        new, kept, silent = [await open_client(listener) for _ in range(3)]
        await kept.send(get("/first"))
        assert (await kept.reply()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 60)
        await trio.sleep(0.5)
        for client in (new, kept):
            await client.send(get())
            reply = await client.reply()
            assert (reply.content, reply.closes) == (b"okay /\n", True)
        assert await silent.rest() == b""
        assert 1 <= trio.current_time() < 1.2
        for client in (new, kept, silent):
            await client.aclose()


async def test_connections_that_have_been_quiet_close_at_once(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        silent, kept = [await open_client(listener) for _ in range(2)]
        await kept.send(get())
        assert (await kept.reply()).status == 200
        await trio.sleep(2)
        nursery.start_soon(server.shutdown, 60)
        for client in (silent, kept):
            assert await client.rest() == b""
            assert trio.current_time() == 2
            await client.aclose()


async def test_requests_in_progress_finish_and_say_that_they_close(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    begun = trio.Event()

    async def on_request(request: Request) -> Response:
        begun.set()
        await request.server.shutting_down.wait()
        await trio.sleep(30)
        return Response(200, "finished")

    server = Server(on_request)
    client = await connect(server)
    await client.send(get() + get("/pipelined"))
    await begun.wait()
    done = await shut_down(nursery, server)
    reply = await client.reply()
    assert (reply.content, reply.closes) == (b"finished", True)
    assert trio.current_time() == 30
    assert not done.is_set()
    assert await client.rest() == b""
    await client.aclose()
    await done.wait()
    assert trio.current_time() == 30


async def test_a_request_whose_head_has_begun_is_in_progress(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(okay)
    client = await connect(server)
    await client.send(get()[:10])
    await trio.testing.wait_all_tasks_blocked()
    await shut_down(nursery, server)
    await trio.sleep(10)
    await client.send(get()[10:])
    reply = await client.reply()
    assert (reply.status, reply.closes) == (200, True)


async def test_a_response_that_is_streamed_finishes(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            yield b"before, "
            await request.server.shutting_down.wait()
            await trio.sleep(10)
            yield b"after"

        return Response(200, content() if request.path == "/" else b"")

    server = Server(on_request)
    client = await connect(server)
    await client.send(get() + get("/pipelined"))
    await trio.testing.wait_all_tasks_blocked()
    await shut_down(nursery, server)
    assert (await client.reply()).content == b"before, after"
    assert (await client.reply()).closes
    assert await client.rest() == b""


async def test_upgraded_connections_say_goodbye_in_time(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        with request.server.cancel_on_shutdown() as scope:
            async for data in stream:
                await stream.send_all(data)
        assert scope.cancelled_caught
        await stream.send_all(b"goodbye")

    server = Server(on_upgrade=on_upgrade)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await client.send(b"hi")
    assert await client.exactly(2) == b"hi"
    done = await shut_down(nursery, server)
    assert await client.rest() == b"goodbye"
    await client.aclose()
    await done.wait()
    assert trio.current_time() < 1


async def test_what_is_left_after_the_grace_is_cancelled(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await trio.sleep_forever()

    server = Server(on_upgrade=on_upgrade)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    done = await shut_down(nursery, server, 25)
    assert await client.rest() == b""
    await done.wait()
    assert trio.current_time() == 25


async def test_cancelling_shutdown_only_stops_waiting(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    server = Server(on_upgrade=echo)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    with trio.move_on_after(5) as scope:
        await server.shutdown(25)
    assert scope.cancelled_caught
    await client.send(b"still here")
    assert await client.exactly(10) == b"still here"
    assert await client.rest() == b""
    assert trio.current_time() == 25


async def test_a_later_shutdown_can_only_shorten_the_grace(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(on_upgrade=echo)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    done = await shut_down(nursery, server, 25)
    await shut_down(nursery, server, 50)
    await done.wait()
    assert trio.current_time() == 25


async def test_a_handler_cannot_wait_for_its_own_shutdown(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        with pytest.raises(RuntimeError, match="call it in a task outside"):
            await request.server.shutdown(1)
        async with trio.open_nursery() as nursery:
            with pytest.raises(ExceptionGroup) as caught:
                async with trio.open_nursery() as inner:
                    inner.start_soon(request.server.shutdown, 1)
            assert caught.group_contains(RuntimeError)
            nursery.cancel_scope.cancel()
        assert not request.server.shutting_down.is_set()
        return Response(200)

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).status == 200


async def test_a_handler_may_start_a_shutdown_outside(nursery: trio.Nursery, connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        nursery.start_soon(request.server.shutdown, 10)
        await request.server.shutting_down.wait()
        return Response(200, "as you wish")

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).content == b"as you wish"
    assert await client.rest() == b""


async def test_shutting_down_a_server_that_is_not_served_does_nothing() -> None:
    server = Server(okay)
    with trio.testing.assert_checkpoints():
        await server.shutdown(10)
    assert not server.shutting_down.is_set()
    with pytest.raises(ValueError, match="grace"):
        await server.shutdown(-1)


async def test_a_server_serves_again_after_a_shutdown_with_a_fresh_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(okay)
    events = []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(server.serve_tcp, 0)
            events.append(server.shutting_down)
            assert not server.shutting_down.is_set()
            client = await open_client(listener)
            async with client.stream:
                await client.send(get())
                assert (await client.reply()).status == 200
                nursery.start_soon(server.shutdown, 10)
                assert await client.rest() == b""
    assert len(set(events)) == 3
    assert all(event.is_set() for event in events)


async def test_a_server_that_shuts_down_takes_no_new_serving(nursery: trio.Nursery) -> None:
    server = Server(on_upgrade=echo)
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    client = Client(ours)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    done = await shut_down(nursery, server)
    second, third = trio.testing.memory_stream_pair()
    with pytest.raises(RuntimeError, match="shutting down"):
        await server.serve_stream(third)
    assert await second.receive_some() == b""
    with pytest.raises(RuntimeError, match="shutting down"):
        await server.serve_tcp(0)
    await client.aclose()
    await done.wait()


async def test_two_servings_of_one_server_end_with_one_shutdown(
    tmp_path: Path, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(okay)
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        (tcp,) = await nursery.start(server.serve_tcp, 0)
        (tls,) = await nursery.start(server.serve_ssl_over_tcp, 0, tls_contexts[0])
        await nursery.start(server.serve_unix, path)
        secure = trio.SSLStream(
            await trio.testing.open_stream_to_socket_listener(tls.transport_listener),
            tls_contexts[1],
            server_hostname="test.example",
        )
        clients = [await open_client(tcp), Client(await trio.open_unix_socket(path)), Client(secure)]
        for client in clients:
            await client.send(get())
            assert (await client.reply()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 10)
        for client in clients:
            assert await client.rest() == b""
            await client.aclose()
    assert not path.exists()


async def test_cancelling_one_of_two_servings_leaves_the_other() -> None:
    server = Server(okay)
    async with serving(server) as listener:
        async with serving(server) as other:
            client = await open_client(other)
            await client.aclose()
        assert not server.shutting_down.is_set()
        client = await open_client(listener)
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).status == 200


async def test_cancel_on_shutdown_is_cancelled_at_once_during_one(nursery: trio.Nursery, connect: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await request.server.shutting_down.wait()
        with request.server.cancel_on_shutdown() as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        await stream.send_all(b"goodbye")

    server = Server(on_upgrade=on_upgrade)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await shut_down(nursery, server)
    assert await client.rest() == b"goodbye"


# ---- the nursery that connections share


async def test_a_task_shared_by_the_connections_ends_with_the_serving(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []

    async def shared() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("shared")

    async def on_request(request: Request) -> Response:
        request.server.nursery.start_soon(shared)
        return Response(200)

    server = Server(on_request)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        client = await open_client(listener)
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).status == 200
            await trio.testing.wait_all_tasks_blocked()
            assert ended == []
            nursery.start_soon(server.shutdown, 10)
            assert await client.rest() == b""
    assert ended == ["shared"]


async def test_each_serving_has_its_nursery_and_its_handlers_find_it() -> None:
    found: list[trio.Nursery] = []

    async def on_request(request: Request) -> Response:
        async with trio.open_nursery() as inner:  # from a task of the handler's, too
            inner.start_soon(note, request.server)
        return Response(200)

    async def note(server: Server) -> None:
        found.append(server.nursery)

    server = Server(on_request)
    with pytest.raises(RuntimeError, match="only while it is served"):
        server.nursery  # noqa: B018
    async with serving(server) as one, serving(server) as two:
        assert server.nursery
        for listener in (one, two, one):
            client = await open_client(listener)
            async with client.stream:
                await client.send(get())
                assert (await client.reply()).status == 200
        assert found[0] is found[2] is server.nursery
        assert found[1] is not found[0]


async def test_a_shared_task_that_fails_ends_the_serving() -> None:
    async def fail() -> None:
        raise LookupError("shared")

    async def on_request(request: Request) -> Response:
        request.server.nursery.start_soon(fail)
        await trio.sleep_forever()
        raise AssertionError

    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(get())
    with pytest.raises(ExceptionGroup) as caught:
        await Server(on_request).serve_stream(theirs)
    assert caught.group_contains(LookupError)
    assert await ours.receive_some() == b""


# ---- under nursery.start


async def test_serving_hands_back_the_listeners(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        tcp = await nursery.start(server.serve_tcp, 0)
        assert [type(listener) for listener in tcp] == [trio.SocketListener]
        assert tcp[0].socket.getsockname()[0] == "127.0.0.1"
        everywhere = await nursery.start(partial(server.serve_tcp, 0, host=None))
        assert {listener.socket.getsockname()[0] for listener in everywhere} <= {"0.0.0.0", "::"}
        tls = await nursery.start(server.serve_ssl_over_tcp, 0, tls_contexts[0])
        assert [type(listener) for listener in tls] == [trio.SSLListener]
        opened = await trio.open_tcp_listeners(0, host="127.0.0.1")
        assert await nursery.start(server.serve_listeners, opened) is opened
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serving(Server(okay)) as listener:
        with pytest.raises(OSError, match="in use"):
            await Server(okay).serve_tcp(listener.socket.getsockname()[1])


# ---- shutting down in the middle of something


async def kernel_holds(client: Client, data: bytes) -> None:
    """Let bytes lie in the server's kernel buffer, unseen, until it is scheduled again."""
    await trio.testing.wait_all_tasks_blocked()
    assert isinstance(client.stream, trio.SocketStream)
    os.write(client.stream.socket.fileno(), data)


async def test_what_is_malformed_is_answered_in_a_shutdown_too(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        client = await open_client(listener)
        await kernel_holds(client, b"nonsense\r\n\r\n")
        await server.shutdown(60)
        assert (await client.reply()).status == 400
        assert await client.rest() == b""
        await client.aclose()


async def test_half_a_head_that_has_arrived_is_a_request_in_progress(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        client = await open_client(listener)
        await kernel_holds(client, get()[:10])
        nursery.start_soon(server.shutdown, 60)
        await trio.sleep(10)
        await client.send(get()[10:])
        reply = await client.reply()
        assert (reply.status, reply.closes) == (200, True)
        await client.aclose()


async def test_a_request_that_has_arrived_is_answered_on_a_socket_of_trios(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(okay)
    one, other = trio.socket.socketpair()
    client = Client(trio.SocketStream(one))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, trio.SocketStream(other))
        await client.send(get())
        assert (await client.reply()).status == 200
        await kernel_holds(client, get("/last"))
        await server.shutdown(60)
        reply = await client.reply()
        assert (reply.content, reply.closes) == (b"okay /last\n", True)
        await client.aclose()


async def test_an_idle_connection_over_any_tls_is_ended_in_order(
    tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(okay)
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(trio.SSLStream(ours, tls_contexts[1], server_hostname="test.example"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, trio.SSLStream(theirs, tls_contexts[0], server_side=True))
        await client.send(get())
        assert (await client.reply()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown(60)
        assert await client.rest() == b""
        await client.aclose()


async def test_a_serving_that_is_just_starting_hears_of_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a name takes its time to be resolved."""
    resolving, resolved = trio.Event(), trio.Event()
    open_listeners = trio.open_tcp_listeners

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        resolving.set()
        await resolved.wait()
        return await open_listeners(*args, **kwargs)

    monkeypatch.setattr(trio, "open_tcp_listeners", slowly)
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_tcp, 0)
        await resolving.wait()
        with pytest.raises(RuntimeError, match="only while it is served"):
            server.nursery  # noqa: B018
        done = await shut_down(nursery, server)
        assert not done.is_set()
        resolved.set()
        await done.wait()


async def test_a_shutdown_during_a_tls_handshake(
    autojump_clock: trio.testing.MockClock, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """The handshake is finished, and what the client sent with it is answered; one that sent nothing is closed."""
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_ssl_over_tcp, 0, tls_contexts[0])
        streams = [
            trio.SSLStream(
                await trio.testing.open_stream_to_socket_listener(listener.transport_listener),
                tls_contexts[1],
                server_hostname="test.example",
            )
            for _ in range(2)
        ]
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 60)
        await trio.testing.wait_all_tasks_blocked()
        silent = streams[1]
        await silent.do_handshake()
        assert await silent.receive_some() == b""
        for stream in streams:
            await stream.aclose()
    assert trio.current_time() < 15


async def test_a_shutdown_does_not_wait_for_the_rest_of_an_unread_body(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.1  # seconds: the kernel takes up to 0.04 to acknowledge
    server = Server(okay)
    client = await connect(server)
    await client.send(post(b"123456")[:-4])
    assert (await client.reply()).status == 200
    done = await shut_down(nursery, server)
    assert await client.rest() == b""
    await done.wait()
    assert trio.current_time() <= server.limits.linger_timeout + 0.1


async def test_a_listener_is_closed_even_if_it_is_refused_in_a_cancelled_scope(nursery: trio.Nursery) -> None:
    server = Server(on_upgrade=echo)
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    client = Client(ours)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await shut_down(nursery, server)
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(RuntimeError, match="shutting down"):
            await server.serve_listeners(listeners)
    assert [listener.socket.fileno() for listener in listeners] == [-1, -1]
    await client.aclose()


async def test_the_shutdown_of_a_second_serving_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(on_upgrade=echo)
    for _ in range(2):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(server.serve_tcp, 0)
            client = await open_client(listener)
            await client.send(upgrade())
            assert (await client.reply()).status == 101
            await server.shutdown(5)
            assert trio.current_time() - start == 5
            await client.aclose()


async def test_an_empty_line_in_two_parts_is_no_request_that_a_shutdown_waits_for(
    connect: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(limits=Limits(header_timeout=60, keep_alive_timeout=30))
    client = await connect(server)
    await client.send(b"\r")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(server.shutdown, 1000)
    await trio.testing.wait_all_tasks_blocked()
    await client.send(b"\n")
    with trio.fail_after(2):
        assert await client.rest() == b""
