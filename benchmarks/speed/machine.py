"""The machine: which processors there are, how many descriptors, and what to say of it beside the figures."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shutil
from pathlib import Path

__all__ = ["describe", "find_executable", "pin", "processors", "raise_descriptors"]


def processors() -> tuple[int | None, int | None]:
    """A processor for the servers and another for the load generator; None where there are no two to choose from."""
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) > 1:
            return allowed[0], allowed[1]
    return None, None


def pin(processor: int | None) -> None:
    """Keep this process to one processor. With None nothing happens."""
    if processor is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {processor})


def raise_descriptors() -> int:
    """Allow this process as many file descriptors as it may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2**16
    wanted = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the hard one
            return soft
        return wanted
    return enough if soft == resource.RLIM_INFINITY else soft


def find_executable(name: str) -> str | None:
    """A program: what the environment has (NODE for node), or the first on the PATH; None if there is neither."""
    return shutil.which(os.environ.get(name.upper()) or name)


def describe() -> dict[str, str]:
    """The date, and what the figures depend on besides the versions of what was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "processors": str(os.cpu_count()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def processor_name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
