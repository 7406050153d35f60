"""Clients that leave while nobody reads from them or sends to them."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server
from trio_upgrade._peer_watch import PeerWatch, Watch
from trio_upgrade._socket_transport import SocketTransport

from ..support.client import Client, Connect, chunked, get, okay, open_client, post_head, reset, serving, upgrade

SOON = 5  # seconds, of a busy machine


def descriptors() -> int:
    """How many descriptors this process has open; 0 where nobody can tell."""
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


class Waiter:
    """A handler that waits for its client to leave."""

    def __init__(self) -> None:
        self.waits = trio.Event()
        self.left = trio.Event()
        self.server = Server(self.on_request)

    async def on_request(self, request: Request) -> Response:
        self.waits.set()
        await request.wait_disconnected()
        self.left.set()
        return Response(200, "are you there?\n")


@asynccontextmanager
async def unix_client(server: Server, folder: Path) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve_unix, folder / "socket"))
        async with await trio.open_unix_socket(folder / "socket") as stream:
            yield Client(stream)
        nursery.cancel_scope.cancel()


# ---- who asks


async def test_an_end_is_noticed_and_a_client_that_half_closed_gets_its_response(connect: Connect) -> None:
    waiter = Waiter()
    client = await connect(waiter.server)
    await client.send(get())
    await waiter.waits.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert not waiter.left.is_set()
    await client.send_eof()
    with trio.fail_after(SOON):
        await waiter.left.wait()
        assert (await client.reply()).content == b"are you there?\n"


async def test_a_reset_is_noticed(connect_socket: Connect) -> None:
    waiter = Waiter()
    client = await connect_socket(waiter.server)
    await client.send(get())
    await waiter.waits.wait()
    reset(client)
    with trio.fail_after(SOON):
        await waiter.left.wait()


async def test_a_reset_after_unread_bytes_is_noticed(connect_tcp: Connect) -> None:
    waiter = Waiter()
    client = await connect_tcp(waiter.server)
    await client.send(get() + get("/next") + post_head(10_000_000) + bytes(100_000))
    await waiter.waits.wait()
    reset(client)
    with trio.fail_after(SOON):
        await waiter.left.wait()


@pytest.mark.parametrize("half", [True, False])
async def test_it_is_noticed_on_a_unix_socket(tmp_path: Path, half: bool) -> None:
    waiter = Waiter()
    async with unix_client(waiter.server, tmp_path) as client:
        await client.send(get())
        await waiter.waits.wait()
        await (client.send_eof() if half else client.aclose())
        with trio.fail_after(SOON):
            await waiter.left.wait()


async def test_a_close_over_tls_is_noticed(connect_tls: Connect) -> None:
    waiter = Waiter()
    client = await connect_tls(waiter.server)
    await client.send(get())
    await waiter.waits.wait()
    with trio.move_on_after(0.1):
        await client.aclose()
    with trio.fail_after(SOON):
        await waiter.left.wait()


async def test_a_scope_is_cancelled(connect: Connect) -> None:
    waits = trio.Event()

    async def on_request(request: Request) -> Response:
        with request.cancel_on_disconnect() as scope:
            waits.set()
            await trio.sleep_forever()
        with request.cancel_on_disconnect() as late:
            await trio.sleep_forever()
        return Response(200, f"{scope.cancelled_caught} {late.cancelled_caught}")

    client = await connect(Server(on_request))
    await client.send(get())
    await waits.wait()
    await client.send_eof()
    with trio.fail_after(SOON):
        assert (await client.reply()).content == b"True True"


async def test_a_scope_that_is_left_in_time_is_not_cancelled(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        with request.cancel_on_disconnect() as scope:
            await trio.lowlevel.checkpoint()
        return Response(200, str(scope.cancelled_caught))

    client = await connect(Server(on_request))
    for _ in range(3):
        await client.send(get())
        assert (await client.reply()).content == b"False"


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_the_body_may_be_read_meanwhile(connect: Connect, is_chunked: bool) -> None:
    """What the wait reads ahead, on a stream that is no socket, is the body's."""
    parts = [b"one", b"two", b"three" * 1000]
    seen_send, seen_receive = trio.open_memory_channel[bytes | bytearray](10)

    async def on_request(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.wait_disconnected)
            await trio.testing.wait_all_tasks_blocked()
            body = b""
            async for part in request.body:
                body += part
                await seen_send.send(part)
            nursery.cancel_scope.cancel()
        return Response(200, body)

    client = await connect(Server(on_request))
    content = b"".join(parts)
    if is_chunked:
        await client.send(get("/", b"Transfer-Encoding: chunked\r\n", "POST"))
        wire = [chunked(part).removesuffix(b"0\r\n\r\n") for part in parts] + [b"0\r\n\r\n"]
    else:
        await client.send(post_head(len(content)))
        wire = parts
    for part in wire[:-1]:
        await client.send(part)
        await seen_receive.receive()
    await client.send(wire[-1])
    assert (await client.reply()).content == content


