"""`python -m trio_upgrade`: what it serves, where, until when, and what it says when it cannot."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from trio_upgrade import Server
from trio_upgrade.program._command import main
from trio_upgrade.program._importer import Application, ApplicationError, import_application
from trio_upgrade.program._inherited_sockets import systemd_descriptors

from ..support.client import Client, get, okay, upgrade
from ..support.programs import APPLICATION, ENVIRONMENT, Program, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


def serving(folder: Path, *arguments: str, application: str = "app:server") -> AbstractAsyncContextManager[Program]:
    return running("-m", "trio_upgrade", application, *arguments, cwd=folder)


async def answer(client: Client, fields: bytes = b"") -> str:
    await client.send(get(fields=fields))
    reply = await client.reply()
    assert reply.status == 200
    return reply.content.decode()


# ---- what is served


@asynccontextmanager
async def context_manager() -> AsyncIterator[Server]:
    yield SERVER


async def coroutine() -> Server:
    return SERVER


async def coroutine_of_a_context_manager() -> AbstractAsyncContextManager[Server]:
    return context_manager()


async def generator() -> AsyncIterator[Server]:
    yield SERVER


SERVER = Server(okay)


@pytest.mark.parametrize(
    "target", [SERVER, lambda: SERVER, coroutine, context_manager, coroutine_of_a_context_manager, nullcontext(SERVER)]
)
async def test_a_server_and_what_gives_one(target: object) -> None:
    async with Application("here:it", target).open() as server:
        assert server is SERVER


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, "here:it is 5, not a trio_upgrade.Server"),
        (lambda: [5], r"here:it gives \[5\], not a trio_upgrade.Server"),
        (dict, "here:it gives {}, not a trio_upgrade.Server"),
        (okay, "here:it takes arguments; a function that gives a trio_upgrade.Server takes none"),
        (generator, "here:it is an async generator: it lacks @contextlib.asynccontextmanager"),
    ],
)
async def test_what_gives_no_server(target: object, message: str) -> None:
    with pytest.raises(ApplicationError, match=f"^{message}$"):
        async with Application("here:it", target).open():
            pass


def test_a_function_may_have_arguments_that_it_does_not_need() -> None:
    async def make(name: str = "") -> Server:
        return SERVER

    async def open_it() -> None:
        async with Application("here:it", make).open() as server:
            assert server is SERVER

    trio.run(open_it)


def test_a_module_that_misses_another_is_the_applications_own_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "needy.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        import_application("needy:server")


async def test_what_runs_around_the_server_is_opened_before_and_closed_after_its_connections(folder: Path) -> None:
    async with serving(folder, "--port", "0", application="app:application") as program:
        client = await program.connect()
        async with client.stream:
            await client.send(upgrade())
            assert (await client.reply()).status == 101
            await client.exactly(7)
            program.process.terminate()
            assert await client.rest() == b"goodbye"
        printed = await program.ends()
    assert re.fullmatch(r"opened\nServing on \S+ \(.*\)\nShutting down, .*\nclosed\n", printed)
    assert program.process.returncode == 0


async def test_a_task_around_the_server_that_fails_ends_it(folder: Path) -> None:
    (folder / "failing.py").write_text(
        APPLICATION
        + """
async def fail(event):
    await event.wait()
    raise LookupError("the database is gone")

@contextlib.asynccontextmanager
async def failing():
    event = trio.Event()

    async def on_request(request):
        event.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, event)
        yield Server(on_request)
