"""Debian's nginx with the chat's configuration, in front of nodes: on loopback, as the user who runs the tests."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from .programs import ENVIRONMENT, ROOT, Program, running

DEPLOY = ROOT / "examples" / "chat" / "deploy"
NAME = "chat.example.org"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")

MAIN = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chat.conf;
}}
"""


def unit_command() -> list[str]:
    """What the systemd unit starts, without its program, its application and its port."""
    line = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "chat@.service").read_text(), re.MULTILINE)[0]
    program, application, *arguments = shlex.split(line)
    assert (Path(program).name, application) == ("trio-upgrade", "examples.chat:server")
    at = arguments.index("--port")
    assert arguments[at + 1] == "%i"
    return arguments[:at] + arguments[at + 2 :]


class Node:
    """A server as the systemd unit starts it, on a port of its own, which it keeps when it is started again."""

    port = 0
    program: Program

    def __init__(self, nursery: trio.Nursery, application: str, cwd: Path = ROOT, redis: str | None = None) -> None:
        self._nursery = nursery
        self._environment = {**ENVIRONMENT, **({"CHAT_REDIS_URL": redis} if redis else {})}
        self._command = ["-m", "trio_upgrade", application, *unit_command()]
        self._cwd = cwd

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._ended = trio.Event()
        await self._nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with running(
            *self._command, "--port", str(self.port), cwd=self._cwd, env=self._environment, patience=60
        ) as self.program:
            found = await self.program.prints(r"^Serving on http://127\.0\.0\.1:(\d+) ")
            self.port = int(found[0][1])
            task_status.started()
            await self.program.process.wait()
        self._ended.set()

    @property
    def is_running(self) -> bool:
        return self.program.process.returncode is None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal, and wait until it has ended."""
        self.program.process.send_signal(number)
        await self._ended.wait()


class Front:
    """A running nginx.

    Attributes:
      port: where it speaks TLS.
      plain_port: where it sends everybody to TLS.
      authority: a file with the certificate authority.
    """

    def __init__(self, port: int, plain_port: int, authority: Path) -> None:
        self.port = port
        self.plain_port = plain_port
        self.authority = authority

    async def curl(self, path: str, *arguments: str, address: str = "127.0.0.1") -> str:
        """What curl prints, as a client with this address."""
        command = ["curl", "--silent", "--show-error", "--max-time", "10", "--noproxy", "*"]
        command += ["--cacert", str(self.authority), "--resolve", f"{NAME}:{self.port}:127.0.0.1"]
        command += ["--interface", address, *arguments, f"https://{NAME}:{self.port}{path}"]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        assert isinstance(done.stdout, bytes)
        return done.stdout.decode()


def substitute(text: str, *changes: tuple[str, str]) -> str:
    """Change what depends on the machine; each must be there."""
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    return text


def write_certificate(folder: Path) -> Path:
    """A certificate where the configuration looks for it; returns the authority's."""
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "fullchain.pem"), append=True)
    return folder / "authority.pem"


def write_configuration(folder: Path, plain_port: int, port: int, nodes: Sequence[int]) -> Path:
    """The chat's configuration, with these ports and this folder for those of a real machine."""
    server = r"    server 127\.0\.0\.1:800\d (.*;)\n"
    text = (DEPLOY / "nginx.conf").read_text()
    parameters = re.findall(server, text)
    assert len(parameters) == 2
    servers = "".join(f"    server 127.0.0.1:{number} {parameters[0]}\n" for number in nodes)
    text = substitute(
        text,
        (r"listen \[::\]:.*\n", "\n"),
        (r"listen 80;", f"listen 127.0.0.1:{plain_port};"),
        (r"listen 443 ", f"listen 127.0.0.1:{port} "),
        (r"/etc/ssl/chat/", f"{folder}/"),
        (f"({server})+", servers),
    )
    (folder / "chat.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    return folder / "nginx.conf"


@asynccontextmanager
async def nginx(folder: Path, nodes: Sequence[int]) -> AsyncIterator[Front]:
    """nginx in front of nodes on these ports."""
    if NGINX is None:
        if "CI" in os.environ:
            pytest.fail("there is no nginx, and CI must have one")
        pytest.skip("there is no nginx: get it with `apt-get install nginx`")
    authority = write_certificate(folder)
    async with trio.open_nursery() as nursery:
        with contextlib.ExitStack() as stack:
            # It inherits its sockets: so nobody takes their ports, and those who come early wait.
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            for sock in sockets:
                sock.setblocking(False)  # one of nginx's processes may accept what has woken the other one, too
            plain_port, port = [sock.getsockname()[1] for sock in sockets]
            configuration = write_configuration(folder, plain_port, port, nodes)
            numbers = [sock.fileno() for sock in sockets]
            start = partial(
                trio.run_process,
                [NGINX, "-c", str(configuration), "-p", str(folder), "-e", "stderr"],
                env={**ENVIRONMENT, "NGINX": "".join(f"{number};" for number in numbers)},
                pass_fds=numbers,
            )
            process = await nursery.start(start)
        yield Front(port, plain_port, authority)
        process.terminate()
