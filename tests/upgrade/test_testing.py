"""`trio_upgrade.testing`: requests and upgrades in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from trio_upgrade import Request, Response, Server
from trio_upgrade.testing import make_request, open_request, open_upgrade

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


async def test_an_ordinary_request() -> None:
    async def on_request(request: Request) -> Response:
        body = await request.body.read()
        return Response(
            201, f"{request.method} {request.target} {request.headers['x-mine']} ".encode() + body, [("X-A", "b")]
        )

    status, headers, content = await open_request(
        Server(on_request), "/a?b", method="PUT", headers={"X-Mine": "yes"}, body=b"body"
    )
    assert (status, headers["x-a"], content) == (201, "b", b"PUT /a?b yes body")


async def test_a_streamed_response_is_received_whole() -> None:
    async def on_request(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            for number in range(100):
                yield b"%d" % number * 1000

        return Response(200, content())

    _, headers, content = await open_request(Server(on_request))
    assert headers["transfer-encoding"] == "chunked"
    assert content == b"".join(b"%d" % number * 1000 for number in range(100))


async def test_what_the_handler_of_an_ordinary_request_raises_is_raised(logged: Logged) -> None:
    async def on_request(request: Request) -> Response:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await open_request(Server(on_request))
    assert logged() == ["ERROR LookupError"]


async def test_a_request_for_a_unit_test() -> None:
    server = Server()
    request = make_request(
        "/a%20b?c=d", method="POST", headers=[("X-A", "1"), ("X-A", "2")], body=b"body", server=server
    )
    assert (request.method, request.path, request.query, request.http_version) == ("POST", "/a b", "c=d", "1.1")
    assert request.headers.get_list("x-a") == ["1", "2"]
    assert request.headers["host"] == "testserver"
    assert (request.client, request.scheme, request.upgrade, request.server) == ("127.0.0.1", "http", (), server)
    assert await request.body.read() == b"body"
    assert await request.body.receive_some() == b""
    with pytest.raises(RuntimeError, match="on_upgrade or on_connect"):
        await request.accept()


def test_a_request_can_be_made_outside_trio() -> None:
    assert make_request(client=None).client is None
    assert make_request(headers={"Connection": "upgrade", "Upgrade": "a, b"}).upgrade == ("a", "b")
    for path in ("ftp:", "/a b"):
        with pytest.raises(ValueError, match="there is no request"):
            make_request(path)
