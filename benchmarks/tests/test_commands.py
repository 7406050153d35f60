"""The commands for workers and for the chat print what they measure."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks import workers

pytestmark = pytest.mark.once


def test_two_workers_are_measured_beside_one(capsys: pytest.CaptureFixture[str]) -> None:
    workers.compare(16, 1, 0.1)
    workers.show_spread(2)
    printed = capsys.readouterr().out
    assert re.search(r"^rate, two over one: \d\.\d\d ", printed, re.MULTILINE)
    spreads = [
        [int(part) for part in found.split(", ")] for found in re.findall(r"once: \[(.*)\]$", printed, re.MULTILINE)
    ]
    assert [(len(spread), sum(spread)) for spread in spreads] == [(2, workers.SPREAD)] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="people come from many addresses, which only Linux has on loopback")
def test_what_the_chat_costs_is_printed() -> None:
    command = [sys.executable, "-m", "benchmarks.chat", "--people", "6", "--rooms", "2,3", "--turns", "1"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    line = r"^rooms of +(\d), on 1 node: to come in [\d,]+ us and .* a message [\d,]+ us"
    assert re.findall(line, printed, re.MULTILINE) == ["2", "3"]
