"""The stream and the transports are what trio says streams are."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Server, TransportInfo, UpgradedStream
from trio_upgrade._socket_transport import SocketTransport

from ..support.client import Client, Connect, connect_tcp, connect_tls, upgrade
from ..support.tls_client import HalfCloseableTls, make_contexts

Logged = Callable[[], list[str]]


class Handover:
    """A server whose handler hands its stream to the test, and waits."""

    def __init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel[UpgradedStream](1)
        # A closing stream waits for its peer; in these checks the peer often keeps still.
        self.server = Server(on_upgrade=self.handler, limits=Limits(linger_timeout=0.02))

    async def handler(self, request: Request, stream: UpgradedStream) -> None:
        fix_buffers(request.transport)
        await request.accept()
        await self.send.send(stream)
        await trio.sleep_forever()


def fix_buffers(stream: trio.SocketStream | SocketTransport | TransportInfo) -> None:
    """Keep the kernel from finding more room while nobody reads."""
    if stream.socket is not None:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            stream.socket.setsockopt(socket.SOL_SOCKET, option, 2**14)


async def clog(stream: trio.abc.Stream) -> None:
    """Fill the buffers in front of a stream that nobody reads."""

    async def fill() -> None:
        while True:
            await stream.send_all(bytes(2**12))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()


async def upgraded_pair(nursery: trio.Nursery) -> tuple[UpgradedStream, trio.SocketStream]:
    handover = Handover()
    client = await connect_tcp(nursery, handover.server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    stream = await handover.receive.receive()
    assert isinstance(client.stream, trio.SocketStream)
    fix_buffers(client.stream)
    return stream, client.stream


async def test_the_upgraded_stream_is_a_half_closeable_stream(nursery: trio.Nursery) -> None:
    async def clogged() -> tuple[trio.abc.HalfCloseableStream, trio.SocketStream]:
        pair = await upgraded_pair(nursery)
        for stream in pair:
            await clog(stream)
        return pair

    await trio.testing.check_half_closeable_stream(lambda: upgraded_pair(nursery), clogged)


async def transport_pair() -> tuple[SocketTransport, SocketTransport]:
    one, other = socket.socketpair()
    return SocketTransport(one), SocketTransport(other)


async def test_the_socket_transport_is_a_half_closeable_stream() -> None:
    async def clogged() -> tuple[SocketTransport, SocketTransport]:
        pair = await transport_pair()
        for stream in pair:
            await clog(stream)
        return pair

    await trio.testing.check_half_closeable_stream(transport_pair, clogged)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_over_tls_the_upgraded_stream_is_a_half_closeable_stream(
    nursery: trio.Nursery, version: ssl.TLSVersion
) -> None:
    async def pair() -> tuple[UpgradedStream, HalfCloseableTls]:
        handover = Handover()
        client = await connect_tls(nursery, handover.server, contexts=make_contexts(version))
        await client.send(upgrade())
        assert (await client.reply()).status == 101
        stream = await handover.receive.receive()
        assert isinstance(client.stream, trio.SSLStream)
        fix_buffers(client.stream.transport_stream)
        return stream, HalfCloseableTls(client.stream)

    async def clogged() -> tuple[UpgradedStream, HalfCloseableTls]:
        ours, theirs = await pair()
        await clog(ours)
        return ours, theirs

    await trio.testing.check_half_closeable_stream(pair, None)
    await trio.testing.check_one_way_stream(pair, clogged)  # trio's own TLS breaks when it is clogged


async def test_the_stream_in_front_of_a_body_is_a_half_closeable_stream(nursery: trio.Nursery) -> None:
    async def pair() -> tuple[trio.abc.HalfCloseableStream, trio.SocketStream]:
        handover = Handover()
        client = await connect_tcp(nursery, handover.server)
        await client.send(upgrade(b"Content-Length: 5\r\n", b"12345"))
        assert (await client.reply()).status == 101
        stream = await handover.receive.receive()
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        assert isinstance(client.stream, trio.SocketStream)
        return stream, client.stream

    await trio.testing.check_half_closeable_stream(pair, None)


async def test_send_nowait_takes_what_fits_and_never_waits(nursery: trio.Nursery, logged: Logged) -> None:
    stream, client = await upgraded_pair(nursery)
    send_nowait: Callable[[bytes], int] = stream.send_nowait
    with trio.testing.assert_no_checkpoints():
        assert send_nowait(b"hello") == 5
        sent = 0
        while taken := send_nowait(bytes(2**20)):
            sent += taken
        assert send_nowait(b"x") == 0
    received = Client(client)
    assert await received.exactly(5 + sent) == b"hello" + bytes(sent)
    async with trio.open_nursery() as inner:
        inner.start_soon(clog, stream)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            send_nowait(b"x")
    await trio.aclose_forcefully(client)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        while send_nowait(bytes(2**16)):
            pass
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        send_nowait(b"x")


async def test_send_nowait_after_eof_is_an_error(nursery: trio.Nursery) -> None:
    stream, client = await upgraded_pair(nursery)
    await stream.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        stream.send_nowait(b"x")
    await client.aclose()


async def test_small_messages_go_at_once_and_vanished_peers_are_found(connect_tcp: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        transport = request.transport
        assert transport.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        assert not transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4)[0]  # type: ignore[index]
        await request.accept()

    client = await connect_tcp(Server(on_upgrade=on_upgrade))
    await client.send(upgrade())
    assert (await client.reply()).status == 101


async def test_streams_say_who_they_talk_to(nursery: trio.Nursery) -> None:
    stream, client = await upgraded_pair(nursery)
    name = client.socket.getsockname()
    assert repr(stream) == f"<UpgradedStream {name!r}>"
    await client.aclose()
    await stream.aclose()
    assert repr(stream) == f"<UpgradedStream {name!r} closed>"
    one, other = await transport_pair()
    await one.aclose()
    assert repr(one) == "<SocketTransport None closed>"
    await other.aclose()


async def test_any_size_of_any_buffer_is_sent_whole(nursery: trio.Nursery) -> None:
    stream, client = await upgraded_pair(nursery)
    data = bytes(range(256)) * 8192
    received = Client(client)
    for part in (data, bytearray(data), memoryview(data), memoryview(data).cast("I"), memoryview(b""), b"end"):
        async with trio.open_nursery() as inner:
            inner.start_soon(stream.send_all, part)
            size = memoryview(part).nbytes
            assert await received.exactly(size) == (data if size > 3 else b"end"[:size])
    await client.aclose()


async def test_serving_a_plain_trio_socket_stream(nursery: trio.Nursery) -> None:
    """`serve_stream` takes any stream; here one of trio's, with a peer that is known."""
    seen: list[Request] = []

    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        seen.append(request)
        await request.accept()
        with pytest.raises(NotImplementedError, match="SocketStream"):
            stream.send_nowait(b"x")
        await stream.wait_send_all_might_not_block()
        await stream.send_all(await stream.receive_some())
        await stream.send_eof()

    server = Server(on_upgrade=on_upgrade)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = Client(await trio.testing.open_stream_to_socket_listener(listener))
        stream = await listener.accept()
        nursery.start_soon(server.serve_stream, stream)
        await client.send(upgrade(after=b"hello"))
        assert (await client.reply()).status == 101
        assert await client.rest() == b"hello"
        assert isinstance(client.stream, trio.SocketStream)
        assert seen[0].peername == client.stream.socket.getsockname()
        assert seen[0].client == "127.0.0.1"
        assert seen[0].transport.socket is stream.socket
        await client.aclose()


