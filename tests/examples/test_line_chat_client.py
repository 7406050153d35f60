"""The terminal client of the line chat, run as a program."""

import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from examples import line_chat
from examples.lines import LineReader
from trio_upgrade import Request, Response, Server

ROOT = Path(__file__).parents[2]
TIMEOUT = 30  # seconds, for what starts a program


def command(port: int, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.line_chat_client", "--port", str(port), *arguments]


async def serve(nursery: trio.Nursery, server: Server) -> int:
    listeners = await nursery.start(server.serve_tcp, 0)
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def run(port: int, *arguments: str, typed: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(TIMEOUT):
        return await trio.run_process(
            command(port, *arguments), stdin=typed, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT
        )


class Terminal:
    """A client that is running."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._lines = LineReader(process.stdout.receive_some, 10_000)

    async def shown(self) -> str | None:
        return await self._lines.read()

    async def type(self, text: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text.encode())


@contextlib.asynccontextmanager
async def running(port: int, *arguments: str, stdin: int = subprocess.PIPE) -> AsyncIterator[Terminal]:
    with trio.fail_after(TIMEOUT):
        process = await trio.lowlevel.open_process(
            command(port, *arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        try:
            yield Terminal(process)
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        await stream.aclose()


async def entered(terminal: Terminal) -> None:
    while not (await terminal.shown() or "* you are in").startswith("* you are in"):
        pass


# ---- chatting


async def test_two_people_talk(nursery: trio.Nursery) -> None:
    port = await serve(nursery, line_chat.make_server())
    async with running(port, "--name", "alice") as alice:
        assert await alice.shown() == "* welcome, alice: /help says what you can do"
        assert await alice.shown() == "* you are in lobby, alone"
        async with running(port, "--name", "Zoë Z.") as nobody:
            assert await nobody.process.wait() == 1
        async with running(port, "--name", "Zoë", "--room", "den") as zoe:
            await entered(zoe)
            await zoe.type("/join lobby\nhello, ça va?\n")
            assert await alice.shown() == "* Zoë joined"
            assert await alice.shown() == "Zoë: hello, ça va?"
            await alice.type("/quit\n")
            assert await alice.shown() == "* goodbye"
            assert await alice.shown() is None
            assert await alice.process.wait() == 0


async def test_the_end_of_the_input_ends_the_chat_when_all_is_said(nursery: trio.Nursery) -> None:
    port = await serve(nursery, line_chat.make_server())
    async with running(port, "--name", "alice") as alice:
        await entered(alice)
        done = await run(port, "--name", "bob", typed=b"hello\nand no newline")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.endswith(b"* goodbye\n")
        heard = [await alice.shown() for _ in range(4)]
        assert heard == ["* bob joined", "bob: hello", "bob: and no newline", "* bob left"]


async def test_input_from_a_file_works(nursery: trio.Nursery, tmp_path: Path) -> None:
    port = await serve(nursery, line_chat.make_server())
    file = tmp_path / "input"
    file.write_text("/who\n")
    with file.open() as stdin:
        async with running(port, "--name", "bob", stdin=stdin.fileno()) as bob:
            await entered(bob)
            assert await bob.shown() == "* in lobby: bob"
            assert await bob.process.wait() == 0


async def test_a_terminal_is_left_as_it_was(nursery: trio.Nursery) -> None:
    port = await serve(nursery, line_chat.make_server())
    master, slave = pty.openpty()
    try:
        async with running(port, "--name", "bob", stdin=slave) as bob:
            await entered(bob)
            os.write(master, b"/who\n")
            assert await bob.shown() == "* in lobby: bob"
            await bob.shown()
            assert not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK
            os.write(master, b"\x04")  # Ctrl-D
            assert await bob.shown() == "* goodbye"
            assert await bob.process.wait() == 0
        assert not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK
    finally:
        os.close(master)
        os.close(slave)


async def test_ctrl_c_leaves_without_a_traceback(nursery: trio.Nursery) -> None:
    port = await serve(nursery, line_chat.make_server())
    async with running(port, "--name", "alice") as alice, running(port, "--name", "bob") as bob:
        await entered(alice)
        await entered(bob)
        bob.process.send_signal(signal.SIGINT)
        assert await bob.process.wait() == 0
        assert bob.process.stderr is not None
        assert await bob.process.stderr.receive_some() == b""
        while (line := await alice.shown()) != "* bob left":
            assert line == "* bob joined"


async def test_a_goodbye_of_the_server_ends_the_client(nursery: trio.Nursery) -> None:
    server = line_chat.make_server()
    port = await serve(nursery, server)
    async with running(port, "--name", "alice") as alice:
        await entered(alice)
        await server.shutdown(10)
        assert await alice.shown() == "* the server is shutting down, goodbye"
        assert await alice.process.wait() == 0  # though its input has not ended


async def test_what_the_server_sends_does_nothing_to_the_terminal(nursery: trio.Nursery) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        await request.accept()
        await stream.send_all("a\x1b[2Jb\x9b31m\u202ec\rd\n".encode() + b"\xff\n" + b"x" * 9000 + b"\nend\n")

    port = await serve(nursery, Server(on_upgrade=on_upgrade))
    done = await run(port)
    assert done.stdout.decode().splitlines() == [
        "a[2Jb31mc d",
        "* that line is not UTF-8",
        "* that line is too long: 8192 bytes is the limit",
        "end",
    ]


# ---- no chat


def one_line(done: "subprocess.CompletedProcess[bytes]") -> str:
    """What a client says that has failed as it should."""
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    return done.stderr.decode()


async def test_a_server_that_is_away_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and it does not listen
        port = unused.getsockname()[1]
        said = one_line(await run(port))
    assert said.startswith(f"line_chat_client: cannot connect to 127.0.0.1:{port}, is the server running?")


async def test_a_taken_name_is_one_line(nursery: trio.Nursery) -> None:
    port = await serve(nursery, line_chat.make_server())
    async with running(port, "--name", "alice") as alice:
        await entered(alice)
        said = one_line(await run(port, "--name", "ALICE"))
    assert said == "line_chat_client: the server refuses: the name ALICE is taken (409)\n"


async def test_a_refusal_does_nothing_to_the_terminal(nursery: trio.Nursery) -> None:
    async def on_request(request: Request) -> Response:
        return Response(503, "no\n\x1b[2Jroom " + "x" * 1_000_000)

    said = one_line(await run(await serve(nursery, Server(on_request))))
    assert said.startswith("line_chat_client: the server refuses: no [2Jroom xxx")
    assert len(said) < 300


@pytest.mark.parametrize("status", [200, 404])
async def test_a_server_that_speaks_something_else_is_one_line(nursery: trio.Nursery, status: int) -> None:
    async def on_request(request: Request) -> Response:
        return Response(status, "a page\n")

    said = one_line(await run(await serve(nursery, Server(on_request))))
    assert said == f"line_chat_client: that server does not speak line-chat/1 (it answered {status})\n"


async def test_a_server_that_is_none_of_http_is_one_line(nursery: trio.Nursery) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await stream.receive_some()
        await stream.send_eof()

    listeners = await nursery.start(trio.serve_tcp, greet, 0)
    said = one_line(await run(listeners[0].socket.getsockname()[1]))
    assert "does not answer like a server" in said
