"""`python -m benchmarks.workers`: what a second gunicorn worker adds, and how connections spread over workers.

Each worker echoes WebSocket messages of 64 bytes on as many connections as the others have, and is kept to a processor
of its own. One worker and two take turns. The load generator needs a processor, too: with two of them it takes from
the workers what it needs, and one worker has had the other processor's help. So it sends and expects messages in
bursts, one write and one read for all of them, while a worker answers each by itself: the longer the bursts, the less
the generator takes. How busy it was, and the workers were, is printed: together they have no more than all processors.
The workers' processor time for a message tells the rest. Where it is the same for one worker and for two, they do not
hinder each other, and what the rate lacks is what the generator took.
"""

from __future__ import annotations

import argparse
import collections
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio

from trio_upgrade import Request, Server, websocket

from .speed.connections import PATIENCE, Address, close, connect
from .speed.figures import ratios
from .speed.loads import Sockets, difference, measure
from .speed.machine import describe, raise_descriptors
from .speed.meter import Meter, Sample
from .speed.process import TOP, free_port, processor_time
from .speed.wire import VARIETY, Wrong, client_frame, payloads, server_frame, upgrade

START = 20  # seconds in which all workers must answer
END = 20  # seconds in which gunicorn must end
SIZE = 64  # bytes of a message
CONNECTIONS = 16  # to each worker
BURSTS = (1, 16, 64)
SPREAD = 256  # connections whose workers are counted
COMMAND = [sys.executable, "-m", "gunicorn", "-k", "trio_upgrade.gunicorn.TrioWorker", "--log-level", "warning"]


# ---- in the workers


async def echo(request: Request, stream: trio.abc.Stream) -> None:
    """Echo messages; the 101 tells which worker does it."""
    async with websocket.accept(request, stream, headers=[("Worker", str(os.getpid()))]) as ws:
        async for message in ws:
            await ws.send(message)


server = Server(on_upgrade=echo)


# ---- and outside


class Workers:
    """A gunicorn that runs; `pids` are its workers'."""

    def __init__(self, port: int, number: int) -> None:
        self.port = port
        self.pids = self._find(number)

    def _find(self, number: int) -> list[int]:
        """Connect until so many workers have answered."""
        found: set[int] = set()
        until = time.monotonic() + START
        while len(found) < number:
            if time.monotonic() > until:
                raise Wrong(f"{len(found)} of {number} workers answer after {START} seconds")
            try:
                sock, pid = self.open()
            except OSError:
                time.sleep(0.05)
                continue
            sock.close()
            found.add(pid)
        return sorted(found)

    def open(self) -> tuple[socket.socket, int]:
        """A WebSocket, and the worker that has it."""
        sock = connect(Address(self.port))
        try:
            sock.sendall(upgrade("websocket"))
            return sock, worker_of(sock)
        except BaseException:
            sock.close()
            raise

    def open_evenly(self, connections: int) -> list[socket.socket]:
        """So many WebSockets to each worker; those that a worker has too many of are closed again."""
        held: dict[int, list[socket.socket]] = {pid: [] for pid in self.pids}
        try:
            while any(len(sockets) < connections for sockets in held.values()):
                sock, pid = self.open()
                if len(held[pid]) < connections:
                    held[pid].append(sock)
                else:
                    sock.close()
        except BaseException:
            for sockets in held.values():
                close(sockets)
            raise
        return [sock for each in zip(*held.values(), strict=True) for sock in each]

    def spread(self, at_once: int) -> list[int]:
        """How many of `SPREAD` connections each worker takes, so many of which come at once."""
        counted = collections.Counter(dict.fromkeys(self.pids, 0))
        opened: list[socket.socket] = []
        try:
            while len(opened) < SPREAD:
                opened += [connect(Address(self.port)) for _ in range(at_once)]
                for sock in opened[-at_once:]:
                    sock.sendall(upgrade("websocket"))
                for sock in opened[-at_once:]:
                    counted[worker_of(sock)] += 1
        finally:
            close(opened)
        return sorted(counted.values())

    def clock(self) -> float:
        """Seconds of processor time that all workers have taken."""
        return sum(processor_time(pid) for pid in self.pids)


