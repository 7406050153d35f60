"""`python -m benchmarks.profile`: where a server's time goes, layer by layer.

Linux's perf tells what the kernel, OpenSSL and Python take (see `benchmarks.shares`), and py-spy which layers Python
works for: it counts only the moments in which a thread holds the interpreter's lock. In the others, a thread waits or
is in the kernel. py-spy cannot tell how long: it stops the server for each sample, and a process in a system call
stops only at its end, so that system calls would get twice their share.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .shares import EXTENSIONS, PYTHON, print_shares, shares
from .speed.machine import pin, processors, raise_descriptors
from .speed.meter import Sample
from .speed.peers import FLOOR, OURS, PEERS
from .speed.process import launch
from .speed.work import Timed
from .speed.works import WORKS

RATE = 400  # samples a second
OPENING = 3  # seconds until every connection is open
LAYERS = [  # the first whose pattern the place of a sample matches
    ("trio: epoll", r"trio/_core/_(?:generated_)?io_"),
    ("trio: tasks and scheduling", r"trio/_core/|outcome/|attrs|trio/_util"),
    ("WebSocket", r"trio_upgrade/websocket/|websockets/"),
    ("TLS", r"trio_upgrade/_(?:tls|close_notify)|\bssl\.py"),
    ("response", r"trio_upgrade/_response|encode_fields"),
    (
        "accepting, tasks, deadlines",
        r"trio_upgrade/_(?:listeners|capacity|serving|head_timeout|peer_watch|statistics|server)|\bsocket\.py",
    ),
    (
        "transport and upgraded stream",
        r"trio_upgrade/_(?:(?:socket_|stream_)?transport|socket_state|patience|upgraded_stream)\.|trio/_",
    ),
    ("HTTP: head, request, exchange", r"trio_upgrade/"),
    ("handler", r""),
]


def layer(place: str) -> str:
    """The layer of a place, as py-spy names it: `function (file:line)`."""
    found = re.search(r"^(.*) \((.*?)(?::\d+)?\)$", place)
    where = f"{found[2]} {found[1]}" if found is not None else place
    return next(name for name, pattern in LAYERS if re.search(pattern, where))


def samples(recorded: str) -> Iterator[tuple[str, int]]:
    """The place that each stack in py-spy's raw format ends at, and how often it was found."""
    for line in recorded.splitlines():
        stack, _, number = line.rpartition(" ")
        if "end_with_parent" not in stack:  # a thread that waits
            yield stack.rpartition(";")[2], int(number)


def layers_of(work: Timed, peer: str, seconds: int, processor: int | None) -> Counter[str]:
    """Do the work, and count samples of Python's work by layer.

    Raises:
      SystemExit: py-spy cannot look into the server.
    """
    connections = work.scaled(False, raise_descriptors())
    with (
        tempfile.TemporaryDirectory() as folder,
        launch(PEERS[peer].program, processor, tls=work.tls, content=work.content) as running,
    ):
        output = Path(folder, "profile")
        command = [py_spy(), "record", "--pid", str(running.pid), "--gil", "--rate", str(RATE)]
        command += ["--duration", str(seconds), "--format", "raw", "--output", str(output)]
        done: list[subprocess.CompletedProcess[str]] = []
        # Not before all connections are open: that is another work.
        spy = threading.Timer(
            OPENING, lambda: done.append(subprocess.run(command, capture_output=True, text=True, check=False))
        )
        spy.start()
        work.measure(running, connections, OPENING + seconds + 1)
        spy.join()
        if done[0].returncode:
            sys.exit(f"py-spy cannot look into the server: {done[0].stderr.strip()}")
        counted: Counter[str] = Counter()
        for place, number in samples(output.read_text()):
            counted[layer(place)] += number
    return counted


def profile(work: Timed, peer: str, seconds: int, processor: int | None) -> tuple[Sample, dict[str, float]]:
    """What an operation costs, and of that the percentages of layers.

    Raises:
      SystemExit: perf or py-spy cannot look into the server.
    """
    sample, percentages = shares(work, peer, seconds, processor)
    python = percentages.pop(PYTHON, 0) + percentages.pop(EXTENSIONS, 0)
    counted = layers_of(work, peer, seconds, processor)
    for which, number in counted.items():
        percentages[which] = python * number / counted.total()
    return sample, percentages


def py_spy() -> str:
    """Its program, which is installed beside this Python's."""
    folders = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which("py-spy", path=folders)
    if found is None:
        sys.exit("py-spy is missing: pip install -e '.[benchmarks]'")
    return found


def main() -> None:
    timed = [name for name, work in WORKS.items() if isinstance(work, Timed)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("work", nargs="+", choices=timed, metavar="WORK", help=", ".join(timed))
    parser.add_argument("--server", choices=[OURS, FLOOR], default=OURS)
    parser.add_argument("--seconds", type=int, default=6)
    arguments = parser.parse_args()
    if arguments.seconds < 1:
        parser.error("--seconds must be at least 1")
    processor, load = processors()
    pin(load)
    for name in arguments.work:
        work = WORKS[name]
        assert isinstance(work, Timed)
        print_shares(name, work, *profile(work, arguments.server, arguments.seconds, processor))


if __name__ == "__main__":
    main()
