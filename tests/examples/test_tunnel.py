"""The tunnel: TCP over an upgrade."""

import contextlib
import logging
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from examples import tunnel
from examples.lines import LineReader
from trio_upgrade import Request, Response, Server
from trio_upgrade.testing import open_upgrade

ROOT = Path(__file__).parents[2]

Address = tuple[str, int]


async def listen(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[object]]) -> Address:
    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    return "127.0.0.1", listeners[0].socket.getsockname()[1]


async def serve(nursery: trio.Nursery, server: Server) -> Address:
    listeners = await nursery.start(server.serve_tcp, 0)
    return "127.0.0.1", listeners[0].socket.getsockname()[1]


class Ends:
    """A connection through the tunnel, both ends of it in the test's hands."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._arrived, self._arrivals = trio.open_memory_channel[trio.SocketStream](0)
        self._done = trio.Event()

    async def open(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """The near end, and the target's end."""
        target = await listen(self._nursery, self._arrive)
        via = await serve(self._nursery, tunnel.make_server(target))
        entrance = await listen(self._nursery, partial(tunnel.carry, via))
        near = await trio.open_tcp_stream(*entrance)
        return near, await self._arrivals.receive()

    async def _arrive(self, stream: trio.SocketStream) -> None:
        await self._arrived.send(stream)
        await self._done.wait()


@pytest.fixture
def ends(nursery: trio.Nursery) -> Ends:
    return Ends(nursery)


def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    async for part in stream:
        data += part
    return bytes(data)


