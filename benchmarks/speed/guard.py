"""Whether the server has become slow: what it costs over what Trio itself costs, measured side by side.

Processor time is compared and not the clock's, since others may use the machine; and only with the floor of the same
run, since a faster machine is no better server.
"""

from __future__ import annotations

from dataclasses import dataclass

from .figures import Result, ratios
from .peers import FLOOR, OURS, PEERS
from .rounds import Settings, measure_group
from .works import WORKS

__all__ = ["PROMISES", "Promise", "check", "guard"]


@dataclass(frozen=True)
class Promise:
    """At `work` we take no more processor time for an operation than the floor at `floor` divided by `least`."""

    work: str
    floor: str
    least: float


PROMISES = [
    Promise("get", "get", 0.3),
    Promise("handshake", "handshake", 1.0),
    Promise("raw-64", "raw-64", 1.1),
    Promise("ws-64", "raw-64", 0.8),
    Promise("post", "get", 0.35),
    Promise("post-chunked", "get", 0.35),
    Promise("upload", "raw-1m", 1.5),
    Promise("upload-1k", "raw-1m", 0.4),
    Promise("download", "raw-1m", 1.5),
    Promise("file", "raw-1m", 2.0),
    Promise("tls-get", "tls-get", 0.6),
    Promise("tls-raw-64", "tls-raw-64", 1.4),
    Promise("tls-raw-1m", "tls-raw-1m", 1.3),
    Promise("tls-ws-64", "tls-raw-64", 1.1),
]


def guard(settings: Settings) -> bool:
    """Measure, print a line for each promise, and say whether all were kept."""
    names = {name for promise in PROMISES for name in (promise.work, promise.floor)}
    results = []
    for tls in (False, True):
        works = [work for name, work in WORKS.items() if name in names and work.tls is tls]
        results += measure_group(works, [PEERS[OURS], PEERS[FLOOR]], settings)
    print(f"the floor's processor time for an operation over ours, {settings.rounds} rounds in turn")
    kept = [check(promise, results) for promise in PROMISES]
    return all(kept)


def check(promise: Promise, results: list[Result]) -> bool:
    """Print how it is with a promise, and say whether it was kept."""
    found = {(result.work.name, result.peer): result for result in results}
    ours, floor = found[promise.work, OURS], found[promise.floor, FLOOR]
    for result in (ours, floor):
        if result.failure is not None:
            print(f"FAILED {promise.work:12} {result.peer}: {result.failure}")
            return False
    ratio = ratios(floor.costs, ours.costs)
    assert ratio is not None
    kept = ratio.median >= promise.least
    print(
        f"{'kept  ' if kept else 'BROKEN'} {promise.work:12} {ratio.median:5.2f} (quartiles {ratio.lower:.2f} to "
        f"{ratio.upper:.2f}), at least {promise.least}: the floor's {floor.cost.median:.1f} us at "
        f"{promise.floor} over our {ours.cost.median:.1f} us"
    )
    return kept
