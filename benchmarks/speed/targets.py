"""What the server may cost, beside its peers: the rows of the table in docs/performance.md, and the table itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Quartiles, Result, cost_unit, ratios
from .peers import FLOOR, FLOOR_H11, OURS, PEERS
from .work import Work
from .works import WORKS

__all__ = ["ROWS", "Row", "Target", "markdown"]

HEADER = "| work | ours | best Trio peer | best of any | target | ratio |\n| --- | --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Target:
    """Our figure is at most `most` of that of the `peer`, or with None at most `most` itself."""

    most: float
    peer: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
      targets: what the figure is held against.
      peak: the work that tells the peak of memory.
    """

    work: str
    targets: tuple[Target, ...] = ()
    peak: str | None = None


def _row(work: str, *targets: Target, peak: str | None = None) -> Row:
    return Row(work, targets, peak)


UVICORN, WEBSOCKETS = "uvicorn-uvloop", "websockets-uvloop"
ROWS = [
    _row("get", Target(1.25, UVICORN)),
    _row("fields"),
    _row("post", Target(1.3, UVICORN)),
    _row("post-chunked", Target(1.3, UVICORN)),
    _row("upgrade-body"),
    _row("upload", Target(1.3, "aiohttp")),
    _row("upload-64k", Target(2.0, "aiohttp")),
    _row("upload-1k", Target(1.7, UVICORN)),
    _row("download", Target(1.0, UVICORN), peak="download-peak"),
    _row("stream"),
    _row("file", Target(0.7, "aiohttp")),
    _row("events"),
    _row("tls-handshake", Target(1.0, UVICORN)),
    _row("tls-get"),
    _row("tls-ws-64", Target(1.25, UVICORN), Target(0.35, "trio-websocket")),
    _row("tls-ws-64k"),
    _row("tls-raw-64", Target(0.55, FLOOR)),
    _row("tls-raw-1m", Target(0.55, FLOOR)),
    _row("tls-download", peak="tls-download-peak"),
    _row("tls-broadcast", Target(1.0, WEBSOCKETS)),
    _row("memory-raw", Target(6.0)),
    _row("memory-ws", Target(7.6)),
    _row("memory-silent"),
    _row("tls-memory-silent"),
]


def markdown(results: list[Result]) -> str:
    """The table of these results, in Markdown. Works that were not measured are left out."""
    found = {(result.work.name, result.peer): result for result in results if result.figures}
    return "\n".join([HEADER, *(_line(row, found) for row in ROWS if (row.work, OURS) in found)])


def _line(row: Row, found: dict[tuple[str, str], Result]) -> str:
    work, ours = WORKS[row.work], found[row.work, OURS]
    peers = [result for (name, peer), result in found.items() if name == row.work and counts(peer, work)]
    cells = [_title(ours), _figure(ours, row, found)]
    for among in ([peer for peer in peers if "trio" in PEERS[peer.peer].needs], peers):
        best = min(among, key=lambda result: result.cost.median, default=None)
        cells.append("" if best is None else f"{_figure(best, row, found)} {best.peer}")
    compared = list(_compare(row, ours, found))
    cells += ["; ".join(target for target, _ in compared), "; ".join(ratio for _, ratio in compared)]
    return f"| {' | '.join(cells)} |"


def _title(ours: Result) -> str:
    connections = f" ({ours.connections:,} connections)" if ours.connections > 1 else ""
    return f"{ours.work.title}{connections}, {cost_unit(ours.work).replace(' of processor time', '')}"


def counts(peer: str, work: Work) -> bool:
    """Whether it is a peer at this work. The floor is one where there is nothing to parse."""
    return peer not in (OURS, FLOOR_H11) and (peer != FLOOR or work.kind == "raw")


def _figure(result: Result, row: Row, found: dict[tuple[str, str], Result]) -> str:
    text = _number(result.cost.median)
    if row.peak is not None and (peak := found.get((row.peak, result.peer))) is not None:
        text += f" (+{_number(peak.cost.median)} {WORKS[row.peak].unit})"
    return text


def _compare(row: Row, ours: Result, found: dict[tuple[str, str], Result]) -> Iterator[tuple[str, str]]:
    """Each target in words, and our ratio with its quartiles; bold if it is over the target."""
    for target in row.targets:
        if target.peer is None:
            yield f"at most {target.most}", _marked(ours.cost.median / target.most, 1)
            continue
        peer = found.get((row.work, target.peer))
        ratio = None if peer is None else ratios(ours.costs, peer.costs)
        yield f"at most {target.most} of {target.peer}", _ratio(ratio, target)


def _ratio(ratio: Quartiles | None, target: Target) -> str:
    if ratio is None:
        return "not measured"
    return f"{_marked(ratio.median, target.most)} ({ratio.lower:.2f} to {ratio.upper:.2f})"


def _marked(ratio: float, most: float) -> str:
    return f"**{ratio:.2f}**" if ratio > most else f"{ratio:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
