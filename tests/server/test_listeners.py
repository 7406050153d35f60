"""Taking connections: many at once, when descriptors run out, and from Unix sockets."""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server

from ..support.client import Client, get, okay, open_client, serving

Logged = Callable[[], list[str]]


async def test_many_connections_at_once() -> None:
    async with serving(Server(okay)) as listener:
        clients = [await open_client(listener) for _ in range(300)]
        for client in clients:
            await client.send(get())
        for client in clients:
            assert (await client.reply()).status == 200
            await client.aclose()


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    """Leaves the process so many free file descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest: list[int] = []

    def leave(free: int) -> None:
        if not lowest:
            lowest.append(os.open(os.devnull, os.O_RDONLY))
            os.close(lowest[0])
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest[0] + free, limits[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_running_out_of_descriptors_is_waited_out(
    few_descriptors: Callable[[int], None], logged: Logged, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(Server(okay)) as listener:
        first = await open_client(listener)
        await first.send(get())
        assert (await first.reply()).status == 200
        waiting = socket.socket()
        waiting.setblocking(False)
        few_descriptors(0)
        with pytest.raises(BlockingIOError):
            waiting.connect(listener.socket.getsockname())
        await trio.sleep(1)
        assert logged() == ["ERROR"]  # once, however long it takes
        await first.send(get())  # those that are there never notice
        assert (await first.reply()).status == 200
        few_descriptors(10)
        await trio.sleep(1)
        second = Client(trio.SocketStream(trio.socket.from_stdlib_socket(waiting)))
        await second.send(get())
        assert (await second.reply()).status == 200
        await first.aclose()
        await second.aclose()


class FailingListener(trio.abc.Listener[trio.SocketStream]):
    """Fails to accept, in a way that a test chooses, and then ends."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise self.errors.pop(0)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_connection_that_died_in_the_queue_is_passed_over() -> None:
    errors: list[Exception] = [OSError(errno.ECONNABORTED, "gone"), OSError(errno.EINVAL, "the listener is broken")]
    with pytest.raises(ExceptionGroup) as caught:
        await Server(okay).serve_listeners([FailingListener(errors)])
    assert caught.group_contains(OSError, match="the listener is broken")


async def test_a_listener_that_another_task_closes_ends_the_serving() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(Server(okay)) as listener:
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
            await trio.sleep_forever()
    assert caught.group_contains(trio.ClosedResourceError)


async def test_serving_open_listeners_with_tls(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(server.serve_listeners, [listener], ssl_context=tls_contexts[0]))
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        client = Client(trio.SSLStream(stream, tls_contexts[1], server_hostname="test.example"))
        await client.send(get())
        assert (await client.reply()).content == b"okay /\n"
        await client.aclose()
        nursery.cancel_scope.cancel()


async def test_serving_a_listener_of_trios_own_tls(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Its connections come one by one, and those queued at a shutdown are served, too."""
    server = Server(okay)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, tls_contexts[0], host="127.0.0.1")
        await nursery.start(server.serve_listeners, [listener])

        async def ask() -> None:
            below = listener.transport_listener
            assert isinstance(below, trio.SocketListener)
            stream = await trio.testing.open_stream_to_socket_listener(below)
            client = Client(trio.SSLStream(stream, tls_contexts[1], server_hostname="test.example"))
            await client.send(get())
            assert (await client.reply()).content == b"okay /\n"
            await client.aclose()

        await ask()
        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        await server.shutdown(10)


async def test_serving_a_listener_of_streams_that_are_not_sockets() -> None:
    send, receive = trio.open_memory_channel[trio.abc.Stream](1)

    class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
        async def accept(self) -> trio.abc.Stream:
            return await receive.receive()

        async def aclose(self) -> None:
            await receive.aclose()

    server = Server(okay)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_listeners, [MemoryListener()])
        ours, theirs = trio.testing.memory_stream_pair()
        await send.send(theirs)
        client = Client(ours)
        await client.send(get())
        assert (await client.reply()).status == 200
        await client.aclose()
        await server.shutdown(10)
    with pytest.raises(trio.BrokenResourceError):
        await send.send(theirs)


async def test_a_trio_socket_stream_from_a_listener_finds_vanished_peers_too() -> None:
    class Wrapped(trio.abc.Listener[trio.SocketStream]):
        def __init__(self, listener: trio.SocketListener) -> None:
            self.listener = listener

        async def accept(self) -> trio.SocketStream:
            return await self.listener.accept()

        async def aclose(self) -> None:
            await self.listener.aclose()

    async def on_request(request: Request) -> Response:
        return Response(200, str(request.transport.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(Server(on_request).serve_listeners, [Wrapped(listener)])
        client = await open_client(listener)
        await client.send(get())
        assert (await client.reply()).content == b"1"
        await client.aclose()
        nursery.cancel_scope.cancel()


async def test_every_accepted_connection_sends_at_once_and_finds_vanished_peers() -> None:
    async def on_request(request: Request) -> Response:
        keeps_alive = request.transport.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return Response(200, repr((keeps_alive, request.transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        queued = [await open_client(listener) for _ in range(3)]  # before anybody has seen the listener
        await nursery.start(Server(on_request).serve_listeners, [listener])
        for number in range(6):
            client = queued[number] if number < 3 else await open_client(listener)
            await client.send(get())
            assert (await client.reply()).content == b"(1, 1)"
            await client.aclose()
        nursery.cancel_scope.cancel()


# ---- Unix sockets


async def ask(path: Path) -> bytes:
    async with await trio.open_unix_socket(path) as stream:
        client = Client(stream)
        await client.send(get())
        return (await client.reply()).content


async def test_serving_a_unix_socket_and_removing_it(tmp_path: Path) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, repr((request.client, request.peername, request.scheme)))

    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(on_request).serve_unix, path)
        assert await ask(path) == b"(None, '', 'http')"
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_unix_socket_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(Server(okay).serve_unix, str(path), mode=0o600, backlog=5))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        nursery.cancel_scope.cancel()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(okay).serve_unix, path)
        assert await ask(path) == b"okay /\n"
        nursery.cancel_scope.cancel()


async def test_a_live_unix_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(okay).serve_unix, path)
        with pytest.raises(OSError, match="another server") as caught:
            await Server().serve_unix(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert await ask(path) == b"okay /\n"
        nursery.cancel_scope.cancel()


async def test_a_live_unix_socket_with_a_full_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as queued:
        busy.bind(str(path))
        busy.listen(0)
        queued.connect(str(path))
        with pytest.raises(OSError, match="another server"):
            await Server().serve_unix(path)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(OSError, match="no socket") as caught:
        await Server().serve_unix(path)
    assert caught.value.errno == errno.EEXIST
    assert path.read_text() == "precious"


async def test_another_servers_unix_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(okay).serve_unix, path)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        nursery.cancel_scope.cancel()
    assert path.exists()
    path.unlink()
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(okay).serve_unix, path)
        path.unlink()
        nursery.cancel_scope.cancel()
