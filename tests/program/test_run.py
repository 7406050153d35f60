"""`trio_upgrade.run`: a server as a program."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

import trio_upgrade
from trio_upgrade import Server
from trio_upgrade.program._signals import Stop, serve_until_stopped

from ..support.client import Client, get, okay, upgrade

PROGRAM = """
import ssl, sys, trio, trio_upgrade

async def on_request(request):
    return trio_upgrade.Response(200, "okay")

async def on_upgrade(request, stream):
    await request.accept()
    with request.server.cancel_on_shutdown():
        await trio.sleep_forever()
    await stream.send_all(b"goodbye")
    if request.path == "/stuck":
        await trio.sleep_forever()

server = trio_upgrade.Server(on_request, on_upgrade=on_upgrade)
"""


@asynccontextmanager
async def running(call: str) -> AsyncIterator[tuple[trio.Process, Client, str]]:
    """The program, what it prints, and the address that it prints first."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM + call], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    screen = Client(process.stdout)  # type: ignore[arg-type]
    try:
        with trio.fail_after(20):
            line = b""
            while not line.endswith(b"\n"):
                line += await screen.exactly(1)
            yield process, screen, line.decode()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def connect(line: str) -> Client:
    found = re.search(r"://(.+):(\d+)", line)
    assert found
    return Client(await trio.open_tcp_stream(found[1].strip("[]"), int(found[2])))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_address_is_printed_and_a_signal_shuts_down_gracefully(number: signal.Signals) -> None:
    async with running("trio_upgrade.run(server, 0)") as (process, screen, line):
        assert re.fullmatch(r"Serving on http://127\.0\.0\.1:\d+ \(Ctrl-C to stop\)\n", line)
        client = await connect(line)
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).content == b"okay"
            await client.send(upgrade())
            assert (await client.reply()).status == 101
            process.send_signal(number)
            assert await client.rest() == b"goodbye"
        assert await screen.rest() == b"Shutting down, within 10 seconds (again to stop at once)\n"
    assert process.returncode == 0


async def test_a_second_signal_stops_at_once() -> None:
    async with running("trio_upgrade.run(server, 0, grace=1000)") as (process, _, line):
        client = await connect(line)
        async with client.stream:
            await client.send(upgrade(target="/stuck"))
            assert (await client.reply()).status == 101
            process.send_signal(signal.SIGINT)
            assert await client.exactly(7) == b"goodbye"
            process.send_signal(signal.SIGINT)
            assert await client.rest() == b""
    assert process.returncode == 0


async def test_another_listening_line_and_host() -> None:
    call = "trio_upgrade.run(server, 0, host='::1', on_listening=lambda urls: print(*urls, flush=True))"
    async with running(call) as (process, _, line):
        assert re.fullmatch(r"http://\[::1\]:\d+\n", line)
        client = await connect(line)
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).status == 200
        process.terminate()


