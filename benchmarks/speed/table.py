"""The report as text."""

from __future__ import annotations

from collections.abc import Iterator

from .figures import Quartiles, Report, Result, growths, is_rate, quartiles, ratios, reference_among
from .meter import BUSY
from .peers import PEERS
from .works import GROWTH, WORKS

__all__ = ["closing", "heading", "table"]

HEADER = f"{'':18}{'median':>10}  {'quartiles':<19}{'ratio':>7}  {'quartiles':<16}{'server':>9}  {'busy':<12}"
LIMIT = (
    f"* the load generator was the limit (over {BUSY:.0%} of a processor, the server under it): the server can do more."
    " Compare its processor time."
)


def heading(report: Report) -> str:
    """What comes before the figures."""
    machine, settings = report.machine, report.settings
    lines = [
        f"{machine['date']}, {machine['python']}, {machine['system']}, "
        f"{machine['processors']} x {machine['processor']}",
        f"{settings['rounds']} rounds, each server in turn for {settings['seconds']} s.",
        f"ratio: the median of the rounds' ratios to {settings['reference']}",
        "server: its processor time for one operation",
        "busy: the shares of a processor that the server and the load generator took",
    ]
    lines += [f"skipped: {name} (not installed: {', '.join(missing)})" for name, missing in report.skipped.items()]
    return "\n".join(lines + report.notes)


def table(results: list[Result], reference: str) -> str:
    """One work: a line for each server."""
    return "\n".join(_lines(results, reference_among(results, reference)))


def _lines(results: list[Result], reference: Result) -> Iterator[str]:
    work, connections = results[0].work, results[0].connections
    scaled = "" if connections == work.connections else f" instead of {work.connections:,}"
    yield f"\n{work.name}: {work.title} ({work.unit}; {connections:,} connections{scaled})"
    yield HEADER.rstrip() if is_rate(work) else HEADER[: HEADER.index("server")].rstrip()
    for result in results:
        if result.figures:
            yield _line(result, reference).rstrip()
        if result.failure is not None:
            yield f"{result.peer:18}failed: {result.failure}"
    if any(result.generator_was_the_limit for result in results):
        yield LIMIT


def _line(result: Result, reference: Result) -> str:
    mark = "*" if result.generator_was_the_limit else " "
    ratio = ratios(result.figures, reference.figures)
    compared = f"{ratio.median:7.2f}  {_range(ratio, 2)}" if ratio is not None else ""
    line = f"{result.peer:18}{_number(result.figure.median):>10}{mark} {_range(result.figure):<19}{compared:25}"
    if result.samples:
        server = quartiles([sample.server_busy for sample in result.samples]).median
        generator = quartiles([sample.generator_busy for sample in result.samples]).median
        line += f"{result.cost.median:6.1f} us  {server:4.0%} {generator:4.0%}"
    return line


def closing(report: Report) -> str:
    """What is computed from more than one work, and what was measured in the first place."""
    lines = []
    if found := growths(report.results):
        few, many = (_connections(report, name) for name in GROWTH)
        lines.append(f"\ngrowth: the rate with {many:,} connections over the rate with {few:,}")
        lines += [f"{peer:18}{ratio.median:10.2f}  {_range(ratio, 2)}" for peer, ratio in found.items()]
    lines.append("\nversions")
    for name, versions in report.versions.items():
        made_of = ", ".join(f"{part} {version}" for part, version in versions.items())
        lines.append(f"{name:18}{PEERS[name].title}: {made_of}")
    return "\n".join(lines)


def _connections(report: Report, work: str) -> int:
    return next((r.connections for r in report.results if r.work.name == work), WORKS[work].connections)


def _range(values: Quartiles, digits: int | None = None) -> str:
    if values.lower == values.upper:
        return ""
    if digits is None:
        return f"{_number(values.lower)} to {_number(values.upper)}"
    return f"{values.lower:.{digits}f} to {values.upper:.{digits}f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
