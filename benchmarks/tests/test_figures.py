"""What is made of the figures: medians, ratios, a table, and the guard's judgement."""

from __future__ import annotations

import pytest

from benchmarks.speed import table
from benchmarks.speed.figures import Quartiles, Result, quartiles, ratios, reference_among
from benchmarks.speed.guard import Promise, check
from benchmarks.speed.meter import Sample
from benchmarks.speed.peers import FLOOR, OURS
from benchmarks.speed.works import WORKS

pytestmark = pytest.mark.once


def result_of(peer: str, *samples: Sample, work: str = "raw-64") -> Result:
    return Result(WORKS[work], peer, 32, [sample.rate for sample in samples], list(samples))


def test_it_is_said_when_the_generator_was_the_limit() -> None:
    limited = result_of("floor", Sample(100, 1.0, generator=0.97, server=0.5))
    served = result_of(OURS, Sample(100, 1.0, generator=0.97, server=0.95))
    text = table.table([limited, served], OURS)
    assert "100* " in text
    assert text.count("*") == 2
    assert table.LIMIT in text
    assert table.LIMIT not in table.table([served], OURS)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([1.0, 20.0, 300.0], [2.0, 10.0, 100.0]) == Quartiles(1.25, 2.0, 2.5)
    assert ratios([], [1.0]) is None
    assert quartiles([5.0]) == Quartiles(5.0, 5.0, 5.0)


def test_the_reference_is_ours_where_the_named_one_did_not_take_part() -> None:
    results = [result_of("floor"), result_of(OURS)]
    assert [reference_among(results, name).peer for name in ("floor", "node")] == ["floor", OURS]
    assert reference_among(results[:1], "node").peer == "floor"


@pytest.mark.parametrize(("cost", "kept"), [(1.0, True), (3.0, False)])
def test_the_guard_compares_processor_time(cost: float, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    ours = result_of(OURS, Sample(100, 9.0, generator=0.1, server=cost))
    floor = result_of(FLOOR, Sample(100, 1.0, generator=0.1, server=2.0))
    assert check(Promise("raw-64", "raw-64", 1.1), [ours, floor]) is kept
    assert capsys.readouterr().out.startswith("kept" if kept else "BROKEN")
