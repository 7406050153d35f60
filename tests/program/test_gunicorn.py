"""Several processes under a real gunicorn."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
import trustme

from ..support.client import Client, get, upgrade
from ..support.programs import APPLICATION, ENVIRONMENT, Program, running

pytestmark = pytest.mark.once

SETTINGS = ["FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"]  # what gunicorn reads
LISTENING = r"Listening at: https?://(\S+):(\d+) "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


def gunicorn(
    folder: Path, *arguments: str, application: str = "app:server", workers: int = 2
) -> AbstractAsyncContextManager[Program]:
    options = ["-k", "trio_upgrade.gunicorn.TrioWorker", "-b", "127.0.0.1:0"]
    command = ["-m", "gunicorn", *options, "-w", str(workers), *arguments, application]
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in SETTINGS}
    return running(*command, cwd=folder, env={**environment, "HOME": str(folder)})


async def ask(program: Program, fields: bytes = b"") -> str:
    """One request, on a connection of its own."""
    client = await program.connect(LISTENING)
    async with client.stream:
        await client.send(get(fields=fields + b"Connection: close\r\n"))
        reply = await client.reply()
        assert reply.status == 200
        return reply.content.decode()


async def open_upgraded(program: Program, target: str = "/") -> tuple[Client, int]:
    """An upgraded connection, and the number of the process that has it."""
    client = await program.connect(LISTENING)
    await client.send(upgrade(target=target))
    assert (await client.reply()).status == 101
    return client, int(await client.exactly(7))


async def until(wanted: Callable[[set[int]], bool], program: Program) -> dict[int, Client]:
    """Upgraded connections, one to each of the processes that come to answer, until these are enough."""
    clients: dict[int, Client] = {}
    with trio.fail_after(20):
        while not wanted(set(clients)):
            client, pid = await open_upgraded(program)
            if pid in clients:
                await client.aclose()
            clients.setdefault(pid, client)
    return clients


async def workers(program: Program, number: int) -> set[int]:
    """The workers that have been started, once these are so many."""
    return {int(match[1]) for match in await program.prints(r"Booting worker with pid: (\d+)", number)}


async def test_every_worker_serves_and_sigterm_drains(folder: Path) -> None:
    async with gunicorn(folder, application="app:application") as program:
        pids = await workers(program, 2)
        clients = await until(lambda found: found == pids, program)
        program.process.terminate()
        for client in clients.values():
            assert await client.rest() == b"goodbye"
            await client.aclose()
        printed = await program.ends()
    assert program.process.returncode == 0
    assert (printed.count("opened"), printed.count("closed")) == (2, 2)


async def test_sighup_replaces_the_workers_and_fails_no_request(folder: Path) -> None:
    async with gunicorn(folder) as program:
        old = await workers(program, 2)
        clients = await until(lambda found: found == old, program)
        asked = 0
        replaced = trio.Event()

        async def keep_asking() -> None:
            nonlocal asked
            while not replaced.is_set():
                await ask(program)
                asked += 1

        async def keep_asking_on_one_connection() -> None:
            nonlocal asked
            while not replaced.is_set():
                client = await program.connect(LISTENING)
                async with client.stream:
                    closes = False
                    while not closes and not replaced.is_set():
                        await client.send(get())
                        reply = await client.reply()
                        assert reply.status == 200
                        closes = reply.closes
                        asked += 1

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(keep_asking)
                nursery.start_soon(keep_asking_on_one_connection)
            program.process.send_signal(signal.SIGHUP)
            for client in clients.values():
                assert await client.rest() == b"goodbye"
                await client.aclose()
            for pid in old:
                await program.prints(rf"Worker exiting \(pid: {pid}\)")
            replaced.set()
        new = await workers(program, 4) - old
        assert asked
        assert int((await ask(program)).split()[0]) in new
        program.process.terminate()
    assert program.process.returncode == 0


async def test_the_others_do_not_notice_a_worker_that_is_killed(folder: Path) -> None:
    async with gunicorn(folder) as program:
        pids = await workers(program, 2)
        clients = await until(lambda found: found == pids, program)
        victim, other = pids
        os.kill(victim, signal.SIGKILL)
        await clients[victim].aclose()
        await workers(program, 3)
        await clients[other].send(b"still here")
        assert await clients[other].exactly(10) == b"still here"
        for client in (await until(lambda found: len(found) == 2, program)).values():
            await client.aclose()
        program.process.terminate()
        assert await clients[other].rest() == b"goodbye"
        await clients[other].aclose()


async def test_a_stuck_worker_is_caught(folder: Path) -> None:
    (folder / "stuck.py").write_text(
        APPLICATION
        + """