async def test_requests_that_were_read_ahead_are_answered(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        if request.path == "/1":
            with trio.move_on_after(0.05):
                await request.wait_disconnected()
        return Response(200, request.path)

    client = await connect(Server(on_request))
    await client.send(get("/1") + get("/2"), get("/3"))
    for path in (b"/1", b"/2", b"/3"):
        assert (await client.reply()).content == path


async def test_a_body_that_is_awaited_already_is_still_read(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        body = b""

        async def read() -> None:
            nonlocal body
            body = await request.body.read()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await request.wait_disconnected()
        return Response(200, body)

    client = await connect(Server(on_request))
    await client.send(post_head(5))
    await trio.testing.wait_all_tasks_blocked()
    await client.send(b"he", b"ll", b"o")
    await client.send_eof()
    assert (await client.reply()).content == b"hello"


async def test_a_body_that_stops_coming_is_still_too_late(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.wait_disconnected)
            await trio.testing.wait_all_tasks_blocked()
            await request.body.read()
        raise AssertionError

    client = await connect(Server(on_request, limits=Limits(request_timeout=7)))
    await client.send(post_head(3) + b"ab")
    start = trio.current_time()
    assert (await client.reply()).status == 408
    assert trio.current_time() - start == pytest.approx(7, abs=0.5)


async def test_a_stream_that_is_no_socket_is_read_ahead_up_to_a_bound(connect_memory: Connect) -> None:
    waits = trio.Event()
    go_on = trio.Event()

    async def on_request(request: Request) -> Response:
        if request.path != "/":
            return Response(200, request.path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.wait_disconnected)
            waits.set()
            await go_on.wait()
            nursery.cancel_scope.cancel()
        return Response(200, "/")

    client = await connect_memory(Server(on_request))
    await client.send(get())
    await waits.wait()
    requests = 10_000
    await client.send(get("/more") * requests)
    await trio.testing.wait_all_tasks_blocked()
    go_on.set()
    assert (await client.reply()).content == b"/"
    for _ in range(requests):
        assert (await client.reply()).content == b"/more"


async def test_it_happens_when_the_response_was_sent(connect: Connect, nursery: trio.Nursery) -> None:
    done = trio.Event()

    async def in_the_background(request: Request) -> None:
        await request.wait_disconnected()
        await request.wait_disconnected()
        done.set()

    async def on_request(request: Request) -> Response:
        nursery.start_soon(in_the_background, request)
        await trio.testing.wait_all_tasks_blocked()
        return Response(200, "x")

    client = await connect(Server(on_request))
    await client.send(get())
    await client.reply()
    with trio.fail_after(SOON):
        await done.wait()


async def test_who_asks_after_the_response_is_told_at_once(connect: Connect) -> None:
    requests = []

    async def on_request(request: Request) -> Response:
        requests.append(request)
        return Response(200, "x")

    client = await connect(Server(on_request))
    await client.send(get())
    await client.reply()
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(SOON):
        await requests[0].wait_disconnected()


async def test_an_upgrade_handler_on_a_socket_may_ask(connect_socket: Connect) -> None:
    waits, left = trio.Event(), trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        waits.set()
        await request.wait_disconnected()
        left.set()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    client = await connect_socket(Server(on_upgrade=handler))
    await client.send(upgrade())
    await client.reply()
    await waits.wait()
    reset(client)
    with trio.fail_after(SOON):
        await left.wait()


class Closer:
    """An upgrade handler that waits for its client to leave, while another task closes the stream."""

    def __init__(self, close: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self.close = close
        self.ended = trio.Event()
        self.server = Server(okay, on_upgrade=self.on_upgrade, limits=Limits(linger_timeout=0.01))

    async def on_upgrade(self, request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.wait_disconnected)
            await trio.testing.wait_all_tasks_blocked()
            await self.close(stream)
        self.ended.set()

    async def check(self, client: Client) -> None:
        """The wait ends, though the client stays; and nothing is left of it for who gets the descriptor next."""
        await client.send(upgrade())
        await client.reply()
        with trio.fail_after(SOON):
            await self.ended.wait()
        (each,) = self.server._servings
        assert not each.state.peers._watches


@pytest.mark.parametrize("close", [trio.aclose_forcefully, methodcaller("aclose")])
async def test_closing_the_stream_ends_the_wait(connect_socket: Connect, close: Any) -> None:
    closer = Closer(close)
    await closer.check(await connect_socket(closer.server))


async def test_closing_a_stream_of_trios_own_tls_ends_the_wait(
    nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    closer = Closer(methodcaller("aclose"))
    (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(closer.server.serve_listeners, [trio.SSLListener(tcp, tls_contexts[0])])
    async with await trio.testing.open_stream_to_socket_listener(tcp) as below:
        stream = trio.SSLStream(below, tls_contexts[1], server_hostname="test.example")
        await closer.check(Client(stream))
    nursery.cancel_scope.cancel()


async def test_where_nobody_can_tell_it_raises(connect_memory: Connect) -> None:
    async def should_upgrade(request: Request) -> bool:
        with pytest.raises(RuntimeError, match="should_upgrade"):
            await request.wait_disconnected()
        return True

    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        with pytest.raises(RuntimeError, match="read the upgraded stream"), request.cancel_on_disconnect():
            pass
        return Response(200, "fine")

    client = await connect_memory(Server(should_upgrade=should_upgrade, on_upgrade=handler))
    await client.send(upgrade())
    assert (await client.reply()).content == b"fine"


# ---- who does not ask


class Quiet:
    """Streamed content that has nothing more to say after its first item."""

    def __init__(self) -> None:
        self.closed = trio.Event()
        self.more = trio.Event()
        self.server = Server(self.on_request)

    async def on_request(self, request: Request) -> Response:
        return Response(200, self.events())

    @trio.as_safe_channel
    async def events(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await self.more.wait()
            yield b"second"
        finally:
            self.closed.set()


async def test_streamed_content_ends_when_its_client_resets(connect_socket: Connect) -> None:
    quiet = Quiet()
    client = await connect_socket(quiet.server)
    await client.send(get())
    await client.head(200)
    reset(client)
    with trio.fail_after(SOON):
        await quiet.closed.wait()


async def test_streamed_content_goes_on_after_a_half_close(connect: Connect) -> None:
    quiet = Quiet()
    client = await connect(quiet.server)
    await client.send(get())
    await client.send_eof()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert not quiet.closed.is_set()
    quiet.more.set()
    assert (await client.reply()).content == b"firstsecond"


async def test_a_shutdown_does_not_wait_for_event_streams_of_clients_that_reset(nursery: trio.Nursery) -> None:
    quiet = Quiet()
    (listener,) = await nursery.start(quiet.server.serve_tcp, 0)
    clients = [await open_client(listener) for _ in range(20)]
    for client in clients:
        await client.send(get())
        await client.head(200)
    for client in clients:
        reset(client)
    with trio.fail_after(SOON):
        await quiet.server.shutdown(60)


async def test_nothing_is_left_of_a_watch() -> None:
    before = descriptors()
    waiter = Waiter()
    async with serving(waiter.server) as listener:
        for _ in range(10):  # a descriptor is used again
            client = await open_client(listener)
            await client.send(get())
            await waiter.waits.wait()
            waiter.waits = trio.Event()
            await client.send_eof()
            await client.reply()
            await client.aclose()
    assert descriptors() == before


async def test_a_server_that_nobody_asks_has_no_poller(connect_tcp: Connect) -> None:
    client = await connect_tcp(server := Server(okay))
    await client.send(get())
    await client.reply()
    (each,) = server._servings
    assert each.state.peers._poller is None


# ---- where there is no epoll


async def test_a_server_whose_descriptors_ran_out_notices_still(
    connect_tcp: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(select, "epoll", too_many, raising=False)
    quiet = Quiet()
    client = await connect_tcp(quiet.server)
    await client.send(get())
    await client.head(200)
    reset(client)
    with trio.fail_after(SOON):
        await quiet.closed.wait()


async def test_without_epoll_a_task_looks(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = socket.socketpair()
    left = trio.Event()
    watch = PeerWatch(select.poll())
    watch.add(Watch(SocketTransport(ours), True, left.set), nursery)
    await trio.sleep(10)
    assert not left.is_set()
    theirs.close()
    with trio.fail_after(1):
        await left.wait()
    ours.close()
    nursery.cancel_scope.cancel()
