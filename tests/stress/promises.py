"""What was promised, what was measured, and whether the one is the other."""

from __future__ import annotations

import math
import os
import platform
import re
import textwrap
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

__all__ = ["Promises", "describe", "descriptors", "machine", "percentile", "resident"]

PAGE = os.sysconf("SC_PAGE_SIZE")


class Promises:
    """The promises of a run; each is printed as soon as it is known whether it was kept.

    Attributes:
      broken: how many were not.
    """

    def __init__(self) -> None:
        self.broken = 0

    def check(self, promise: str, measured: str, kept: bool) -> None:
        self.broken += not kept
        print(f"{'ok' if kept else 'BROKEN':6}  {promise}", flush=True)
        self.note(measured)

    def note(self, measured: str) -> None:
        """Say more about a promise, or about the measuring."""
        print(textwrap.fill(measured, 118, initial_indent=" " * 10, subsequent_indent=" " * 10), flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed; infinite where there are none."""
    ordered = sorted(values) or [math.inf]
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def describe(times: Sequence[float]) -> str:
    """How long most of them took, in milliseconds."""
    figures = {"p50": 50, "p99": 99, "longest": 100}
    return ", ".join(f"{name} {percentile(times, percent):,.1f} ms" for name, percent in figures.items())


def machine() -> str:
    """What it was measured on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = model[1] if model is not None else platform.machine()
    memory = PAGE * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = f"Python {platform.python_version()}, trio {version('trio')}, h11 {version('h11')}"
    return f"{os.cpu_count()} x {processor}, {memory:.0f} GiB, {platform.system()} {platform.release()}, {versions}"


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def descriptors(pid: int) -> int:
    """Files and sockets that a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
