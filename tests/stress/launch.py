"""Starts the server under test, looks at it from outside, and makes sure that it ends."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio
import trustme

from trio_upgrade import Limits

from ..support.client import get
from .client import PatternClient, connect, connect_tls
from .promises import descriptors, resident

__all__ = ["Look", "Running", "keep_apart", "launch"]

MODULE = "tests.stress.server"

_apart: list[str] = []  # what keeps the server under test to a processor of its own


def keep_apart() -> None:
    """Leave one processor to the server under test, and keep this process and what it starts to another.

    Otherwise the clients, who are on this machine only because they have to be somewhere, would hold it up.
    """
    if len(processors := sorted(os.sched_getaffinity(0))) > 1:
        _apart[:] = ["--processor", str(processors[0])]
        os.sched_setaffinity(0, {processors[1]})


@dataclass(frozen=True)
class Look:
    """What the server under test says of itself: `Server.statistics()` and the program's own counts."""

    server: dict[str, int]
    mistakes: int
    dropped: list[float]
    logged: int


class Running:
    """The server under test, in a process of its own."""

    def __init__(self, process: trio.Process, ports: dict[str, int], context: ssl.SSLContext) -> None:
        self.process = process
        self.pid = process.pid
        self.port = ports["port"]
        self.tls_port = ports["tls_port"]
        self._context = context

    async def open(self, *, tls: bool = False) -> PatternClient:
        return await connect_tls(self.tls_port, self._context) if tls else await connect(self.port)

    def resident(self) -> int:
        return resident(self.pid)

    def descriptors(self) -> int:
        return descriptors(self.pid)

    async def look(self) -> Look:
        """Ask it; the connection that asks is one of those it counts."""
        client = await self.open()
        try:
            await client.send(get("/statistics", b"Connection: close\r\n"))
            return Look(**json.loads((await client.reply()).content))
        finally:
            await client.vanish()

    async def warm_up(self) -> int:
        """Let it make what it makes once, such as the descriptor that watches its peers; its descriptors then."""
        for tls in (False, True):
            client = await self.open(tls=tls)
            try:
                await client.send(get("/pattern/warm-up/10", b"Connection: close\r\n"))
                await client.reply()
            finally:
                await client.vanish()
        await self.look()
        return self.descriptors()

    async def settled(self, descriptors: int, seconds: float) -> int:
        """Wait for the descriptors to be down to a number again; how many there are then."""
        with trio.move_on_after(seconds):
            while self.descriptors() > descriptors:  # noqa: ASYNC110  # another process has no Event
                await trio.sleep(0.1)
        return self.descriptors()

    async def ended(self) -> tuple[float, int]:
        """Wait for its end: the seconds that it says its shutdown took, and its exit status."""
        said = await read_line(self.process)
        return said["seconds"], await self.process.wait()


@asynccontextmanager
async def launch(
    limits: Limits | None = None, grace: float = 10, environment: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    """Run the server under test for the length of the block, with more in its environment if there is any."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with tempfile.TemporaryDirectory() as directory:
        certificate = Path(directory, "certificate.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        given = json.dumps(asdict(limits or Limits()))
        command = [sys.executable, "-m", MODULE, "--certificate", str(certificate)]
        command += ["--limits", given, "--grace", str(grace), *_apart]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
        try:
            with trio.fail_after(30):
                ports = await read_line(process)
            yield Running(process, ports, context)
        finally:
            if process.poll() is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def read_line(process: trio.Process) -> Any:
    """What the program prints next."""
    assert process.stdout is not None
    line = bytearray()
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some()
        if not data:
            raise RuntimeError(f"the server under test ended by itself, with status {await process.wait()}")
        line += data
    return json.loads(line)
