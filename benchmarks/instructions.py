"""`python -m benchmarks.instructions`: how many processor instructions one operation costs the server.

Unlike time, this hardly depends on what else the machine does: two runs differ by a percent. Only where other programs
keep both sides from running, the server finds less there when it looks, and waits more often: up to a tenth more.
Valgrind's callgrind counts, with the garbage collector off, on one connection after another. It takes about a minute.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .speed.answers import MIB, block
from .speed.connections import HOST
from .speed.files import certificate_file, client_context
from .speed.process import TOP, free_port
from .speed.wire import client_frame, complete_length, get, payloads, post, server_frame, upgrade

SERVER = (
    "import gc; gc.disable(); from benchmarks.speed.servers import {module}, place; "
    "{module}.serve(place.Place({port}, {certificate!r}, {content!r}))"
)
START = 180  # seconds; under valgrind everything takes some fifty times as long
WARM_UP = 30  # operations that are not counted: Python specializes its bytecode meanwhile
MESSAGE = payloads(64)[0]
KIB = 1024
LARGE = 10  # an upload takes so many times as long: it is done less often


class Connection:
    """A connection that sends one thing and waits for a reply of a known length.

    Args:
      port: the server's.
      context: of TLS, if it is to be used.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=START)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=HOST)

    def ask(self, data: bytes, size: int) -> bytes:
        """Send `data`, and receive `size` bytes."""
        self._socket.sendall(data)
        reply = b""
        while len(reply) < size:
            part = self._socket.recv(65536)
            if not part:
                raise SystemExit(f"the server closed the connection after {reply!r}")
            reply += part
        return reply

    def ask_for_response(self, request: bytes) -> bytes:
        """Send a request, and receive its response."""
        response = self.ask(request, 1)
        while (size := complete_length(response)) is None or len(response) < size:
            response += self.ask(b"", 1)
        return response

    def close(self) -> None:
        """Close it, and wait until the server has closed it, too."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket = self._socket.unwrap()
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(65536):
            pass
        self._socket.close()


Connect = Callable[[], Connection]  # opens a connection to the server
Work = Callable[[Connect, int], None]  # does so many operations with it


def requests(connect: Connect, times: int) -> None:
    connection = connect()
    for _ in range(times):
        connection.ask_for_response(get())
    connection.close()


def connections(connect: Connect, times: int) -> None:
    for _ in range(times):
        requests(connect, 1)


def posts(request: bytes) -> Work:
    """Requests whose body the server reads; it answers with the body's length."""

    def work(connect: Connect, times: int) -> None:
        connection = connect()
        for _ in range(times):
            connection.ask_for_response(request)
        connection.close()

    return work


def uploads(chunk: int | None = None) -> Work:
    return posts(post(bytes(MIB), chunk, "/upload"))


def downloads(connect: Connect, times: int) -> None:
    """Responses of a MiB, in chunks of 64 KiB."""
    connection = connect()
    for _ in range(times):
        end = connection.ask(get("/stream"), MIB)[-7:]
        while not end.endswith(b"\r\n0\r\n\r\n"):
            end += connection.ask(b"", 1)
    connection.close()


def handshakes(request: bytes) -> Work:
    def work(connect: Connect, times: int) -> None:
        for _ in range(times):
            connection = connect()
            connection.ask_for_response(request)
            connection.close()

    return work


def echoes(protocol: str, sent: bytes, received: bytes) -> Work:
    def work(connect: Connect, times: int) -> None:
        connection = connect()
        connection.ask_for_response(upgrade(protocol))
        for _ in range(times):
            assert connection.ask(sent, len(received)) == received
        connection.close()

    return work


WORKS = {
    "get": requests,
    "post-1k": posts(post(bytes(KIB))),
    "post-1k-chunked": posts(post(bytes(KIB), KIB)),
    "upload-1m": uploads(),
    "upload-1m-64k": uploads(64 * KIB),
    "upload-1m-1k": uploads(KIB),
    "stream-1m": downloads,
    "handshake": handshakes(upgrade("echo")),
    "ws-handshake": handshakes(upgrade("websocket")),
    "upgrade-body": handshakes(upgrade("echo", body=bytes(KIB))),
    "raw-64": echoes("echo", MESSAGE, MESSAGE),
    "ws-64": echoes("websocket", client_frame(MESSAGE), server_frame(MESSAGE)),
}


