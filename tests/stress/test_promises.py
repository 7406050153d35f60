"""The promises of docs/reliability.md, with smaller numbers and shorter times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.stress"]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, which only Linux has"),
]


@contextmanager
def running(scenario: str) -> Iterator[subprocess.Popen[str]]:
    """A scenario in a process of its own, which is not left running."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it takes memory
    with subprocess.Popen(
        [*COMMAND, scenario, "--quick"],
        cwd=ROOT,
        env=plain,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        try:
            yield run
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGINT)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenarios", [("slow", "chat", "shutdown"), ("held", "soak"), ("worst",)], ids=" and ".join)
def test_every_promise_is_kept(scenarios: tuple[str, ...]) -> None:
    """Several at a time, since some of them mostly wait."""
    with ExitStack() as stack:
        for run in [stack.enter_context(running(scenario)) for scenario in scenarios]:
            said, _ = run.communicate()
            assert run.returncode == 0, said


def test_a_scenario_that_does_not_exist_is_named() -> None:
    run = subprocess.run([*COMMAND, "fast"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "there is no scenario 'fast': choose from slow, held, soak, shutdown, worst, chat" in run.stderr
