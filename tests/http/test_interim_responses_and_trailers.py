"""What comes before a response, and after its content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import pytest
import trio

from trio_upgrade import Request, Response, Server, UpgradedStream

from ..support.client import Connect, get, post_head, upgrade

Logged: TypeAlias = Callable[[], list[str]]


async def pieces() -> AsyncIterator[bytes]:
    yield b"content"


# ---- interim responses


async def test_an_interim_response_comes_before_the_final_one(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        await request.send_interim(103, [("Link", "</a.css>"), ("Link", "</b.css>")])
        await request.send_interim(102)
        return Response(200, "hello")

    client = await connect(Server(on_request))
    await client.send(get())
    assert [await client.line() for _ in range(4)] == [
        b"HTTP/1.1 103 Early Hints",
        b"Link: </a.css>",
        b"Link: </b.css>",
        b"",
    ]
    reply = await client.reply()
    assert (reply.interim, reply.content) == ([102], b"hello")


async def test_an_older_client_gets_no_interim_response(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        await request.send_interim(103)
        return Response(200, "hello")

    client = await connect(Server(on_request))
    await client.send(get(version="1.0"))
    assert (await client.reply()).interim == []


async def test_a_client_that_waits_for_a_100_still_gets_it(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        await request.send_interim(103)
        return Response(200, await request.body.read())

    client = await connect(Server(on_request))
    await client.send(post_head(5, b"Expect: 100-continue\r\n"))
    assert [await client.line(), await client.line()] == [b"HTTP/1.1 103 Early Hints", b""]
    assert [await client.line(), await client.line()] == [b"HTTP/1.1 100 Continue", b""]
    await client.send(b"hello")
    assert (await client.reply()).content == b"hello"


async def test_an_interim_response_may_come_before_an_upgrade_and_not_after_it(connect: Connect) -> None:
    async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
        await request.send_interim(103)
        await request.accept()
        with pytest.raises(RuntimeError, match="already begun"):
            await request.send_interim(103)

    client = await connect(Server(on_upgrade=on_upgrade))
    await client.send(upgrade())
    reply = await client.reply()
    assert (reply.status, reply.interim) == (101, [103])
    await client.end()


async def test_two_tasks_may_send_interim_responses(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(request.send_interim, 103)
        return Response(200, "hello")

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).interim == [103, 103, 103]


@pytest.mark.parametrize("status", [99, 100, 101, 200])
async def test_another_status_is_no_interim_one(connect: Connect, status: int) -> None:
    async def on_request(request: Request) -> Response:
        with pytest.raises(ValueError, match="from 102 to 199"):
            await request.send_interim(status)
        with pytest.raises(ValueError, match="set by the server"):
            await request.send_interim(103, {"Content-Length": "1"})
        return Response(200, "hello")

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).content == b"hello"


async def test_should_upgrade_sends_no_interim_response(connect: Connect) -> None:
    async def should_upgrade(request: Request) -> bool:
        with pytest.raises(RuntimeError, match="should_upgrade"):
            await request.send_interim(103)
        return False

    client = await connect(Server(should_upgrade=should_upgrade))
    await client.send(upgrade())
    assert (await client.reply()).interim == []


# ---- trailers


async def test_trailers_are_made_after_the_content(connect: Connect) -> None:
    events: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        yield b"content"
        events.append("content")

    def trailers() -> dict[str, str]:
        events.append("trailers")
        return {"X-Sum": "1"}

    async def on_request(request: Request) -> Response:
        return Response(200, content(), {"Trailer": "X-Sum"}, trailers=trailers)

    client = await connect(Server(on_request))
    for _ in range(2):
        await client.send(get())
        await client.head(200)
        assert await client.exactly(27) == b"7\r\ncontent\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert events == ["content", "trailers"] * 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_trailers_are_dropped_where_no_chunks_tell_the_end(connect: Connect, version: str) -> None:
    async def on_request(request: Request) -> Response:
        fields = {"Content-Length": "7"} if version == "1.1" else {}
        return Response(200, pieces(), fields, trailers=lambda: {"X-Sum": "1"})

    client = await connect(Server(on_request))
    await client.send(get("/", b"Connection: close\r\n", version=version))
    assert (await client.rest()).endswith(b"\r\n\r\ncontent")


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Host", "Set-Cookie", "Authorization", "Content-Type", "If-Match"]
)
async def test_a_field_that_belongs_in_the_head_cuts_the_response_off(
    connect: Connect, name: str, logged: Logged
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, pieces(), trailers=lambda: [(name, "1")])

    client = await connect(Server(on_request))
    await client.send(get())
    await client.head(200)
    assert await client.rest() == b"7\r\ncontent\r\n"
    assert logged() == ["ERROR ValueError"]


def test_only_streamed_content_has_trailers() -> None:
    with pytest.raises(ValueError, match="async iterable"):
        Response(200, "hello", trailers=dict)
    with pytest.raises(TypeError, match="function"):
        Response(200, pieces(), trailers={"X-Sum": "1"})  # type: ignore[arg-type]


# ---- what a request tells


@pytest.mark.parametrize(
    ("method", "target", "raw_path"),
    [
        ("GET", "/a%20b/?c", b"/a%20b/"),
        ("GET", "http://other?c", b"/"),
        ("GET", "http://other/%41", b"/%41"),
        ("OPTIONS", "*", b"*"),
    ],
)
async def test_the_raw_path_is_not_decoded(connect: Connect, method: str, target: str, raw_path: bytes) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, request.raw_path)

    client = await connect(Server(on_request))
    await client.send(get(target, method=method))
    assert (await client.reply()).content == raw_path


async def test_the_socket_name_is_where_the_client_has_connected_to(
    connect_tcp: Connect, connect_memory: Connect
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, str(request.sockname))

    client = await connect_tcp(Server(on_request))
    await client.send(get())
    assert isinstance(client.stream, trio.SocketStream)
    assert (await client.reply()).content == str(client.stream.socket.getpeername()).encode()
    client = await connect_memory(Server(on_request))
    await client.send(get())
    assert (await client.reply()).content == b"None"


async def test_the_end_of_a_body_is_known_with_its_last_byte(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        seen = [request.body.has_ended]
        while not request.body.has_ended:
            seen.append(bool(await request.body.receive_some(3)))
        return Response(200, str(seen))

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).content == b"[True]"
    await client.send(post_head(6) + b"onetwo")
    assert (await client.reply()).content == b"[False, True, True]"
