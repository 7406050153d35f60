"""`trio_upgrade.testing`: an upgrade in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server
from trio_upgrade.testing import open_upgrade

from ..support.client import echo

Logged = Callable[[], list[str]]


async def test_an_accepted_upgrade() -> None:
    async with open_upgrade(Server(on_upgrade=echo)) as (status, headers, stream):
        assert (status, headers["upgrade"]) == (101, "test")
        await stream.send_all(b"hello")
        assert await stream.receive_exactly(5) == b"hello"
        await stream.wait_send_all_might_not_block()
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_what_is_sent_along() -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        body = await request.body.read()
        await request.accept("b", {"X-Seen": f"{request.method} {request.target} {request.headers['x-mine']}"})
        await stream.send_all(b"early" + body)

    opened = open_upgrade(
        Server(on_upgrade=on_upgrade), "/chat?x=y", "a, b", method="POST", headers={"X-Mine": "yes"}, body=b"body"
    )
    async with opened as (_, headers, stream):
        assert (headers["upgrade"], headers["x-seen"]) == ("b", "POST /chat?x=y yes")
        assert await stream.receive_some(3) == b"ear"
        assert await stream.receive_exactly(6) == b"lybody"
        with pytest.raises(EOFError, match="after 0 of 1 bytes"):
            await stream.receive_exactly(1)


async def test_a_declined_upgrade_gives_the_content_and_the_end() -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> Response:
        return Response(403, "not you")

    async with open_upgrade(Server(on_upgrade=on_upgrade), headers={"Host": "mine"}) as (status, headers, stream):
        assert (status, headers["content-length"]) == (403, "7")
        assert await stream.receive_some() == b"not you"
        assert await stream.receive_some() == b""


async def test_connect() -> None:
    async def on_connect(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all(request.target.encode())

    async with open_upgrade(Server(on_connect=on_connect), "a:1", method="CONNECT") as (status, _, stream):
        assert status == 200
        assert await stream.receive_exactly(3) == b"a:1"


async def test_a_server_that_closes_without_a_response() -> None:
    with pytest.raises(trio.BrokenResourceError, match="without a whole response"):
        async with open_upgrade(Server(should_upgrade=lambda request: True)):
            raise AssertionError


async def test_leaving_waits_for_the_handler() -> None:
    done: list[str] = []

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        async for _ in stream:
            pass
        await trio.testing.wait_all_tasks_blocked()
        done.append("goodbye")

    async with open_upgrade(Server(on_upgrade=on_upgrade)):
        pass
    assert done == ["goodbye"]


async def test_leaving_raises_what_the_handler_raised(logged: Logged) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        raise LookupError("no such room")

    with pytest.raises(LookupError, match="no such room"):
        async with open_upgrade(Server(on_upgrade=on_upgrade)) as (_, _, stream):
            assert await stream.receive_some() == b""
    assert logged() == ["ERROR LookupError"]


async def test_a_failed_assertion_comes_out_as_it_is() -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await trio.sleep_forever()

    with pytest.raises(AssertionError, match="not what I wanted"):
        async with open_upgrade(Server(on_upgrade=on_upgrade)):
            raise AssertionError("not what I wanted")


async def test_a_cancelled_block_ends_the_handler() -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with open_upgrade(Server(on_upgrade=on_upgrade)):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
