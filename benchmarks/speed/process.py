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

from .answers import SIZE
from .connections import HOST, Address
from .files import certificate_file, client_context, content_file
from .wire import Wrong

__all__ = ["TOP", "Running", "free_port", "launch", "processor_time"]

START = 20  # seconds in which a server must answer
PORTS = (20_000, 30_000)
COMMAND = (sys.executable, "-m", "benchmarks.speed.servers")
TOP = Path(__file__).parent.parent.parent


class Running:
    """A server.

    Attributes:
      pid: its process.
      address: where it answers.
      size: how many MiB its downloads have, and what is uploaded to it.
    """

    def __init__(self, process: subprocess.Popen[bytes], address: Address, said: IO[bytes], size: int = SIZE) -> None:
        self._process = process
        self._said = said
        self.pid = process.pid
        self.address = address
        self.size = size

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + START
        while self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.address.port), timeout=1).close()
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

    def peak(self) -> int:
        """Bytes of memory that it has had in use at most; where the system does not tell it, that it has now."""
        if sys.platform == "linux":
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return self.resident()

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
def launch(
    program: Sequence[str], processor: int | None = None, *, tls: bool = False, content: bool = False, size: int = SIZE
) -> Iterator[Running]:
    """Run a server of `benchmarks.speed.servers` for the length of the block.

    Args:
      program: its module, with arguments; see `Peer.program`.
      processor: the one that it is kept to.
      tls: whether it serves over TLS.
      content: whether it has the content of downloads.
      size: see `Running`.

    Raises:
      Wrong: it ended by itself, or does not answer.
    """
    address = Address(free_port(), client_context() if tls else None)
    place = [] if processor is None else ["--processor", str(processor)]
    if tls:
        place += ["--certificate", str(certificate_file())]
    if content:
        place += ["--content", str(content_file(size))]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*COMMAND, *place, *program, str(address.port)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=TOP,
        )
        running = Running(process, address, said, size)
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
