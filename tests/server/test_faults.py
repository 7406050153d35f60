"""Cancelled at any checkpoint, and left by its peer at any byte: nothing is left over, nobody else notices."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server, websocket
from trio_upgrade._exceptions import flatten

from ..support.client import Client, chunked, get, open_client, post, reset, serving, upgrade
from ..support.websocket_client import PING, close, frame, handshake, text


class Program:
    """Handlers of every kind, which count who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.calls = 0
        self.server = Server(self.on_request, on_upgrade=self.on_upgrade, limits=Limits(linger_timeout=0.1))

    async def on_request(self, request: Request) -> Response:
        with self:
            await request.body.read()
            return Response(200, self.content() if request.path == "/stream" else "okay")

    async def content(self) -> AsyncIterator[bytes]:
        with self:
            for _ in range(3):
                yield b"part"
                await trio.lowlevel.checkpoint()

    async def on_upgrade(self, request: Request, stream: trio.abc.Stream) -> None:
        with self:
            if websocket.is_handshake(request):
                async with websocket.accept(request, stream) as ws:
                    async for message in ws:
                        await ws.send(message)
            else:
                await request.body.read()
                await request.accept()
                async for data in stream:
                    await stream.send_all(data)
                    if data.endswith(b"after"):
                        break

    def __enter__(self) -> None:
        self.inside += 1
        self.calls += 1

    def __exit__(self, *exc_info: object) -> None:
        self.inside -= 1


