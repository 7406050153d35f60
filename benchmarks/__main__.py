"""`python -m benchmarks`: how fast the server is."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from pathlib import Path

from .speed.figures import Report, results_from_json
from .speed.guard import guard
from .speed.machine import describe, pin, processors, raise_descriptors
from .speed.peers import OURS, PEERS, Peer
from .speed.rounds import Settings, measure_group
from .speed.table import closing, heading, table
from .speed.targets import markdown
from .speed.work import AnyWork
from .speed.works import WORKS

RESULTS = Path(__file__).parent / "results"
FIGURES = "speed.json"
ROUNDS, SECONDS, LONGEST = 5, 0.3, 600
QUICK_ROUNDS, QUICK_SECONDS, QUICK_LONGEST = 2, 0.1, 60
GUARD_ROUNDS, GUARD_SECONDS = 9, 0.25


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures this server, what Trio itself costs, and the peers that are installed (pip install -e "
        "'.[benchmarks]' installs them), side by side over loopback, each in a process of its own. Every reply is "
        "checked. Compare the ratios: absolute figures are the machine's. A whole run takes about ten minutes and "
        "wants the machine to itself; it leaves its figures and a picture in benchmarks/results.",
        epilog=_list("works", {name: f"{work.title} ({work.unit})" for name, work in WORKS.items()})
        + "\n\n"
        + _list("servers", {name: peer.title for name, peer in PEERS.items()}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", nargs="*", metavar="WORK", help="what to measure: by default everything")
    parser.add_argument("--servers", metavar="NAME,...", help="whom to measure: by default all that are installed")
    parser.add_argument("--reference", metavar="NAME", default=OURS, help=f"the ratios' other side ({OURS})")
    parser.add_argument("--rounds", type=int, help=f"turns of each server ({ROUNDS}, fewer on a slow machine)")
    parser.add_argument("--seconds", type=float, help=f"length of a turn ({SECONDS})")
    parser.add_argument("--quick", action="store_true", help="within two minutes: whether it works, not how fast it is")
    parser.add_argument("--guard", action="store_true", help="only compare with what Trio costs; exit with 1 if slow")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        nargs="?",
        const=RESULTS / FIGURES,
        help=f"measure nothing: print the table of docs/performance.md from figures ({FIGURES} of the last whole run)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write figures and picture of any run")
    arguments = parser.parse_args()
    _check_names(parser, "work", arguments.work, list(WORKS))
    arguments.servers = arguments.servers.split(",") if arguments.servers else []
    _check_names(parser, "server", [*arguments.servers, arguments.reference], list(PEERS))
    if arguments.guard and (
        arguments.work or arguments.servers or arguments.quick or arguments.json or arguments.output
    ):
        parser.error("--guard has works and servers of its own, and writes nothing")
    if arguments.rounds is not None and not 1 <= arguments.rounds <= 100:
        parser.error("--rounds must be from 1 to 100")
    if arguments.seconds is not None and not 0 < arguments.seconds <= 60:
        parser.error("--seconds must be more than 0, and at most 60")
    if arguments.output is None and not (arguments.work or arguments.servers or arguments.quick):
        arguments.output = RESULTS
    return arguments


def _list(title: str, names: dict[str, str]) -> str:
    return f"{title}:\n" + "\n".join(f"  {name:19}{text}" for name, text in names.items())


def _check_names(parser: argparse.ArgumentParser, what: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            parser.error(f"there is no {what} {name!r}: choose from {', '.join(known)}")


def settings_of(arguments: argparse.Namespace, processor: int | None, descriptors: int) -> Settings:
    rounds, seconds = ROUNDS, SECONDS
    if arguments.guard:
        rounds, seconds = GUARD_ROUNDS, GUARD_SECONDS
    elif arguments.quick:
        rounds, seconds = QUICK_ROUNDS, QUICK_SECONDS
    rounds, seconds = arguments.rounds or rounds, arguments.seconds or seconds
    until = math.inf if arguments.rounds else time.monotonic() + (QUICK_LONGEST if arguments.quick else LONGEST)
    return Settings(rounds, seconds, arguments.quick, descriptors, processor, until)


def begin(arguments: argparse.Namespace, settings: Settings) -> tuple[Report, list[Peer]]:
    """A report without figures, and whom to measure for it."""
    chosen = [PEERS[name] for name in PEERS if name in (arguments.servers or PEERS)]
    missing = {peer.name: peer.missing() for peer in chosen}
    peers = [peer for peer in chosen if not missing[peer.name]]
    return Report(
        machine=describe(),
        versions={peer.name: peer.versions() for peer in peers},
        settings={
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "quick": settings.quick,
            "reference": arguments.reference,
        },
        skipped={name: lacks for name, lacks in missing.items() if lacks},
        notes=notes_on(settings),
    ), peers


def notes_on(settings: Settings) -> list[str]:
    notes = []
    if settings.processor is None:
        notes.append("note: servers and load generator have no processor each to keep to")
    short = [name for name, work in WORKS.items() if work.scaled(False, settings.descriptors) < work.connections]
    if short:
        notes.append(
            f"note: with {settings.descriptors:,} file descriptors for each process (ulimit -Hn), there are fewer "
            f"connections than there should be at {', '.join(short)}"
        )
    return notes


def groups_of(names: list[str], quick: bool) -> list[list[AnyWork]]:
    """The chosen works (or all), with those together that are measured in turn, by the same processes.

    When it has to be quick, that is everything without TLS, and everything with it: starting servers takes longest.
    """

    def group(work: AnyWork) -> tuple[bool, str]:
        return work.tls, "" if quick else work.group or work.name

    works = [work for name, work in WORKS.items() if name in (names or WORKS)]
    groups: dict[tuple[bool, str], list[AnyWork]] = {}
    for work in works:
        groups.setdefault(group(work), []).append(work)
    return list(groups.values())


def run(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Measure, print, and write; says whether our server, if it is among them, did all it should."""
    report, peers = begin(arguments, settings)
    if OURS in report.skipped:
        print(f"{OURS} cannot be measured: {', '.join(report.skipped[OURS])} is not installed", file=sys.stderr)
        return False
    talk = sys.stderr if arguments.json else sys.stdout
    print(heading(report), file=talk)
    for works in groups_of(arguments.work, settings.quick):
        results = measure_group(works, peers, settings)
        report.results += results
        for work in works:
            if of_work := [result for result in results if result.work is work]:
                print(table(of_work, arguments.reference), file=talk, flush=True)
    if time.monotonic() > settings.until:
        report.notes.append("note: time was up before every work had all its rounds")
        print(f"\n{report.notes[-1]}", file=talk)
    print(closing(report), file=talk)
    if arguments.json:
        print(json.dumps(report.as_json(), indent=1))
    if arguments.output is not None:
        write(report, arguments.output)
    return not any(result.failure for result in report.results if result.peer == OURS)


def write(report: Report, folder: Path) -> None:
    """Leave the figures, and the picture if it can be drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).write_text(json.dumps(report.as_json(), indent=1) + "\n")
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: matplotlib is not installed", file=sys.stderr)
    elif any(result.figures for result in report.results):
        from .speed.picture import draw  # matplotlib takes a second

        draw(report, folder / "speed.svg")
    print(f"written to {folder}", file=sys.stderr)


def main() -> None:
    arguments = parse_arguments()
    if arguments.table is not None:
        report = json.loads(arguments.table.read_text())
        print(markdown(results_from_json(report)))
        return
    servers, generator = processors()
    pin(generator)
    settings = settings_of(arguments, servers, raise_descriptors())
    kept = guard(settings) if arguments.guard else run(arguments, settings)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
