"""The smallest example."""

import httpcore
import trio

from examples.echo import server
from trio_upgrade.testing import open_upgrade


async def test_echo_gives_back_what_it_gets() -> None:
    with trio.fail_after(5):
        async with open_upgrade(server, "/echo", "echo") as (status, headers, stream):
            assert (status, headers["upgrade"]) == (101, "echo")
            for data in (b"one", b"two" * 10_000):
                await stream.send_all(data)
                assert await stream.receive_exactly(len(data)) == data
            await stream.send_eof()
            assert await stream.receive_some() == b""


async def test_another_protocol_gets_the_ordinary_response() -> None:
    with trio.fail_after(5):
        async with open_upgrade(server, "/echo", "websocket") as (status, _headers, stream):
            assert status == 200
            assert b"echo" in await stream.receive_some()


async def test_a_plain_request_is_told_how_to_upgrade(nursery: trio.Nursery) -> None:
    listeners = await nursery.start(server.serve_tcp, 0)
    port = listeners[0].socket.getsockname()[1]
    with trio.fail_after(5):
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request("GET", f"http://127.0.0.1:{port}/")
    assert response.status == 200
    assert b"Upgrade to `echo`" in response.content