CHUNKED = b"Transfer-Encoding: chunked\r\n"
EXCHANGES = {
    "requests": get() + post(b"body") + get("/", b"Connection: close\r\n"),
    "streaming": get("/stream") + get("/stream", b"Connection: close\r\n"),
    "upgrade": upgrade(CHUNKED, chunked(b"a body", b"of two") + b"after"),
    "websocket": handshake() + text("hello") + frame(PING) + frame(1, b"frag", fin=False) + frame(0, b"ment") + close(),
}
exchanges = pytest.mark.parametrize("data", EXCHANGES.values(), ids=EXCHANGES)


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` before the n-th step of the tasks below a task.

    Attributes:
      left: how many steps it still waits; below 0, the scope was cancelled.
    """

    def __init__(self, step: int, root: trio.lowlevel.Task, scope: trio.CancelScope) -> None:
        self.left = step
        self._root = root
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        above: trio.lowlevel.Task | None = task
        while above is not None and above is not self._root:
            above = above.parent_nursery.parent_task if above.parent_nursery is not None else None
        if above is self._root:
            self.left -= 1
            if self.left == -1:
                self._scope.cancel()


async def run_cancelled(step: int, run: Callable[[], Awaitable[object]]) -> bool:
    """Run it in this task, cancelled at a step; whether it came so far. Nothing but Cancelled may come out."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(step, trio.lowlevel.current_task(), scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await run()
        except BaseException as exc:
            if not all(isinstance(leaf, trio.Cancelled) for leaf in flatten(exc)):
                raise AssertionError("something else than Cancelled came out") from exc
            raise
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return instrument.left < 0


async def talk(stream: trio.abc.Stream, data: bytes) -> bytes:
    """Send everything, and read to whatever end comes."""
    received = bytearray()
    try:
        await stream.send_all(data)
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        async for part in stream:
            received += part
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)
    return bytes(received)


async def steps(run: Callable[[int], Awaitable[bool]]) -> int:
    """Run it, cancelled at each step in turn, until it ends before that; how many there were."""
    for step in range(2000):
        if not await run(step):
            return step
    raise AssertionError("it does not end")


@exchanges
async def test_a_connection_may_be_cancelled_at_any_checkpoint(
    data: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """Another one of the same server goes on."""
    program = Program()
    whole: bytes = b""
    other, others_end = trio.testing.memory_stream_pair()

    async def run(step: int) -> bool:
        nonlocal whole
        ours, theirs = trio.testing.memory_stream_pair()
        cancelled = True
        async with trio.open_nursery() as nursery:

            async def client() -> None:
                nonlocal whole
                received = await talk(ours, data)
                whole = max(whole, received, key=len)

            async def serve() -> None:
                nonlocal cancelled
                cancelled = await run_cancelled(step, lambda: program.server.serve_stream(theirs))

            nursery.start_soon(client)
            nursery.start_soon(serve)
        assert program.inside == program.server.statistics().open == 1
        await other.send_all(b"%d" % step)
        assert await other.receive_some() == b"%d" % step
        await still_serves(program.server)
        return cancelled

    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.server.serve_stream, others_end)
        await other.send_all(upgrade())
        assert (await other.receive_some()).startswith(b"HTTP/1.1 101 ")
        assert await steps(run) > 20
        await other.aclose()
    assert whole.startswith(b"HTTP/1.1 ")


async def still_serves(server: Server) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        assert (await talk(ours, get("/", b"Connection: close\r\n"))).endswith(b"okay")


def descriptors() -> list[str]:
    """What is open in this process."""
    return sorted(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, which only Linux has")
@exchanges
@pytest.mark.parametrize("tls", [False, True])
async def test_a_serving_may_be_cancelled_at_any_checkpoint(
    data: bytes, tls: bool, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """No descriptor is left open."""
    program = Program()
    server_context, client_context = tls_contexts
    await still_serves(program.server)
    before = descriptors()

    async def run(step: int) -> bool:
        cancelled = True

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            nonlocal cancelled

            async def listen() -> None:
                if tls:
                    await program.server.serve_ssl_over_tcp(0, server_context, task_status=task_status)
                else:
                    await program.server.serve_tcp(0, task_status=task_status)

            cancelled = await run_cancelled(step, listen)
            done.cancel()

        with trio.CancelScope() as done:
            async with trio.open_nursery() as nursery:
                try:
                    (listener,) = await nursery.start(serve)
                except RuntimeError:  # it ended before it listened
                    return True
                await visit(listener.transport_listener if tls else listener, data, client_context if tls else None)
                await program.server.shutdown(1)
        assert program.inside == 0
        assert descriptors() == before
        return cancelled

    assert await steps(run) > 15


async def visit(listener: trio.SocketListener, data: bytes, context: ssl.SSLContext | None) -> None:
    """Talk to who listens there, if anybody still does."""
    try:
        port = listener.socket.getsockname()[1]
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return
    await talk(trio.SSLStream(stream, context, server_hostname="test.example") if context else stream, data)


async def leave(client: Client, way: str) -> None:
    """End our side and read to the server's end; or close; or reset."""
    if way == "reset":
        return reset(client)
    if way == "end":
        with trio.fail_after(5):
            await client.send_eof()
            await client.rest()
    await client.aclose()


ways = pytest.mark.parametrize("way", ["end", "close", "reset"])


@exchanges
@ways
async def test_a_peer_may_leave_at_any_byte(data: bytes, way: str) -> None:
    program = Program()
    async with serving(program.server) as listener:
        for at in range(len(data) + 1):
            client = await open_client(listener)
            await client.stream.send_all(data[:at])
            if at % 7 == 0:
                await trio.testing.wait_all_tasks_blocked()  # else what was sent and the end arrive together
            await leave(client, way)
            with trio.fail_after(5):
                while program.server.statistics().open:
                    await trio.lowlevel.checkpoint()
            assert program.inside == 0
        client = await open_client(listener)
        await client.send(get())
        assert (await client.reply()).content == b"okay"
        await client.aclose()
    assert program.calls


class Cut(trio.abc.Stream):
    """A client's socket of which the client loses hold once it has sent so many bytes."""

    def __init__(self, stream: trio.SocketStream, left: int) -> None:
        self.stream = stream
        self.left = left

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        piece = bytes(data)[: self.left]
        self.left -= len(piece)
        await self.stream.send_all(piece)
        if not self.left:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()  # how it ends is for the test to decide


EVERY = 9  # bytes of a TLS connection
ENOUGH = 100_000


@exchanges
@ways
async def test_a_peer_may_leave_in_the_middle_of_tls(
    data: bytes, way: str, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    program = Program()
    server_context, client_context = tls_contexts

    async def visit(left: int) -> int:
        """Talk, and leave when so much was sent; how much could still have been sent."""
        client = await open_client(listener.transport_listener)
        assert isinstance(client.stream, trio.SocketStream)
        cut = Cut(client.stream, left)
        await talk(trio.SSLStream(cut, client_context, server_hostname="test.example"), data)
        await leave(client, way)
        with trio.fail_after(5):
            while program.server.statistics().open:
                await trio.lowlevel.checkpoint()
        assert program.inside == 0
        return cut.left

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(program.server.serve_ssl_over_tcp, 0, server_context)
        for at in range(1, ENOUGH - await visit(ENOUGH), EVERY):
            assert await visit(at) == 0
        await visit(ENOUGH)
        nursery.cancel_scope.cancel()
    assert program.calls


@exchanges
@ways
async def test_a_peer_may_leave_while_the_server_shuts_down(data: bytes, way: str) -> None:
    for at in range(0, len(data) + 1, 5):
        program = Program()
        with trio.fail_after(4):  # and does not wait for the grace time
            async with trio.open_nursery() as nursery:
                (listener,) = await nursery.start(program.server.serve_tcp, 0)
                client = await open_client(listener)
                await client.stream.send_all(data[:at])
                if at % 2:
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(program.server.shutdown, 5)
                await program.server.shutting_down.wait()
                await leave(client, way)
        assert program.inside == program.server.statistics().open == 0
