"""The report as a picture: what some works cost, and how the rate changes with the number of connections.

Processor time is drawn and not the rate: where the load generator is the limit, the rate is its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .figures import Report, Result, cost_unit
from .peers import OURS
from .works import GROWTH_GROUP

__all__ = ["draw"]

PANELS = ["get", "post", "upload", "download", "file", "events", "handshake", "raw-64", "ws-64", "ws-64k", "broadcast"]
PANELS += ["tls-handshake", "tls-get", "tls-raw-64", "tls-ws-64", "memory-raw", "memory-ws"]
COLUMNS = 3
PLACES = 10  # bars in a panel
PAPER, INK, FAINT = "#ffffff", "#1f2328", "#818b98"  # on paper of its own it can be read on any page
OUR_COLOUR, FLOOR_COLOUR, PEER_COLOUR = "#1f6feb", "#b1bac4", "#8c959f"
LINES = (PEER_COLOUR, "#bc4c00", "#1a7f37")
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "svg.hashsalt": "trio-upgrade",
}


def draw(report: Report, path: Path) -> None:
    """Write the picture of a report, as SVG."""
    groups = report.groups()
    growth = [results for name, results in groups.items() if results[0].work.group == GROWTH_GROUP]
    panels = [groups[name] for name in PANELS if name in groups and any(result.figures for result in groups[name])]
    count = len(panels) + bool(growth)
    rows = -(-count // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(13, 2.5 * rows + 0.4), facecolor=PAPER, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.12)
        )
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for results, one in zip(panels, axes, strict=False):
            _bars(one, results)
        if growth:
            _growth(axes[len(panels)], growth)
        for one in list(axes)[count:]:
            one.set_axis_off()
        figure.supxlabel(_caption(report), fontsize=8, color=FAINT)
        figure.savefig(path, metadata={"Date": None})


def _bars(axes: Axes, results: list[Result]) -> None:
    """The medians, with lines between the quartiles."""
    results = [result for result in results if result.figures]
    results.sort(key=lambda result: result.cost.median)
    medians = [result.cost.median for result in results]
    places = range(len(results))
    axes.barh(places, medians, color=[_colour(result.peer) for result in results], height=0.66)
    for place, result in zip(places, results, strict=True):
        cost = result.cost
        axes.plot([cost.lower, cost.upper], [place, place], color=INK, linewidth=1.2)
        axes.annotate(
            _short(cost.median),
            (max(cost.median, cost.upper), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            weight="bold" if result.peer == OURS else "normal",
        )
    axes.set_yticks(places, [result.peer for result in results])
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == OURS else "normal")
    axes.set_ylim(max(PLACES, len(results)) - 0.5, -0.5)  # bars are as thick in every panel
    axes.set_xlim(0, max(result.cost.upper for result in results) * 1.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    _title(axes, results[0].work.title, f"{cost_unit(results[0].work)}, less is better")


def _growth(axes: Axes, groups: list[list[Result]]) -> None:
    """Lines over the number of connections."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for results in groups:
        for result in results:
            if result.figures:
                lines.setdefault(result.peer, []).append((result.connections, result.figure.median))
    others = iter(LINES)
    for peer, points in lines.items():
        colour = OUR_COLOUR if peer == OURS else next(others, PEER_COLOUR)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=peer)
    ticks = sorted({connections for points in lines.values() for connections, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.grid(axis="y", color=FAINT, alpha=0.25)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.1), columnspacing=1)
    _title(axes, f"{groups[0][0].work.title} over connections", groups[0][0].work.unit)


def _title(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontsize=9, weight="bold")
    axes.text(0, 1.03, unit, transform=axes.transAxes, fontsize=8, color=FAINT)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)


def _colour(peer: str) -> str:
    if peer == OURS:
        return OUR_COLOUR
    return FLOOR_COLOUR if peer.startswith("floor") else PEER_COLOUR


def _caption(report: Report) -> str:
    machine, settings = report.machine, report.settings
    return (
        f"Medians of {settings['rounds']} rounds, each server in turn; the lines join the quartiles. "
        f"{machine['python']}, {machine['processor']}, {machine['date'][:10]}."
    )


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}"
