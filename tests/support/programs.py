"""Programs in processes of their own, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .client import Client

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

APPLICATION = """
import contextlib, os, trio
from trio_upgrade import Response, Server

async def on_request(request):
    return Response(200, f"{os.getpid()} {request.client} {request.scheme}")

async def on_upgrade(request, stream):
    await request.accept()
    await stream.send_all(b"%07d" % os.getpid())
    with request.server.cancel_on_shutdown():
        async for data in stream:
            await stream.send_all(data)
    await stream.send_all(b"goodbye")
    if request.path == "/stuck":
        await trio.sleep_forever()

server = Server(on_request, on_upgrade=on_upgrade)

@contextlib.asynccontextmanager
async def application():
    print("opened")
    try:
        yield server
    finally:
        print("closed")
"""


class Program:
    """A process, and what it prints on both of its outputs."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._printed = ""
        self._more = trio.Condition()
        self._ended = False

    async def read(self) -> None:
        """Keep what is printed, to the end."""
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            async with self._more:
                self._printed += data.decode()
                self._more.notify_all()
        async with self._more:
            self._ended = True
            self._more.notify_all()

    async def prints(self, pattern: str, times: int = 1) -> list[re.Match[str]]:
        """Wait until it has printed this so many times; all of these places."""
        async with self._more:
            while len(found := list(re.finditer(pattern, self._printed, re.MULTILINE))) < times:
                assert not self._ended, f"{pattern!r} is not in:\n{self._printed}"
                await self._more.wait()
            return found

    async def ends(self) -> str:
        """Wait until it has ended; all that it printed."""
        await self.process.wait()
        async with self._more:
            while not self._ended:
                await self._more.wait()
            return self._printed

    async def connect(self, pattern: str = r"^Serving on https?://(\S+):(\d+) ") -> Client:
        """A connection to the port that it prints."""
        found = (await self.prints(pattern))[0]
        return Client(await trio.open_tcp_stream(found[1].strip("[]"), int(found[2])))


@asynccontextmanager
async def running(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] = ENVIRONMENT,
    pass_fds: Sequence[int] = (),
    patience: float = 30,
) -> AsyncIterator[Program]:
    """Python with these arguments, in a process that does not outlive the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
    )
    program = Program(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.read)
        try:
            with trio.fail_after(patience):
                yield program
                await process.wait()
        except BaseException:
            print(program._printed)
            raise
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
