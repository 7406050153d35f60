"""A server under test: a process of its own, what it takes, and its end."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .connections import HOST
from .wire import Wrong

__all__ = ["TOP", "Running", "free_port", "launch", "processor_time"]

START = 20  # seconds in which a server must answer
PORTS = (20_000, 30_000)
COMMAND = (sys.executable, "-m", "benchmarks.speed.servers")
TOP = Path(__file__).parent.parent.parent


class Running:
    """A server that answers on `port`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
        self._process = process
        self._said = said
        self.pid = process.pid
        self.port = port

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + START
        while self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError as exc:
                if time.monotonic() > until:
                    raise Wrong(f"the server does not answer after {START} seconds") from exc
                time.sleep(0.02)
            else:
                return
        raise Wrong(f"the server ended by itself, with status {self._process.returncode}")

    def explain(self, exc: Exception) -> Wrong:
        """A failure, with what the server has printed meanwhile."""
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        return Wrong(f"{exc or repr(exc)}" + (f"; it said: {said[-300:]}" if said else ""))

    def clock(self) -> float:
        """Seconds of processor time that it has taken so far."""
        return processor_time(self._process.pid)

    def resident(self) -> int:
        """Bytes of memory that it has in use."""
        if sys.platform == "linux":
            statm = Path(f"/proc/{self._process.pid}/statm").read_text()
            return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return int(_ask_ps("rss", self._process.pid)) * 1024

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Kill it if the block takes longer; its connections then end, so nothing waits for it for ever."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def processor_time(pid: int) -> float:
    """Seconds that a process has taken so far."""
    if sys.platform == "linux":
        return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) computes
    return _seconds(_ask_ps("time", pid))


def _ask_ps(column: str, pid: int) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _seconds(time_used: str) -> float:
    """The seconds in what ps prints: [[days-]hours:]minutes:seconds, with hundredths on macOS."""
    days, _, rest = time_used.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86400


@contextmanager
def launch(program: Sequence[str], processor: int | None = None) -> Iterator[Running]:
    """Run a server of `benchmarks.speed.servers` for the length of the block.

    Args:
      program: its module, with arguments; see `Peer.program`.
      processor: the one that it is kept to.

    Raises:
      Wrong: it ended by itself, or does not answer.
    """
    port = free_port()
    place = [] if processor is None else ["--processor", str(processor)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*COMMAND, *place, *program, str(port)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=TOP,
        )
        running = Running(process, port, said)
        try:
            try:
                running.wait_until_it_answers()
            except Wrong as exc:
                raise running.explain(exc) from exc
            yield running
        finally:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A port below those that the system gives to clients: one of ours might have it before the server has."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as sock:
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
        return port