"""
    )
    async with serving(folder, "--port", "0", application="failing:failing") as program:
        client = await program.connect()
        async with client.stream:
            await client.send(get())
            assert await client.rest() == b""
        assert "\nLookupError: the database is gone\n" in await program.ends()
    assert program.process.returncode == 1


# ---- until when


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_shuts_down_within_the_grace_time(folder: Path, number: signal.Signals) -> None:
    async with serving(folder, "--port", "0", "--grace", "0.1") as program:
        client = await program.connect()
        async with client.stream:
            await client.send(upgrade(target="/stuck"))
            assert (await client.reply()).status == 101
            await client.exactly(7)
            program.process.send_signal(number)
            assert await client.rest() == b"goodbye"
        assert "Shutting down, within 0.1 seconds (again to stop at once)" in await program.ends()
    assert program.process.returncode == 0


async def test_a_second_signal_stops_at_once(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--grace", "1000", application="app:application") as program:
        client = await program.connect()
        async with client.stream:
            await client.send(upgrade(target="/stuck"))
            assert (await client.reply()).status == 101
            await client.exactly(7)
            program.process.terminate()
            assert await client.exactly(7) == b"goodbye"
            program.process.terminate()
            assert await client.rest() == b""
        assert "closed" in await program.ends()
    assert program.process.returncode == 0


async def test_a_signal_while_the_application_is_being_opened_stops_it(folder: Path) -> None:
    (folder / "slow.py").write_text(
        """
import contextlib, trio

@contextlib.asynccontextmanager
async def slow():
    try:
        print("opening")
        await trio.sleep_forever()
        yield
    finally:
        print("given up")
"""
    )
    async with serving(folder, application="slow:slow") as program:
        await program.prints("^opening$")
        program.process.terminate()
        assert "given up" in await program.ends()
    assert program.process.returncode == 0


async def test_ctrl_c_while_the_application_is_being_imported(folder: Path) -> None:
    (folder / "slow.py").write_text("import time\nprint('importing')\ntime.sleep(1000)\n")
    async with serving(folder, application="slow:server") as program:
        await program.prints(r"^importing\n")
        while program.process.returncode is None:  # the measuring of coverage may swallow one
            program.process.send_signal(signal.SIGINT)
            with trio.move_on_after(5):
                await program.process.wait()
        assert await program.ends() == "importing\n"
    assert program.process.returncode == 130


# ---- where


async def test_another_address(folder: Path) -> None:
    async with serving(folder, "--host", "::1", "--port", "0") as program:
        client = await program.connect()
        async with client.stream:
            assert await answer(client) == f"{program.process.pid} ::1 http"
        program.process.terminate()


async def test_every_address(folder: Path) -> None:
    async with serving(folder, "--host", "", "--port", "0") as program:
        found = await program.prints(r"^Serving on http://(\S+):(\d+) ", 2)
        assert {match[1] for match in found} == {"0.0.0.0", "[::]"}
        program.process.terminate()


async def test_a_unix_socket_behind_a_proxy(folder: Path) -> None:
    async with serving(folder, "--unix", "socket", "--trusted-proxy", "unix") as program:
        await program.prints(r"^Serving on unix:socket \(Ctrl-C to stop\)$")
        assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
        client = Client(await trio.open_unix_socket(folder / "socket"))
        async with client.stream:
            fields = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
            assert await answer(client, fields) == f"{program.process.pid} 192.0.2.1 https"
        program.process.terminate()
    assert not (folder / "socket").exists()


async def test_trusted_proxies_may_be_several(folder: Path) -> None:
    arguments = ["--port", "0", "--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.1"]
    async with serving(folder, *arguments) as program:
        client = await program.connect()
        async with client.stream:
            assert " 192.0.2.1 http" in await answer(client, b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n")
        program.process.terminate()


async def test_an_inherited_descriptor(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        number = inherited.fileno()
        arguments = ["-m", "trio_upgrade", "app:server", "--fd", str(number)]
        async with running(*arguments, cwd=folder, pass_fds=[number]) as program:
            client = await program.connect()
            async with client.stream:
                assert await answer(client)
            program.process.terminate()


async def test_socket_activation(folder: Path) -> None:
    activate = """