async def test_bytes_go_through_both_ways_at_once(ends: Ends) -> None:
    there, back = (bytes(range(256)) * 10_000, bytes(range(255, -1, -1)) * 10_000)
    received: dict[str, bytes] = {}

    async def collect(name: str, stream: trio.abc.ReceiveStream) -> None:
        received[name] = await receive_all(stream)

    async def send(stream: trio.SocketStream, data: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    with trio.fail_after(10):
        near, far = await ends.open()
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(send, near, there)
            nursery.start_soon(send, far, back)
            nursery.start_soon(collect, "far", far)
            nursery.start_soon(collect, "near", near)
    assert received == {"far": there, "near": back}


@pytest.mark.parametrize("first", ["near", "far"])
async def test_an_end_of_one_direction_leaves_the_other_open(ends: Ends, first: str) -> None:
    with trio.fail_after(10):
        near, far = await ends.open()
        async with near, far:
            one, other = (near, far) if first == "near" else (far, near)
            await one.send_all(b"that is all")
            await one.send_eof()
            assert await receive_all(other) == b"that is all"
            for n in range(100):
                await other.send_all(b"%d" % n)
                assert await one.receive_some() == b"%d" % n
            await other.send_eof()
            assert await one.receive_some() == b""


@pytest.mark.parametrize("broken", ["near", "far"])
async def test_a_reset_on_one_side_is_a_reset_on_the_other(
    ends: Ends, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(10):
        near, far = await ends.open()
        async with near, far:
            one, other = (near, far) if broken == "near" else (far, near)
            await one.send_all(b"half of")
            assert await other.receive_some() == b"half of"
            reset(one)
            with pytest.raises(trio.BrokenResourceError):
                await other.receive_some()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_target_that_speaks_first_is_heard(nursery: trio.Nursery) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n")
        await stream.send_eof()
        await receive_all(stream)

    via = await serve(nursery, tunnel.make_server(await listen(nursery, greet)))
    with trio.fail_after(10):
        for _ in range(20):  # it may arrive together with the 101, or after it
            entrance = await listen(nursery, partial(tunnel.carry, via))
            async with await trio.open_tcp_stream(*entrance) as near:
                assert await receive_all(near) == b"220 hello\r\n"


async def test_what_comes_with_the_101_is_carried(nursery: trio.Nursery) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 101 Fine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nat once")

    via = await serve(nursery, Server(on_upgrade=on_upgrade))
    entrance = await listen(nursery, partial(tunnel.carry, via))
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(*entrance) as near:
            assert await near.receive_some() == b"at once"


async def test_only_tcp_is_tunnelled(nursery: trio.Nursery) -> None:
    with trio.fail_after(10):
        async with open_upgrade(tunnel.make_server(("127.0.0.1", 1)), "/", "websocket") as (status, _headers, _stream):
            assert status == 404


@pytest.fixture
def nowhere() -> Address:
    """An address that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return "127.0.0.1", unused.getsockname()[1]


async def test_a_target_that_is_away_is_a_502_before_the_upgrade(nowhere: Address) -> None:
    with trio.fail_after(10):
        async with open_upgrade(tunnel.make_server(nowhere), "/", "tcp") as (status, headers, stream):
            assert (status, "upgrade" in headers) == (502, False)
            assert await stream.receive_some() == b"The target cannot be reached\n"


async def test_a_target_that_does_not_answer_is_a_502(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", hang)
    async with open_upgrade(tunnel.make_server(("192.0.2.1", 1)), "/", "tcp") as (status, _headers, _stream):
        assert status == 502
    assert trio.current_time() == tunnel.CONNECT_TIMEOUT


async def hear_nothing(nursery: trio.Nursery, via: Address) -> None:
    """Connects through `via`, where there is no tunnel."""
    entrance = await listen(nursery, partial(tunnel.carry, via))
    with trio.fail_after(10):
        for _ in range(2):  # the client goes on listening
            async with await trio.open_tcp_stream(*entrance) as near:
                with pytest.raises(trio.BrokenResourceError):
                    await near.receive_some()


async def test_the_client_says_that_the_target_is_away_and_resets(
    nursery: trio.Nursery, nowhere: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    await hear_nothing(nursery, await serve(nursery, tunnel.make_server(nowhere)))
    assert capsys.readouterr().err == "tunnel: the server refuses: 502 Bad Gateway\n" * 2


async def test_the_client_says_that_the_server_is_away_and_resets(
    nursery: trio.Nursery, nowhere: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    await hear_nothing(nursery, nowhere)
    assert capsys.readouterr().err.startswith("tunnel: the server cannot be reached: ")


async def test_the_client_says_that_the_server_is_another_and_resets(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, "a page\n")

    await hear_nothing(nursery, await serve(nursery, Server(on_request)))
    assert capsys.readouterr().err == "tunnel: the server refuses: 200 OK\n" * 2


async def test_the_client_says_that_it_is_no_http_and_resets(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n\r\n")
        await receive_all(stream)

    await hear_nothing(nursery, await listen(nursery, greet))
    assert capsys.readouterr().err.startswith("tunnel: the server does not answer: ")


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """One of the programs, and the line that it shows first. It does not outlive the block."""
    command = [sys.executable, "-m", "examples.tunnel", *arguments]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process, await LineReader(process.stdout.receive_some).read() or ""
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def test_the_programs_make_a_tunnel(nursery: trio.Nursery) -> None:
    async def shout(stream: trio.SocketStream) -> None:
        await stream.send_all((await receive_all(stream)).upper())

    with trio.fail_after(30):
        host, port = await listen(nursery, shout)
        async with started("server", "--port", "0", "--target", f"{host}:{port}") as (server, said):
            assert said.startswith("Serving on http://127.0.0.1:")
            via = said.split()[2].removeprefix("http://")
            async with started("client", "--listen", "0", "--via", via) as (client, said):
                assert said.startswith("Listening on 127.0.0.1:")
                async with await trio.open_tcp_stream(*tunnel.address(said.split()[2].rstrip(","))) as near:
                    await near.send_all(b"hello")
                    await near.send_eof()
                    assert await receive_all(near) == b"HELLO"
                for process in (client, server):
                    process.send_signal(signal.SIGINT)
                    assert await process.wait() == 0


@pytest.mark.parametrize("arguments", [["server", "--target", "localhost:1", "--port"], ["client", "--listen"]])
async def test_the_programs_say_that_their_port_is_taken(nursery: trio.Nursery, arguments: list[str]) -> None:
    _, port = await serve(nursery, Server())
    command = [sys.executable, "-m", "examples.tunnel", *arguments, str(port)]
    with trio.fail_after(30):
        done = await trio.run_process(command, check=False, capture_stderr=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith(b"tunnel: cannot listen: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("text", "address"), [("localhost:80", ("localhost", 80)), ("[::1]:5432", ("::1", 5432)), ("a:0", ("a", 0))]
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert tunnel.address(text) == address


@pytest.mark.parametrize("text", ["80", ":80", "localhost", "localhost:", "localhost:http"])
def test_half_an_address_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|int"):
        tunnel.address(text)
