"""What may still be done with a request and its stream once the handler has returned, or closed the stream."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server, websocket

from ..support.client import Client, Connect, get, upgrade
from ..support.websocket_client import KEY

Logged = Callable[[], list[str]]
EXPECT = b"Content-Length: 5\r\nExpect: 100-continue\r\n"


@pytest.mark.parametrize("fields", [b"", EXPECT])
@pytest.mark.parametrize("turns", range(6))
async def test_an_upgrade_cannot_be_accepted_any_more(
    connect: Connect, nursery: trio.Nursery, logged: Logged, fields: bytes, turns: int
) -> None:
    """Whenever a task outside tries, after the handler has returned without a word."""
    raised = trio.Event()

    async def accept(request: Request) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        with pytest.raises(trio.ClosedResourceError):
            await request.accept()
        raised.set()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        nursery.start_soon(accept, request)

    client = await connect(Server(on_upgrade=handler))
    await client.send(upgrade(fields))
    await client.send_eof()
    assert await client.rest() == b""
    await raised.wait()
    assert logged() == ["WARNING"]


@pytest.mark.parametrize("raises", [False, True])
async def test_a_response_waits_for_a_100_that_is_being_sent_and_nothing_comes_between(
    nursery: trio.Nursery, logged: Logged, raises: bool
) -> None:
    """One task outside reads the body, which sends the 100; another waits to accept; then the handler declines."""
    client, theirs = trio.testing.memory_stream_pair()
    go_on, ends = trio.Event(), trio.Event()
    theirs.send_stream.send_all_hook = go_on.wait
    accepted: list[str] = []

    async def read(request: Request) -> None:
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await request.body.read()

    async def accept(request: Request) -> None:
        try:
            await request.accept()
        except trio.ClosedResourceError:
            accepted.append("refused")

    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        nursery.start_soon(read, request)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(accept, request)
        await trio.testing.wait_all_tasks_blocked()
        ends.set()
        if raises:
            raise LookupError
        return Response(403, "no")

    async def serve() -> None:
        try:
            await Server(on_upgrade=handler).serve_stream(theirs)
        except LookupError:
            accepted.append("raised")

    nursery.start_soon(serve)
    await client.send_all(upgrade(EXPECT))
    await ends.wait()
    await trio.testing.wait_all_tasks_blocked()
    go_on.set()
    reply = await Client(client).reply()
    assert (reply.interim, reply.status) == ([100], 500 if raises else 403)
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(accepted) == (["raised", "refused"] if raises else ["refused"])
    assert logged() == (["ERROR LookupError"] if raises else [])


async def test_a_response_that_declines_is_not_kept_while_the_connection_is(connect: Connect) -> None:
    kept: list[weakref.ref[object]] = []

    class Content:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"no"

    async def handler(request: Request, stream: trio.abc.Stream) -> Response:
        content = Content()
        kept.append(weakref.ref(content))
        return Response(403, content)

    client = await connect(Server(on_upgrade=handler))
    gc.disable()
    try:
        await client.send(upgrade())
        assert (await client.reply()).content == b"no"
        await trio.testing.wait_all_tasks_blocked()
        assert kept[0]() is None
    finally:
        gc.enable()


async def test_the_connection_counts_as_active_while_it_ends(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()

    server = Server(on_upgrade=handler)
    client = await connect(server)
    await client.send(upgrade())
    assert (await client.reply()).status == 101
    await trio.sleep(0.5)  # it waits for our end
    assert (server.statistics().upgraded, server.statistics().active) == (0, 1)


async def test_the_body_and_the_stream_can_be_read_after_an_accept_was_cut_short(nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    read: list[bytes] = []

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        theirs.send_stream.send_all_hook = trio.sleep_forever
        with trio.CancelScope() as scope:
            nursery.start_soon(lambda: wait_and(scope.cancel))
            await request.accept()
        read.append(await request.body.read())
        read.append(bytes(await stream.receive_some()))
        theirs.send_stream.send_all_hook = None

    async def wait_and(do: Callable[[], None]) -> None:
        await trio.testing.wait_all_tasks_blocked()
        do()

    nursery.start_soon(Server(on_upgrade=handler).serve_stream, theirs)
    await ours.send_all(upgrade(b"Content-Length: 3\r\n", b"abcHELLO"))
    await trio.testing.wait_all_tasks_blocked()
    await ours.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert read == [b"abc", b"HELLO"]


async def test_a_cancelled_close_of_the_stream_that_a_websocket_took_over_does_nothing(
    connect_tcp: Connect, nursery: trio.Nursery
) -> None:
    left = trio.Event()

    async def close(stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        try:
            async with websocket.accept(request, stream):
                pass
        finally:
            left.set()

    async def close_meanwhile(request: Request, stream: trio.abc.Stream) -> None:
        nursery.start_soon(wait_and_close, stream)
        await handler(request, stream)

    async def wait_and_close(stream: trio.abc.Stream) -> None:
        await asked.wait()
        await close(stream)
        closed.set()

    asked, closed = trio.Event(), trio.Event()
    client = await connect_tcp(Server(on_upgrade=close_meanwhile))
    key = f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n".encode()
    await client.send(get("/", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key))
    assert (await client.reply()).status == 101
    assert await client.exactly(4) == b"\x88\x02\x03\xe8"
    await client.send(b"\x88\x80\0\0\0\0")  # the peer's close: now the server lingers for the end of its side
    await trio.testing.wait_all_tasks_blocked(0.01)
    asked.set()
    await closed.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert not left.is_set()
    assert await client.rest() == b""
    await client.send_eof()
    with trio.fail_after(1):
        await left.wait()
