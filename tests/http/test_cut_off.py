"""What a client sees of a connection that fails, and of one that ends: a failure does not look like an end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Client, Connect, get, okay, open_client, serving, upgrade

Logged = Callable[[], list[str]]


async def read_to_reset(client: Client) -> bytes:
    """What comes before a reset, which has to come."""
    received = b""
    with pytest.raises(trio.BrokenResourceError) as caught:
        while data := await client.some():
            received += data
    cause = caught.value.__cause__
    while isinstance(cause, trio.BrokenResourceError):
        cause = cause.__cause__
    assert isinstance(cause, ConnectionResetError), f"{received!r}, then an ordinary end, or {cause!r}"
    return received


async def fails(gone: trio.Event) -> AsyncIterator[bytes]:
    yield b"the first half"
    await gone.wait()
    raise LookupError("the second half is gone")


# ---- content that only the end of the connection ends


async def test_content_that_fails_resets_where_its_end_is_the_connections(
    connect_socket: Connect, logged: Logged
) -> None:
    gone = trio.Event()

    async def on_request(request: Request) -> Response:
        return Response(200, fails(gone))

    client = await connect_socket(Server(on_request))
    await client.send(get(version="1.0"))
    received = await client.some()
    while not received.endswith(b"the first half"):
        received += await client.some()
    gone.set()
    assert await read_to_reset(client) == b""
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert logged() == ["ERROR LookupError"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_failure_that_the_framing_tells_needs_no_reset(connect: Connect, logged: Logged, version: str) -> None:
    gone = trio.Event()
    gone.set()

    async def on_request(request: Request) -> Response:
        return Response(200, fails(gone), {"Content-Length": "28"})

    client = await connect(Server(on_request))
    await client.send(get(version=version))
    assert (await client.rest()).endswith(b"the first half")
    assert logged() == ["ERROR LookupError"]


@pytest.mark.parametrize("way", ["grace", "cancel"])
async def test_content_that_the_end_of_the_server_cuts_off_is_reset(way: str) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, fails(trio.Event()))

    server = Server(on_request)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        client = await open_client(listener)
        await client.send(get(version="1.0"))
        while not (await client.some()).endswith(b"the first half"):
            pass
        if way == "grace":
            await server.shutdown(0)
        else:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await read_to_reset(client) == b""
                await client.aclose()
    if way == "grace":
        assert await read_to_reset(client) == b""
        await client.aclose()


async def test_content_that_the_client_does_not_take_in_time_is_reset(
    connect_socket: Connect, mock_clock: trio.testing.MockClock
) -> None:
    gone = trio.Event()

    async def content() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(2**16)
        finally:
            gone.set()

    async def on_request(request: Request) -> Response:
        return Response(200, content())

    client = await connect_socket(Server(on_request, limits=Limits(send_timeout=30)))
    await client.send(get(version="1.0"))
    await client.some()
    while not gone.is_set():
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(31)
    await read_to_reset(client)


async def test_content_in_one_piece_is_not_reset_at_its_end(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(version="1.0"))
    assert (await client.rest()).endswith(b"okay /\n")


async def test_a_server_inside_of_anothers_upgrade_resets_the_connection_below(
    connect_tcp: Connect, logged: Logged
) -> None:
    gone = trio.Event()

    async def on_request(request: Request) -> Response:
        return Response(200, fails(gone))

    inner = Server(on_request)

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        with pytest.raises(LookupError):
            await inner.serve_stream(stream)

    client = await connect_tcp(Server(on_upgrade=on_upgrade))
    await client.send(upgrade())
    await client.reply()
    await client.send(get(version="1.0"))
    while not (await client.some()).endswith(b"the first half"):
        pass
    gone.set()
    assert await read_to_reset(client) == b""
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert logged() == ["ERROR LookupError"]


# ---- an end reaches the client, and a reset stays one


@pytest.mark.parametrize("ending", ["it was idle", "its client ended", "its next head was late", "its content failed"])
async def test_a_connection_ends_although_a_forked_child_has_its_socket(
    connect_socket: Connect, autojump_clock: trio.testing.MockClock, logged: Logged, ending: str
) -> None:
    copies: list[int] = []
    gone = trio.Event()
    gone.set()

    async def on_request(request: Request) -> Response:
        assert request.transport.socket is not None
        copies.append(os.dup(request.transport.socket.fileno()))  # which keeps it open, as that of a child does
        return Response(200, fails(gone) if ending == "its content failed" else b"whole")

    client = await connect_socket(Server(on_request))
    await client.send(get())
    if ending != "its content failed":
        assert (await client.reply()).content == b"whole"
    if ending == "its next head was late":
        await client.send(b"GET / HT")
    elif ending == "its client ended" and isinstance(client.stream, trio.SocketStream):
        await client.send_eof()
    with trio.fail_after(100):
        try:
            await client.rest()
        except trio.BrokenResourceError:
            assert isinstance(client.stream, trio.SSLStream)
            assert ending == "its content failed"  # so there is no close_notify
    for copy in copies:
        os.close(copy)
    logged()


async def test_data_that_nobody_has_read_makes_a_reset_of_a_failures_end(logged: Logged) -> None:
    failing = trio.Event()

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await failing.wait()
        raise LookupError

    async with serving(Server(on_upgrade=on_upgrade)) as listener:
        client = await open_client(listener)
        await client.send(upgrade())
        await client.reply()
        await client.send(b"which nobody reads")
        failing.set()
        assert await read_to_reset(client) == b""
        await client.aclose()
    assert logged() == ["ERROR LookupError"]