TLS_WORKS = {
    "tls-get": requests,
    "tls-handshake": connections,  # of TLS, with one request
    "tls-raw-64": echoes("echo", MESSAGE, MESSAGE),
    "tls-ws-64": echoes("websocket", client_frame(MESSAGE), server_frame(MESSAGE)),
}


ASGI_WORKS = {  # of an ASGI application
    "asgi-get": requests,
    "asgi-post-1k": posts(post(bytes(KIB))),
    "asgi-upload-1m": uploads(),
    "asgi-stream-1m": downloads,
    "asgi-ws-handshake": handshakes(upgrade("websocket")),
    "asgi-ws-64": echoes("websocket", client_frame(MESSAGE), server_frame(MESSAGE)),
}

GROUPS = [WORKS, TLS_WORKS, ASGI_WORKS]  # each has a server of its own


class Counted:
    """A server under callgrind.

    Args:
      folder: for its files.
      module: of `benchmarks.speed.servers`.
      tls: whether it serves over TLS.
    """

    def __init__(self, folder: Path, module: str, tls: bool) -> None:
        self._output = folder / "callgrind"
        self.port = free_port()
        self._context = client_context() if tls else None
        content = folder / "content"
        content.write_bytes(block())
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self._output}"]
        certificate = str(certificate_file()) if tls else None
        server = SERVER.format(module=module, port=self.port, certificate=certificate, content=str(content))
        command += [sys.executable, "-c", server]
        self._process = subprocess.Popen(
            command,
            cwd=TOP,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._dumps = 0

    def wait_until_it_answers(self) -> None:
        """Wait until it accepts connections."""
        until = time.monotonic() + START
        while True:
            try:
                return socket.create_connection((HOST, self.port), timeout=START).close()
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise SystemExit("the server did not start under valgrind") from None
                time.sleep(0.2)

    def count(self, work: Work, times: int) -> float:
        """How many instructions it takes for each of so many operations."""
        work(self._connect, min(WARM_UP, times))
        self._control("--zero")
        work(self._connect, times)
        self._control("--dump")
        self._dumps += 1
        dump = self._output.with_name(f"{self._output.name}.{self._dumps}").read_text()
        total = re.search(r"^(?:summary|totals): (\d+)", dump, re.MULTILINE)
        assert total is not None
        return int(total[1]) / times

    def _connect(self) -> Connection:
        return Connection(self.port, self._context)

    def _control(self, action: str) -> None:
        command = ["callgrind_control", action, str(self._process.pid)]
        subprocess.run(command, check=True, timeout=START, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    works = [name for group in GROUPS for name in group]
    parser.add_argument("work", nargs="*", metavar="WORK", help=f"{', '.join(works)} (default: all)")
    parser.add_argument("--times", type=int, default=200, help="operations that are counted (default: 200)")
    arguments = parser.parse_args()
    for name in arguments.work:
        if name not in works:
            parser.error(f"there is no work {name}: {', '.join(works)}")
    if shutil.which("callgrind_control") is None:
        sys.exit("valgrind is missing: apt-get install valgrind")
    for group in GROUPS:
        names = [name for name in group if name in (arguments.work or works)]
        if names:
            module = "ours_asgi" if group is ASGI_WORKS else "ours"
            count({name: group[name] for name in names}, arguments.times, module, tls=group is TLS_WORKS)


def count(works: dict[str, Work], times: int, module: str, tls: bool) -> None:
    """Print what these works cost."""
    with tempfile.TemporaryDirectory() as folder:
        server = Counted(Path(folder), module, tls)
        try:
            server.wait_until_it_answers()
            for name, work in works.items():
                some = max(1, times // LARGE) if "-1m" in name else times
                print(f"{name:18} {server.count(work, some):12,.0f} instructions", flush=True)
        finally:
            server.end()


if __name__ == "__main__":
    main()
