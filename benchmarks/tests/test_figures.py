"""What is made of the figures: medians, ratios, a table, and the guard's judgement."""

from __future__ import annotations

import json

import pytest

from benchmarks.speed import targets
from benchmarks.speed.figures import Quartiles, Report, Result, quartiles, ratios, reference_among, results_from_json
from benchmarks.speed.guard import Promise, check
from benchmarks.speed.meter import Sample
from benchmarks.speed.peers import FLOOR, FLOOR_H11, OURS, PEERS
from benchmarks.speed.table import LIMIT, table
from benchmarks.speed.works import WORKS

pytestmark = pytest.mark.once


def result_of(peer: str, *samples: Sample, work: str = "raw-64") -> Result:
    return Result(WORKS[work], peer, 32, [sample.rate for sample in samples], list(samples))


def test_it_is_said_when_the_generator_was_the_limit() -> None:
    limited = result_of("floor", Sample(100, 1.0, generator=0.97, server=0.5))
    served = result_of(OURS, Sample(100, 1.0, generator=0.97, server=0.95))
    text = table([limited, served], OURS)
    assert "100* " in text
    assert text.count("*") == 2
    assert LIMIT in text
    assert LIMIT not in table([served], OURS)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([1.0, 20.0, 300.0], [2.0, 10.0, 100.0]) == Quartiles(1.25, 2.0, 2.5)
    assert ratios([], [1.0]) is None
    assert ratios([1.0], [0.0]) is None
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


# ---- the table of what the server may cost


def costing(peer: str, *microseconds: float, work: str = "tls-raw-64") -> Result:
    return result_of(peer, *(Sample(1, 1.0, 0.1, cost * 1e-6) for cost in microseconds), work=work)


def test_the_table_compares_us_with_the_best_and_with_the_target() -> None:
    results = [
        costing(OURS, 10.0, 12.0, 16.0),
        costing(FLOOR, 20.0, 20.0, 20.0),
        costing(FLOOR_H11, 1.0, 1.0, 1.0),
        costing("node", 8.0, 8.0, 8.0),
        costing("hypercorn-trio", 300.0, work="get"),
        costing(FLOOR, 5.0, work="get"),
        costing(OURS, 20.0, work="get"),
        costing("uvicorn-uvloop", 20.0, work="get"),
    ]
    lines = targets.markdown(results).splitlines()[2:]
    assert lines == [
        "| GET (32 connections), µs | 20.0 | 300 hypercorn-trio | 20.0 uvicorn-uvloop "
        "| at most 1.25 of uvicorn-uvloop | 1.00 (1.00 to 1.00) |",
        "| raw echo of 64 bytes over TLS (32 connections), µs | 12.0 | 20.0 floor | 8.0 node | at most 0.55 of floor "
        "| **0.60** (0.55 to 0.70) |",
    ]


def test_the_table_tells_the_peak_of_memory_and_what_was_not_measured() -> None:
    results = [costing(OURS, 600.0, work="download"), Result(WORKS["download-peak"], OURS, 1, [130.0])]
    results[0].connections = 1
    assert targets.markdown(results).splitlines()[2:] == [
        "| download of bytes, µs a MiB | 600 (+130 MiB) |  |  | at most 1.0 of uvicorn-uvloop | not measured |"
    ]


@pytest.mark.parametrize(("kibibytes", "ratio"), [(6.0, "1.00"), (6.6, "**1.10**")])
def test_a_target_may_be_a_figure_of_its_own(kibibytes: float, ratio: str) -> None:
    line = targets.markdown([Result(WORKS["memory-raw"], OURS, 2000, [kibibytes])]).splitlines()[2]
    assert line.endswith(f"| at most 6.0 | {ratio} |")


def test_results_are_what_they_were_once_they_have_been_written() -> None:
    results = [costing(OURS, 10.0, 12.0), Result(WORKS["memory-raw"], FLOOR, 2000, [5.5], failure="it ended")]
    report = Report({}, {}, {"reference": OURS}, {}, [], results)
    assert results_from_json(json.loads(json.dumps(report.as_json()))) == results


def test_every_row_is_a_work_of_peers_that_there_are() -> None:
    for row in targets.ROWS:
        assert row.work in WORKS
        assert row.peak is None or row.peak in WORKS
        assert all(target.peer is None or can_do(target.peer, row.work) for target in row.targets)


def can_do(peer: str, work: str) -> bool:
    return WORKS[work].kind in PEERS[peer].speaks and (not WORKS[work].tls or "tls" in PEERS[peer].speaks)
