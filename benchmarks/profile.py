"""`python -m benchmarks.profile`: where a server's time goes, layer by layer, sampled with py-spy while it works.

py-spy needs the right to look into another process; on macOS that is root's.
"""

from __future__ import annotations

import argparse
import linecache
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .speed.machine import pin, processors, raise_descriptors
from .speed.meter import Sample
from .speed.peers import FLOOR, OURS, PEERS
from .speed.process import TOP, launch
from .speed.works import WORKS, Timed

RATE = 400  # samples a second
SYSTEM_CALL = re.compile(
    r"\b(?:socket|sock|connection)\.(?:send|recv|setsockopt|getsockopt|setblocking|close|accept)\("
)
LAYERS = [  # the first whose pattern the place of a sample matches
    ("trio: epoll, with its system calls", r"trio/_core/_(?:generated_)?io_"),
    ("trio: tasks and scheduling", r"trio/_core/|outcome/|attrs|trio/_util"),
    ("system calls", r"^socket\.py"),
    ("WebSocket", r"trio_upgrade/websocket/|websockets/"),
    ("response", r"trio_upgrade/_response|encode_fields"),
    ("accepting, tasks, deadlines", r"trio_upgrade/_(?:listeners|serving|deadlines|statistics|server)"),
    ("transport and upgraded stream", r"trio_upgrade/_(?:socket_transport|transport|upgrade)\.|trio/_"),
    ("HTTP: head, request, exchange", r"trio_upgrade/"),
    ("handler", r""),
]


def layer(place: str) -> str:
    """The layer of a place, as py-spy names it: `function (file:line)`."""
    if (match := re.search(r"\((trio_upgrade/.*):(\d+)\)$", place)) is not None:
        line = linecache.getline(str(TOP / match[1]), int(match[2]))
        if SYSTEM_CALL.search(line):
            return "system calls"
    found = re.search(r"^(.*) \((.*?)(?::\d+)?\)$", place)
    where = f"{found[2]} {found[1]}" if found is not None else place
    return next(name for name, pattern in LAYERS if re.search(pattern, where))


def samples(recorded: str) -> Iterator[tuple[str, int]]:
    """The place that each stack in py-spy's raw format ends at, and how often it was found."""
    for line in recorded.splitlines():
        stack, _, number = line.rpartition(" ")
        if "end_with_parent" not in stack:  # a thread that waits
            yield stack.rpartition(";")[2], int(number)


def profile(work: Timed, peer: str, seconds: float) -> tuple[Sample, Counter[str]]:
    """Do the work, and count samples by layer. What the load itself costs is measured without py-spy."""
    servers, load = processors()
    pin(load)
    connections = work.scaled(False, raise_descriptors())
    with tempfile.TemporaryDirectory() as folder, launch(PEERS[peer].program, servers) as running:
        cost = work.measure(running, connections, seconds)
        output = Path(folder, "profile")
        command = ["py-spy", "record", "--pid", str(running.pid), "--rate", str(RATE), "--duration", str(int(seconds))]
        spy = subprocess.Popen([*command, "--format", "raw", "--output", str(output)], stdout=subprocess.DEVNULL)
        try:
            while spy.poll() is None:
                work.measure(running, connections, 1)
        finally:
            spy.kill()
            spy.wait()
        counted: Counter[str] = Counter()
        for place, number in samples(output.read_text()):
            counted[layer(place)] += number
    return cost, counted


def main() -> None:
    timed = [name for name, work in WORKS.items() if isinstance(work, Timed)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("work", nargs="+", choices=timed, metavar="WORK", help=", ".join(timed))
    parser.add_argument("--server", choices=[OURS, FLOOR], default=OURS)
    parser.add_argument("--seconds", type=float, default=6)
    arguments = parser.parse_args()
    for name in arguments.work:
        work = WORKS[name]
        assert isinstance(work, Timed)
        cost, counted = profile(work, arguments.server, arguments.seconds)
        print(f"{name}: {cost.cost:.1f} us of processor time for one of {work.unit}")
        for which, number in counted.most_common():
            print(f"  {cost.cost * number / counted.total():6.1f} us {100 * number / counted.total():4.0f} %  {which}")


if __name__ == "__main__":
    main()