async def test_a_vanished_peer_of_a_stream_in_memory_breaks_it(connect_memory: Connect, logged: Logged) -> None:
    done = trio.Event()

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        assert await stream.receive_some() == b""
        try:
            await stream.send_all(b"x")
        finally:
            done.set()

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await client.aclose()
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert logged() == ["DEBUG ConnectionBroken"]


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancelled_read_on_a_socket_loses_nothing(turns: int) -> None:
    """Cancelled at each of its checkpoints, whether the bytes are there before it or come during it."""
    for early in (True, False):
        one, other = await transport_pair()
        received = bytearray()

        async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
            into += await stream.receive_some()

        if early:
            await other.send_all(b"hello")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, one, received)
                if not early:
                    other.send_nowait(b"hello")
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        if not received:
            await read(one, received)
        assert received == b"hello"
        await one.aclose()
        await other.aclose()


async def test_reading_what_came_early_is_a_checkpoint(connect_memory: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        with trio.testing.assert_checkpoints():
            await request.accept()
        for _ in range(5):
            with trio.testing.assert_checkpoints():
                assert await stream.receive_some(1) == b"x"
        with pytest.raises(ValueError, match="max_bytes"):
            await stream.receive_some(0)

    client = await connect_memory(Server(on_upgrade=on_upgrade))
    await client.send(upgrade(after=b"xxxxx"))
    assert (await client.reply()).status == 101
    assert await client.rest() == b""
