"""What came out: the figures of each server at each work, and their ratios."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from .meter import Sample
from .peers import OURS
from .work import Timed, Work
from .works import GROWTH, WORKS

__all__ = ["Quartiles", "Report", "Result", "cost_unit", "growths", "is_rate", "quartiles", "ratios", "reference_among"]
__all__ += ["results_from_json"]


@dataclass(frozen=True)
class Quartiles:
    """The median of some values, and between what the middle half of them lies."""

    lower: float
    median: float
    upper: float


def quartiles(values: list[float]) -> Quartiles:
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


@dataclass
class Result:
    """One server at one work.

    Attributes:
      connections: with how many it was done.
      figures: one for each round, in the unit of the work.
      samples: what they were computed from, where the work was timed.
      failure: why there are no more of them.
    """

    work: Work
    peer: str
    connections: int
    figures: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    failure: str | None = None

    @property
    def figure(self) -> Quartiles:
        return quartiles(self.figures)

    @property
    def costs(self) -> list[float]:
        """What an operation costs, round by round: microseconds of the server's processor time, or memory."""
        return [sample.cost for sample in self.samples] if is_rate(self.work) else self.figures

    @property
    def cost(self) -> Quartiles:
        return quartiles(self.costs)

    @property
    def generator_was_the_limit(self) -> bool:
        """In most rounds."""
        return 2 * sum(sample.generator_was_the_limit for sample in self.samples) > len(self.samples)

    def as_json(self) -> dict[str, Any]:
        return {
            "work": self.work.name,
            "unit": self.work.unit,
            "server": self.peer,
            "connections": self.connections,
            "failure": self.failure,
            "figure": asdict(self.figure) if self.figures else None,
            "server_microseconds": asdict(self.cost) if self.samples else None,
            "generator_was_the_limit": self.generator_was_the_limit,
            "figures": [round(figure, 3) for figure in self.figures],
            "samples": [asdict(sample) for sample in self.samples],
        }


def results_from_json(report: dict[str, Any]) -> list[Result]:
    """The results that `Report.as_json` has given, of the works that there still are."""
    return [
        Result(
            WORKS[row["work"]],
            row["server"],
            row["connections"],
            row["figures"],
            [Sample(**sample) for sample in row["samples"]],
            row["failure"],
        )
        for row in report["results"]
        if row["work"] in WORKS
    ]


def ratios(values: list[float], reference: list[float]) -> Quartiles | None:
    """Of the ratios round by round; None if there is no round that both have, or nothing to compare with."""
    pairs = [(one, other) for one, other in zip(values, reference, strict=False) if other]
    return quartiles([one / other for one, other in pairs]) if pairs else None


def reference_among(results: list[Result], name: str) -> Result:
    """What the others are compared with: the named server, ours where it did not take part, or the first."""
    ran = {result.peer: result for result in results}
    return ran.get(name) or ran.get(OURS) or results[0]


def growths(results: list[Result]) -> dict[str, Quartiles]:
    """For each server the rate with many connections over the rate with few."""
    few, many = ({r.peer: r.figures for r in results if r.work.name == name} for name in GROWTH)
    found = {peer: ratios(many[peer], few[peer]) for peer in few if peer in many}
    return {peer: ratio for peer, ratio in found.items() if ratio is not None}


@dataclass
class Report:
    """A whole run.

    Attributes:
      machine: the date and what the run was made on.
      versions: of what each server is made of.
      settings: rounds, seconds, and what else was chosen.
      skipped: the servers that were not measured, with what they lack.
      notes: what else to know of the figures.
    """

    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    settings: dict[str, Any]
    skipped: dict[str, list[str]]
    notes: list[str]
    results: list[Result] = field(default_factory=list)

    def groups(self) -> dict[str, list[Result]]:
        """The results work by work."""
        groups: dict[str, list[Result]] = {}
        for result in self.results:
            groups.setdefault(result.work.name, []).append(result)
        return groups

    def as_json(self) -> dict[str, Any]:
        rows = []
        for results in self.groups().values():
            reference = reference_among(results, self.settings["reference"])
            for result in results:
                ratio = ratios(result.figures, reference.figures)
                compared = {"to": reference.peer, **asdict(ratio)} if ratio is not None else None
                rows.append({**result.as_json(), "ratio": compared})
        return {
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "skipped": self.skipped,
            "notes": self.notes,
            "growth": {peer: asdict(ratio) for peer, ratio in growths(self.results).items()},
            "results": rows,
        }


def is_rate(work: Work) -> bool:
    """Whether more is better."""
    return isinstance(work, Timed)


def cost_unit(work: Work) -> str:
    """The unit of what an operation costs."""
    if not is_rate(work):
        return work.unit
    return "µs of processor time a MiB" if work.unit == "MiB/s" else "µs of processor time"
