"""The content of a response: bytes without a copy, streams whose head goes with the first item, and files."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server
from trio_upgrade.testing import open_request

from ..support.client import Client, Connect, get, post

Logged = Callable[[], list[str]]
MEGABYTE = bytes(range(256)) * 4096


def answering(make: Callable[[], Response]) -> Server:
    async def on_request(request: Request) -> Response:
        return make()

    return Server(on_request)


class Recorded(trio.abc.Stream):
    """A stream that keeps what is sent, one item for each call; it receives what it is made with, then waits."""

    def __init__(self, received: bytes) -> None:
        self.sent: list[bytes] = []
        self._received = received

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._received = self._received, b""
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def sent_by(server: Server) -> list[bytes]:
    stream = Recorded(get())
    await server.serve_stream(stream)
    return stream.sent


# ---- streams


async def test_the_head_goes_out_with_the_first_item() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"

    first, second, end = await sent_by(answering(lambda: Response(200, content())))
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert (second, end) == (b"6\r\nsecond\r\n", b"0\r\n\r\n")


async def test_a_stream_without_items_is_one_write() -> None:
    async def content() -> AsyncIterator[bytes]:
        if False:
            yield b""

    (only,) = await sent_by(answering(lambda: Response(200, content())))
    assert only.endswith(b"\r\n\r\n0\r\n\r\n")


async def test_an_empty_first_item_sends_the_head_at_once(connect: Connect) -> None:
    go_on = trio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b""
        await go_on.wait()
        yield b"late"

    client = await connect(answering(lambda: Response(200, content())))
    await client.send(get())
    head = await client.exactly(15)
    assert head == b"HTTP/1.1 200 OK"
    go_on.set()
    while not head.endswith(b"0\r\n\r\n"):
        head += await client.exactly(1)
    assert b"\r\n\r\n4\r\nlate\r\n" in head


async def test_content_that_fails_before_its_first_item_is_a_500(connect: Connect, logged: Logged) -> None:
    async def content() -> AsyncIterator[bytes]:
        raise LookupError
        yield b""

    client = await connect(answering(lambda: Response(200, content())))
    await client.send(get())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR LookupError"]


async def test_content_that_reads_an_awaited_body_sends_the_100_first(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        async def upper() -> AsyncIterator[bytes]:
            async for part in request.body:
                yield bytes(part).upper()

        return Response(200, upper())

    client = await connect(Server(on_request))
    await client.send(post(b"hello", b"Expect: 100-continue\r\n")[:-5])
    assert await client.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hello")
    assert (await client.reply()).content == b"HELLO"


# ---- bytes


async def test_small_content_goes_out_with_its_head() -> None:
    (only,) = await sent_by(answering(lambda: Response(200, b"x" * 1000)))
    assert only.endswith(b"\r\n\r\n" + b"x" * 1000)


async def test_large_content_is_not_copied(connect_tcp: Connect) -> None:
    content = MEGABYTE * 32
    client = await connect_tcp(answering(lambda: Response(200, content)))
    await client.send(get())
    tracemalloc.start()
    try:
        received = 0
        while received < len(content):
            received += len(await client.stream.receive_some())
        assert tracemalloc.get_traced_memory()[1] < len(content) / 4
    finally:
        tracemalloc.stop()


# ---- files


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return written(tmp_path / "page.html", MEGABYTE)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return written(tmp_path / "large", MEGABYTE * 32)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def replaced_by_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_file(connect_socket: Connect, page: Path) -> None:
    response = Response.file(page, headers={"X-A": "b"})
    client = await connect_socket(answering(lambda: response))
    before = 0
    for _ in range(3):
        await client.send(get())
        reply = await client.reply()
        assert (reply.status, reply.headers["content-type"], reply.headers["x-a"]) == (200, "text/html", "b")
        assert reply.headers["content-length"] == str(len(MEGABYTE))
        assert reply.content == MEGABYTE
        await trio.testing.wait_all_tasks_blocked()
        before = before or descriptors()
    assert descriptors() == before


async def test_a_file_says_what_it_is(page: Path) -> None:
    response = Response.file(page)
    assert (response.status, response.content) == (200, page)
    assert response.headers == {"content-type": "text/html"}
    assert Response.file(str(page), 203, content_type="a/b").headers == {"content-type": "a/b"}


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.css", "text/css"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.svgz", "application/gzip"),
        ("a.what", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file(tmp_path: Path, name: str, content_type: str) -> None:
    path = tmp_path / name
    path.touch()
    assert Response.file(path).headers["content-type"] == content_type


async def test_an_empty_file_and_a_head_request(connect: Connect, tmp_path: Path) -> None:
    path = written(tmp_path / "empty", b"")
    client = await connect(answering(lambda: Response.file(path)))
    await client.send(get())
    assert (await client.reply()).content == b""
    written(path, b"hello")
    await client.send(get(method="HEAD"))
    reply = await client.reply("HEAD")
    assert (reply.headers["content-length"], reply.content) == ("5", b"")
    await client.send(get())
    assert (await client.reply()).content == b"hello"


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Response.file(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        Response.file(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        Response.file(tmp_path / "fifo")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="Content-Length"):
        Response.file(tmp_path / "file", headers={"Content-Length": "5"})
    with pytest.raises(ValueError, match="status"):
        Response.file(tmp_path / "file", 5)


async def test_a_file_that_is_gone_when_it_is_sent_is_a_500(connect: Connect, page: Path, logged: Logged) -> None:
    response = Response.file(page)
    client = await connect(answering(lambda: response))
    replaced_by_a_fifo(page)
    await client.send(get())
    assert (await client.reply()).status == 500
    os.unlink(page)
    client = await connect(answering(lambda: response))
    await client.send(get())
    assert (await client.reply()).status == 500
    assert logged() == ["ERROR OSError", "ERROR FileNotFoundError"]


async def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(
    connect_socket: Connect, large: Path, logged: Logged
) -> None:
    client = await connect_socket(answering(lambda: Response.file(large)))
    await client.send(get())
    await client.exactly(100_000)
    os.truncate(large, 1000)
    before = descriptors()
    with pytest.raises((trio.BrokenResourceError, AssertionError)):
        await client.exactly(len(MEGABYTE) * 32)
    await trio.testing.wait_all_tasks_blocked()
    assert descriptors() < before
    assert logged() == ["ERROR EOFError"]


async def test_a_client_that_does_not_read_a_file_is_dropped(
    connect_socket: Connect, large: Path, logged: Logged, mock_clock: trio.testing.MockClock
) -> None:
    async def on_request(request: Request) -> Response:
        return Response.file(large)

    before = descriptors()
    client = await connect_socket(Server(on_request, limits=Limits(send_timeout=40)))
    await client.send(get())
    await client.exactly(1000)
    await trio.testing.wait_all_tasks_blocked(0.05)
    mock_clock.jump(39)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert descriptors() > before + 2
    for _ in range(10):
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert descriptors() == before + 2  # the listener, and the client's end
    assert logged() == ["DEBUG"]


async def test_a_cancelled_serving_closes_the_file_that_it_sends(large: Path) -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(answering(lambda: Response.file(large)).serve_tcp, 0)
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        client = Client(stream)
        await client.send(get())
        await client.exactly(1000)
        nursery.cancel_scope.cancel()
    await client.aclose()
    assert descriptors() == before


async def test_a_file_in_memory_is_read_in_pieces(page: Path) -> None:
    status, headers, content = await open_request(answering(lambda: Response.file(page)))
    assert (status, headers["content-length"], content) == (200, "1048576", MEGABYTE)


async def test_requests_that_follow_a_file_get_their_responses(connect_tcp: Connect, page: Path) -> None:
    client = await connect_tcp(answering(lambda: Response.file(page)))
    await client.send(get() * 3)
    for _ in range(3):
        assert (await client.reply()).content == MEGABYTE
    assert isinstance(client.stream, trio.SocketStream)
    assert client.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