import time

async def get_stuck(request):
    time.sleep(1000)

server = Server(get_stuck, on_upgrade=on_upgrade)
"""
    )
    async with gunicorn(folder, "--timeout", "1", application="stuck:server", workers=1) as program:
        (pid,) = await workers(program, 1)
        client = await program.connect(LISTENING)
        async with client.stream:
            await client.send(get())
            assert await client.rest() == b""
        await program.prints("worker is stuck here:$")
        await program.prints(r"in get_stuck\n *time\.sleep\(1000\)$")
        await workers(program, 2)
        upgraded, replacement = await open_upgraded(program)
        assert replacement != pid
        await upgraded.aclose()
        program.process.terminate()


async def test_what_does_not_leave_is_cancelled_before_gunicorn_kills(folder: Path) -> None:
    arguments = ["--graceful-timeout", "1"]
    async with gunicorn(folder, *arguments, application="app:application", workers=1) as program:
        client, _ = await open_upgraded(program, "/stuck")
        program.process.terminate()
        assert await client.rest() == b"goodbye"
        await client.aclose()
        assert "closed" in await program.ends()


async def test_sigint_ends_at_once(folder: Path) -> None:
    async with gunicorn(folder, application="app:application", workers=1) as program:
        client, _ = await open_upgraded(program, "/stuck")
        program.process.send_signal(signal.SIGINT)
        assert await client.rest() == b""
        await client.aclose()
        assert "closed" in await program.ends()


async def test_a_worker_that_ends_already_is_not_interrupted(folder: Path) -> None:
    (folder / "exiting.py").write_text(
        APPLICATION
        + """
import atexit, pathlib, time

@atexit.register
def end():
    print("ending")
    for _ in range(1000):
        if pathlib.Path("end").exists():
            return print("ended")
        time.sleep(0.01)