def worker_of(sock: socket.socket) -> int:
    """The worker that a 101 tells."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (data := sock.recv(4096)):
            raise ConnectionResetError("the connection ended in the middle of the 101")
        head += data
    for line in head.decode().splitlines():
        name, _, value = line.partition(": ")
        if name == "Worker":
            return int(value)
    raise Wrong(f"{head!r} names no worker")


class Bursts(Sockets):
    """Messages that come back, several at once on each connection; an operation is one message, there and back.

    Whichever connection has its replies gets the next burst: so no worker waits for another one.
    """

    def __init__(self, sockets: list[socket.socket], burst: int) -> None:
        super().__init__(sockets)
        self._burst = burst
        self._sent = [client_frame(message) * burst for message in payloads(SIZE)]
        self._replies = [server_frame(message) * burst for message in payloads(SIZE)]
        self._turns = dict.fromkeys(sockets, 0)
        self._selector = selectors.DefaultSelector()
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(self._replies[0]))  # wake up once for all
            self._selector.register(sock, selectors.EVENT_READ)
            sock.sendall(self._sent[0])

    def turn(self) -> int:
        ready = [key.fileobj for key, _ in self._selector.select(PATIENCE)]
        if not ready:
            raise Wrong(f"nothing came back for {PATIENCE} seconds")
        for sock in ready:
            assert isinstance(sock, socket.socket)
            self._take(sock)
            sock.sendall(self._sent[self._turns[sock]])
        return len(ready) * self._burst

    def _take(self, sock: socket.socket) -> None:
        """Receive the replies to a burst, which all come, since the burst was sent whole."""
        reply = self._replies[self._turns[sock]]
        if (data := sock.recv(len(reply), socket.MSG_WAITALL)) != reply:
            raise difference(data, reply)
        self._turns[sock] = (self._turns[sock] + 1) % VARIETY

    def end(self) -> None:
        for sock in self.sockets:
            self._take(sock)
        super().end()

    def abort(self) -> None:
        self._selector.close()
        super().abort()


@contextmanager
def gunicorn(number: int, *options: str) -> Iterator[Workers]:
    """Run gunicorn with so many workers for the length of the block."""
    port = free_port()
    command = [*COMMAND, "-w", str(number), "-b", f"127.0.0.1:{port}", *options, "benchmarks.workers:server"]
    with tempfile.TemporaryDirectory() as home:  # where gunicorn has its control socket
        process = subprocess.Popen(command, cwd=TOP, env={**os.environ, "HOME": home})
        try:
            yield Workers(port, number)
        finally:
            process.terminate()
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()  # its workers see that, and leave
                process.wait()


def keep_apart(workers: Workers, first: int) -> None:
    """Keep each worker to a processor of its own, as far as there are enough, beginning with the `first`."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        for number, pid in enumerate(workers.pids, first):
            os.sched_setaffinity(pid, {processors[number % len(processors)]})


def compare(burst: int, rounds: int, seconds: float) -> None:
    """Measure one worker and two in turn, and print what came of it."""
    samples: dict[int, list[Sample]] = {1: [], 2: []}
    with ExitStack() as stack:
        running = {number: stack.enter_context(gunicorn(number)) for number in samples}
        for turn in range(rounds):
            for number, workers in running.items():
                keep_apart(workers, first=turn)  # no two processors are equally fast
                load = Bursts(workers.open_evenly(CONNECTIONS), burst)
                samples[number].append(measure(load, Meter(workers.clock), seconds))
    print(f"\nmessages of {SIZE} bytes, {burst} in a burst, {CONNECTIONS} connections to each worker")
    print("             messages/s   workers' time for one   workers busy   generator busy")
    for number, taken in samples.items():
        rate, cost, workers_busy, generator_busy = (
            statistics.median(getattr(sample, name) for sample in taken)
            for name in ("rate", "cost", "server_busy", "generator_busy")
        )
        name = f"{number} worker{'s' if number > 1 else ''}"
        print(f"{name:10}{rate:13,.0f}{cost:21.1f} us{workers_busy:15.0%}{generator_busy:17.0%}")
    for what, name in (("rate", "rate"), ("time for a message", "cost")):
        ratio = ratios(
            [getattr(sample, name) for sample in samples[2]], [getattr(sample, name) for sample in samples[1]]
        )
        assert ratio is not None
        print(f"{what}, two over one: {ratio.median:.2f} (quartiles {ratio.lower:.2f} to {ratio.upper:.2f})")


def show_spread(number: int) -> None:
    """Print how connections spread over workers that share a socket, and over those that have one each."""
    for options, how in (([], "one listening socket"), (["--reuse-port"], "--reuse-port")):
        with gunicorn(number, *options) as workers:
            for at_once in (1, 64):
                print(f"{number} workers, {how}, {SPREAD} connections, {at_once} at once: {workers.spread(at_once)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="of one worker and two in turn (default: 7)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default: 2)")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    raise_descriptors()
    machine = describe()
    print(f"{machine['date']}, {machine['python']}, {machine['processors']} x {machine['processor']}")
    for burst in BURSTS:
        compare(burst, arguments.rounds, arguments.seconds)
    print()
    for number in (2, 4):
        show_spread(number)


if __name__ == "__main__":
    main()