async def test_running_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("test.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    call = f"""
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain({str(tmp_path / "server.pem")!r})
trio_upgrade.run(server, 0, ssl_context=context)
"""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with running(call) as (process, _, line):
        assert line.startswith("Serving on https://127.0.0.1:")
        tcp = await connect(line)
        client = Client(trio.SSLStream(tcp.stream, context, server_hostname="test.example"))
        await client.send(get())
        assert (await client.reply()).content == b"okay"
        await client.aclose()
        process.terminate()


def test_a_port_that_is_taken_is_a_plain_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            trio_upgrade.run(trio_upgrade.Server(okay), port)
    shown = "".join(traceback.format_exception(caught.value)).splitlines()
    assert len(shown) < 12  # nothing of what is inside
    assert f"port {port} of '127.0.0.1'" in shown[-1]


def test_several_failures_stay_a_group() -> None:
    def fail(urls: list[str]) -> None:
        raise ExceptionGroup("two", [LookupError("one"), LookupError("other")])

    with pytest.raises(ExceptionGroup):
        trio_upgrade.run(trio_upgrade.Server(okay), 0, on_listening=fail)


async def test_what_runs_around_the_server_is_opened_before_it_and_closed_after_it() -> None:
    call = """
import contextlib

@contextlib.asynccontextmanager
async def opened():
    print("opened", flush=True)
    yield server
    print("closed", flush=True)

trio_upgrade.run(opened(), 0)
"""
    async with running(call) as (process, screen, first):
        assert first == "opened\n"
        assert (await screen.exactly(len("Serving on"))) == b"Serving on"
        process.terminate()
        assert (await screen.rest()).endswith(b"\nclosed\n")


async def test_a_server_that_shuts_itself_down_ends_the_program() -> None:
    call = """
import contextlib

async def on_request(request):
    trio.lowlevel.spawn_system_task(server.shutdown, 10)
    return trio_upgrade.Response(200, "goodbye", {"Connection": "close"})

@contextlib.asynccontextmanager
async def opened():
    yield server
    print("closed", flush=True)

server = trio_upgrade.Server(on_request)
trio_upgrade.run(opened(), 0)
"""
    async with running(call) as (process, screen, line):
        client = await connect(line)
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).content == b"goodbye"
        assert await screen.rest() == b"closed\n"
    assert process.returncode == 0


def test_what_runs_around_the_server_sees_a_plain_error() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Server]:
        try:
            yield Server(okay)
        except OSError as exc:
            seen.append(exc)
            raise

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use") as caught:
            trio_upgrade.run(opened(), taken.getsockname()[1])
    assert seen == [caught.value]


untyped: Any = trio_upgrade  # as it is used without a type checker


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"port": "80"}, TypeError, "port must be an int, not '80'"),
        ({"port": True}, TypeError, "port must be an int, not True"),
        ({"port": -1}, ValueError, "port must be from 0 to 65535, not -1"),
        ({"port": 65536}, ValueError, "port must be from 0 to 65535, not 65536"),
        ({"host": 127}, TypeError, "host must be a str or None, not 127"),
        ({"ssl_context": "cert.pem"}, TypeError, "ssl_context must be an ssl.SSLContext, not 'cert.pem'"),
        ({"ssl_context": False}, TypeError, "ssl_context must be an ssl.SSLContext, not False"),
        ({"grace": "10"}, TypeError, "grace must be a number of seconds, not '10'"),
        ({"grace": None}, TypeError, "grace must be a number of seconds, not None"),
        ({"grace": -1}, ValueError, "grace must be 0 or more seconds, not -1"),
        ({"grace": float("nan")}, ValueError, "grace must be 0 or more seconds, not nan"),
        ({"on_listening": "print"}, TypeError, "on_listening must be a function, not 'print'"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_opened(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Server]:
        raise AssertionError("it was opened")
        yield

    with pytest.raises(error, match=f"^{words}$"):
        untyped.run(opened(), **{"port": 0, **arguments})


def test_a_context_manager_that_gives_no_server() -> None:
    with pytest.raises(TypeError, match=r"^the context manager must give a trio_upgrade\.Server, not 5$"):
        untyped.run(nullcontext(5), 0)


# ---- when a stop comes


def serving(listener: trio.SocketListener, watch: Any, server: Server) -> Any:
    """Serve on the listener until `watch`, which gets a `Stop`, stops it."""

    async def start(server: Server, nursery: trio.Nursery) -> None:
        for _ in range(5):  # as if it looked up the address
            await trio.lowlevel.checkpoint()
        await nursery.start(partial(server.serve_listeners, [listener]))

    async def ignore_signals(signals: AsyncIterator[int], stop: Stop) -> None:
        await watch(stop)

    opened: AbstractAsyncContextManager[Server] = nullcontext(server)
    return serve_until_stopped(opened, start, ignore_signals, [signal.SIGUSR2])


@pytest.mark.parametrize("ticks", range(20))
async def test_a_graceful_stop_at_any_time_loses_no_connection(ticks: int) -> None:
    async def watch(stop: Stop) -> None:
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        stop.gracefully(10)

    with socket.create_server(("127.0.0.1", 0)) as elsewhere:  # another process that listens on the same socket
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(elsewhere.dup()))
        stream = await trio.open_tcp_stream(*elsewhere.getsockname())
        async with listener, stream:
            await stream.send_all(get())
            await stream.send_eof()
            with trio.fail_after(5):
                await serving(listener, watch, Server(okay))
            elsewhere.setblocking(False)
            try:
                elsewhere.accept()[0].close()  # left for the other process
            except BlockingIOError:
                assert (await Client(stream).reply()).status == 200


async def test_a_stop_is_graceful_as_soon_as_the_server_serves() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    stream = await trio.open_tcp_stream(*listener.socket.getsockname())

    async def watch(stop: Stop) -> None:
        while stop.server is None:
            await trio.lowlevel.checkpoint()
        stop.gracefully(10)

    async with stream:
        await stream.send_all(get())
        await stream.send_eof()
        with trio.fail_after(5):
            await serving(listener, watch, Server(okay))
        assert (await Client(stream).reply()).status == 200