import os, sys
for number, place in zip(map(int, sys.argv[1:3]), (3, 4)):
    os.dup2(number, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execv(sys.executable, [sys.executable, "-m", "trio_upgrade", "app:server"])
"""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(folder / "socket"))
        unix.listen()
        numbers = [os.dup(tcp.fileno()), os.dup(unix.fileno())]
        moved = [number + 20 for number in numbers]
        for number, place in zip(numbers, moved, strict=True):
            os.dup2(number, place)
            os.close(number)
        try:
            async with running("-c", activate, *map(str, moved), cwd=folder, pass_fds=moved) as program:
                client = await program.connect()
                async with client.stream:
                    assert await answer(client)
                await program.prints(rf"^Serving on unix:{folder}/socket ")
                program.process.terminate()
        finally:
            for place in moved:
                os.close(place)


def test_an_activation_without_the_socket_is_an_error(folder: Path) -> None:
    activate = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", activate, sys.executable, "-m", "trio_upgrade", "app:server"]
    done = run_command(folder, *command, env={**ENVIRONMENT, "LISTEN_FDS": "1"})
    assert done.returncode == 1
    assert done.stderr == "trio-upgrade: cannot listen on file descriptor 3: Bad file descriptor\n"


def test_sockets_that_are_meant_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1"}
    assert list(systemd_descriptors(environ)) == []
    assert environ["LISTEN_FDS"] == "1"
    assert list(systemd_descriptors({})) == []


@pytest.mark.parametrize("files", [1, 2])
async def test_tls(folder: Path, files: int) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("test.example")
    arguments = ["--port", "0", "--certfile", "server.pem"]
    if files == 1:
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    else:
        certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        arguments += ["--keyfile", "key.pem"]
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with serving(folder, *arguments) as program:
        await program.prints(r"^Serving on https://127\.0\.0\.1:")
        below = await program.connect()
        client = Client(trio.SSLStream(below.stream, context, server_hostname="test.example"))
        assert (await answer(client)).endswith(" https")
        await client.aclose()
        program.process.terminate()


async def test_tls_on_an_inherited_descriptor(folder: Path) -> None:
    certificate = trustme.CA().issue_cert("test.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        number = inherited.fileno()
        arguments = ["-m", "trio_upgrade", "app:server", "--certfile", "server.pem", "--fd", str(number)]
        async with running(*arguments, cwd=folder, pass_fds=[number]) as program:
            await program.prints(rf"^Serving on https://127\.0\.0\.1:{inherited.getsockname()[1]} ")
            program.process.terminate()


# ---- logs


async def test_the_access_log_is_on_standard_output(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--access-log") as program:
        client = await program.connect()
        async with client.stream:
            await answer(client)
            await program.prints(r'^127\.0\.0\.1 - - \[.*\] "GET / HTTP/1\.1" 200 \d+ "-" "-"$')
        program.process.terminate()


@pytest.mark.parametrize(
    ("level", "shown"), [([], "INFO"), (["--log-level", "debug"], "DEBUG INFO"), (["--log-level", "error"], "")]
)
async def test_the_log_level(folder: Path, level: list[str], shown: str) -> None:
    (folder / "logs.py").write_text(
        APPLICATION
        + """
import logging

def logs():
    for level in "debug", "info":
        getattr(logging.getLogger("application"), level)("it logs")
    return server
"""
    )
    async with serving(folder, "--port", "0", *level, application="logs:logs") as program:
        await program.prints("^Serving")
        program.process.terminate()
        printed = await program.ends()
    assert " ".join(re.findall(r"^\S+ \S+ (\w+) application: it logs$", printed, re.MULTILINE)) == shown


# ---- what is wrong


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("nothing:server", 2, "there is no module nothing"),
        ("app.nothing:server", 2, "there is no module app.nothing"),
        ("app:nothing", 2, "the module app has no nothing"),
        ("app:server.nothing", 2, "the module app has no server.nothing"),
        ("app", 2, "'app' is not of the form module:attribute, .*"),
        ("app/app.py:server", 2, "'app/app.py:server' is not of the form module:attribute, .*"),
        ("app:on_request", 2, "app:on_request takes arguments; .*"),
        ("app:trio", 2, "app:trio is .*, not a trio_upgrade.Server"),
        ("", 2, "the following arguments are required: APPLICATION .*"),
        ("app:server --port 65536", 2, "argument --port: there is no port 65536: .*"),
        ("app:server --fd -1", 2, "argument --fd: .*"),
        ("app:server --port http", 2, "argument --port: invalid port value: 'http' .*"),
        ("app:server --grace -1", 2, "argument --grace: must be 0 or more seconds, not -1 .*"),
        ("app:server --grace nan", 2, "argument --grace: must be 0 or more seconds, not nan .*"),
        ("app:server --log-level loud", 2, "argument --log-level: .*"),
        ("app:server --trusted-proxy nginx", 2, "argument --trusted-proxy: 'nginx' .*"),
        ("app:server --unix socket --port 1", 2, ".* exclude each other .*"),
        ("app:server --unix socket --certfile app.py", 2, ".* exclude each other .*"),
        ("app:server --keyfile app.py", 2, "--keyfile needs --certfile .*"),
        ("app:server --prot 1", 2, "unrecognized arguments: --prot 1 .*"),
        ("app:server --certfile nothing.pem", 1, "cannot read the certificate: No such file or directory: nothing.pem"),
        (
            "app:server --certfile app.py",
            1,
            r"app.py does not hold a certificate and its private key \(--keyfile names another file\)",
        ),
        (
            "app:server --certfile app.py --keyfile app.py",
            1,
            "app.py and app.py do not hold a certificate and its private key",
        ),
        ("app:server --unix app.py", 1, "cannot listen on app.py: .*"),
        ("app:server --fd 999", 1, "cannot listen on file descriptor 999: Bad file descriptor"),
        ("app:server --host 192.0.2.1", 1, "cannot listen on 192.0.2.1, port 8000: Cannot assign .*"),
    ],
)
def test_an_error_is_one_line(
    folder: Path,
    arguments: str,
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    try:
        assert main(arguments.split()) == status
    except SystemExit as exc:
        assert exc.code == status  # noqa: PT017
    printed: Any = capsys.readouterr()
    assert re.fullmatch(f"trio-upgrade: {message}\n", printed.err)
    assert printed.out == ""


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command(folder, sys.executable, "-m", "trio_upgrade", "app:application", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"trio-upgrade: cannot listen on 127.0.0.1, port {port}: Address already in use\n"
    assert done.stdout == "opened\nclosed\n"


@pytest.mark.parametrize("application", ["refusing:imported", "refusing:opened"])
def test_an_application_may_refuse(folder: Path, application: str) -> None:
    (folder / "refusing.py").write_text(
        """
import contextlib, trio

def __getattr__(name):
    raise SystemExit("not here")

@contextlib.asynccontextmanager
async def opened():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise SystemExit("not here")
        yield
"""
    )
    done = run_command(folder, sys.executable, "-m", "trio_upgrade", application)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "not here\n")


def test_a_descriptor_that_does_not_listen(folder: Path) -> None:
    with socket.socket() as silent:
        number = silent.fileno()
        done = run_command(
            folder, sys.executable, "-m", "trio_upgrade", "app:server", "--fd", str(number), pass_fds=[number]
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"trio-upgrade: cannot listen on file descriptor {number}: It is not a listening stream socket\n"
    )


def test_the_script_finds_modules_in_the_current_directory(folder: Path) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    done = run_command(folder, str(Path(sys.executable).parent / "trio-upgrade"), "app:nothing", env=environment)
    assert (done.returncode, done.stderr) == (2, "trio-upgrade: the module app has no nothing\n")


def test_the_help_names_every_option(folder: Path) -> None:
    done = run_command(folder, sys.executable, "-m", "trio_upgrade", "--help")
    assert done.returncode == 0
    options = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", done.stdout, re.MULTILINE))
    assert options == {
        *("--help", "--version", "--asgi", "--root-path", "--grace", "--host", "--port", "--unix", "--fd"),
        *("--certfile", "--keyfile", "--trusted-proxy", "--log-level", "--access-log"),
    }


def run_command(folder: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"env": ENVIRONMENT, **options}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, **options)
