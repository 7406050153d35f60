"""`python -m benchmarks.shares`: how much of a server's processor time the kernel, Python and OpenSSL take.

Linux's perf tells it, of peers, too. It needs the right to look into the kernel, which is root's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .speed.machine import pin, processors, raise_descriptors
from .speed.meter import Sample
from .speed.peers import OURS, PEERS
from .speed.process import launch
from .speed.work import Timed
from .speed.works import WORKS

RATE = 2000  # samples a second
WARM_UP = 0.5  # seconds
PYTHON, EXTENSIONS = "Python", "extension modules"
PARTS = [  # the first whose pattern the name of a program or library matches
    ("the kernel", r"^\[(?:kernel|guest)"),
    ("OpenSSL", r"^lib(?:crypto|ssl)\b"),
    (PYTHON, r"^(?:libpython|python)"),
    ("the C library", r"^(?:libc|libm|\[vdso|ld-)\b"),
    (EXTENSIONS, r"\.so\b"),
    ("others", r""),
]


def part(name: str) -> str:
    """The part that a program or library, by the name of its file, belongs to."""
    return next(which for which, pattern in PARTS if re.search(pattern, name))


def shares(work: Timed, peer: str, seconds: float, processor: int | None) -> tuple[Sample, dict[str, float]]:
    """Do the work; returns what an operation cost, and the percentages of the parts.

    Raises:
      SystemExit: there is no perf, or it cannot look into the server.
    """
    if shutil.which("perf") is None:
        sys.exit("perf is missing: it is one of Linux's tools")
    connections = work.scaled(False, raise_descriptors())
    with (
        tempfile.TemporaryDirectory() as folder,
        launch(PEERS[peer].program, processor, tls=work.tls, content=work.content) as running,
    ):
        work.measure(running, connections, WARM_UP)
        recorded = str(Path(folder, "perf.data"))
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(RATE), "-p", str(running.pid), "-o", recorded]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as perf:
            sample = work.measure(running, connections, seconds)
            perf.send_signal(signal.SIGINT)
            _, said = perf.communicate()
        command = ["perf", "report", "-i", recorded, "--stdio", "--sort", "dso", "-t", "\t"]
        report = subprocess.run(command, capture_output=True, text=True, check=False)
    percentages: dict[str, float] = {}
    for overhead, name in re.findall(r"^ *([\d.]+)% *\t(\S+)", report.stdout, re.MULTILINE):
        percentages[part(name)] = percentages.get(part(name), 0) + float(overhead)
    if not percentages:
        sys.exit(f"perf cannot look into the server: {said.strip() or report.stderr.strip()}")
    return sample, percentages


def print_shares(title: str, work: Timed, sample: Sample, percentages: dict[str, float]) -> None:
    """Print what an operation cost, and the shares of it, the largest first."""
    print(f"{title}: {sample.cost:.1f} us of processor time for one of {work.unit}")
    for which, share in sorted(percentages.items(), key=lambda item: -item[1]):
        print(f"  {sample.cost * share / 100:6.1f} us {share:4.0f} %  {which}", flush=True)


def main() -> None:
    timed = [name for name, work in WORKS.items() if isinstance(work, Timed)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shares", description=__doc__)
    parser.add_argument("work", nargs="+", choices=timed, metavar="WORK", help=", ".join(timed))
    parser.add_argument("--servers", metavar="NAME,...", default=OURS, help=f"whom to look into: {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.servers.split(",") if name not in PEERS]:
        parser.error(f"there is no server {unknown[0]!r}")
    processor, load = processors()
    pin(load)
    for name in arguments.work:
        for peer in arguments.servers.split(","):
            work = WORKS[name]
            assert isinstance(work, Timed)
            print_shares(f"{name}, {peer}", work, *shares(work, peer, arguments.seconds, processor))


if __name__ == "__main__":
    main()