"""
    )
    async with gunicorn(folder, application="exiting:server", workers=1) as program:
        await ask(program)
        (pid,) = await workers(program, 1)
        program.process.send_signal(signal.SIGINT)
        await program.prints("^ending$")
        os.kill(pid, signal.SIGQUIT)
        (folder / "end").touch()
        printed = await program.ends()
    assert "ended" in printed
    assert "SystemExit" not in printed


async def test_a_worker_leaves_after_max_requests(folder: Path) -> None:
    async with gunicorn(folder, "--max-requests", "2", workers=1) as program:
        before = {(await ask(program)).split()[0] for _ in range(2)}
        await program.prints("worker has had its 2 requests, and leaves")
        await workers(program, 2)
        assert (await ask(program)).split()[0] not in before
        program.process.terminate()


async def test_a_worker_says_once_why_it_leaves(folder: Path) -> None:
    arguments = ["--max-requests", "1", "--graceful-timeout", "3"]
    async with gunicorn(folder, *arguments, workers=1) as program:
        client, _ = await open_upgraded(program, "/stuck")
        assert await client.rest() == b"goodbye"
        await client.aclose()
        program.process.terminate()
        printed = await program.ends()
    assert printed.count("worker has had its 1 requests, and leaves") == 1


async def test_a_worker_that_is_opening_its_application_ends_at_once(folder: Path) -> None:
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
    async with gunicorn(folder, application="slow:slow", workers=1) as program:
        await program.prints("^opening$")
        program.process.terminate()
        assert "given up" in await program.ends()
    assert program.process.returncode == 0


async def test_tls(folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("test.example")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with gunicorn(folder, "--certfile", "server.pem", "--keyfile", "key.pem", workers=1) as program:
        below = await program.connect(LISTENING)
        client = Client(trio.SSLStream(below.stream, context, server_hostname="test.example"))
        await client.send(get())
        assert (await client.reply()).content.endswith(b" https")
        await client.aclose()
        program.process.terminate()


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", "*"])
async def test_gunicorns_proxies_and_logs(folder: Path, trusted: str) -> None:
    arguments = ["--forwarded-allow-ips", trusted, "--access-logfile", "-"]
    async with gunicorn(folder, *arguments, workers=1) as program:
        assert "192.0.2.1 http" in await ask(program, b"X-Forwarded-For: 192.0.2.1\r\n")
        await program.prints(r'^192\.0\.2\.1 - - \[.*\] "GET / HTTP/1\.1" 200 ')
        program.process.terminate()


async def test_a_unix_socket(folder: Path) -> None:
    async with gunicorn(folder, "-b", "unix:socket", workers=1) as program:
        await program.prints(r"Listening at: .*unix:socket ")
        client = Client(await trio.open_unix_socket(folder / "socket"))
        async with client.stream:
            await client.send(get())
            assert (await client.reply()).status == 200
        program.process.terminate()


@pytest.mark.parametrize(
    ("application", "message"),
    [
        ("app:nothing", "the module app has no nothing"),
        ("app:trio", "app:trio is <module "),
        ("app:on_request", "app:on_request takes arguments; "),
    ],
)
async def test_what_is_no_application_ends_gunicorn(folder: Path, application: str, message: str) -> None:
    async with gunicorn(folder, application=application) as program:
        printed = await program.ends()
    assert "Traceback" not in printed
    assert printed.count(message) == 1
    assert "App failed to load." in printed
    assert program.process.returncode != 0


ALONE = """
import os
from trio_upgrade import Server

def refuse_to_share():
    if int(os.environ["WEB_CONCURRENCY"]) > 1:
        raise SystemExit("it works in one process only")

async def opened():
    refuse_to_share()
    return Server()
"""


@pytest.mark.parametrize("application", ["alone:opened", "imported:opened"])
async def test_an_application_may_refuse_to_run_in_several_processes(folder: Path, application: str) -> None:
    (folder / "alone.py").write_text(ALONE)
    (folder / "imported.py").write_text(f"{ALONE}\nrefuse_to_share()")
    async with gunicorn(folder, application=application, workers=4) as program:
        printed = await program.ends()
    assert printed.count("it works in one process only") == 1
    assert "App failed to load." in printed
    assert "Traceback" not in printed
    assert program.process.returncode != 0
    async with gunicorn(folder, application=application, workers=1) as program:
        client = await program.connect(LISTENING)
        await client.send(get())
        assert (await client.reply()).status == 404
        await client.aclose()
        program.process.terminate()


async def test_the_chat_runs_in_several_workers_only_with_redis(folder: Path) -> None:
    async with gunicorn(folder, application="examples.chat:server", workers=2) as program:
        printed = await program.ends()
    assert printed.count("set CHAT_REDIS_URL, or use one worker") == 1
    assert program.process.returncode != 0


async def test_what_cannot_be_opened_ends_gunicorn(folder: Path) -> None:
    (folder / "broken.py").write_text("async def server():\n    raise LookupError('no database')\n")
    async with gunicorn(folder, application="broken:server", workers=1) as program:
        printed = await program.ends()
    assert "LookupError: no database" in printed
    assert "Worker failed to boot." in printed
    assert program.process.returncode != 0


async def test_a_worker_that_is_stuck_opening_its_application_is_caught(folder: Path) -> None:
    (folder / "stuck.py").write_text("import time\n\ndef server():\n    time.sleep(1000)\n")
    arguments = ["--timeout", "1", "--graceful-timeout", "1"]
    async with gunicorn(folder, *arguments, application="stuck:server", workers=1) as program:
        await program.prints(r"in server\n *time\.sleep\(1000\)$")
        await workers(program, 2)
        program.process.terminate()
