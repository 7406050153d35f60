"""Measures servers side by side: each in turn, round after round, so that what disturbs one disturbs all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .answers import QUICK_SIZE, SIZE
from .figures import Result
from .peers import Peer
from .process import Running, launch
from .wire import Wrong
from .work import AnyWork, Memory, Peak, Timed

__all__ = ["Settings", "measure_group"]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
      rounds: how often each server has its turn.
      seconds: how long a timed load is repeated.
      quick: whether to make do with fewer connections.
      descriptors: how many file descriptors a process may have.
      processor: the one that the servers are kept to.
      until: when to have no second round any more (`time.monotonic`).
    """

    rounds: int
    seconds: float
    quick: bool
    descriptors: int
    processor: int | None
    until: float = math.inf


def measure_group(works: Sequence[AnyWork], peers: Sequence[Peer], settings: Settings) -> list[Result]:
    """Measure some works, with a fresh process for each server that can do one of them.

    They are all over TLS, or none is.

    A server that fails is reported in its results, and has no further turn.
    """
    results = [
        Result(work, peer.name, work.scaled(settings.quick, settings.descriptors))
        for work in works
        for peer in peers
        if work.kind in peer.speaks and (not work.tls or "tls" in peer.speaks)
    ]
    tls, content = any(work.tls for work in works), any(work.content for work in works)
    size = QUICK_SIZE if settings.quick else SIZE
    taking_part = {result.peer for result in results}
    with ExitStack() as stack:
        running: dict[str, Running] = {}
        for peer in peers:
            if peer.name in taking_part:
                try:
                    running[peer.name] = stack.enter_context(
                        launch(peer.program, settings.processor, tls=tls, content=content, size=size)
                    )
                except (Wrong, OSError) as exc:
                    _fail(results, peer.name, exc)
        for number in range(settings.rounds):
            if number > 0 and time.monotonic() > settings.until:
                break
            for result in results:
                if result.peer in running:
                    try:
                        _take_turn(result, running[result.peer], settings.seconds)
                    except (Wrong, OSError) as exc:
                        _fail(results, result.peer, running.pop(result.peer).explain(exc))
    return results


def _take_turn(result: Result, server: Running, seconds: float) -> None:
    match result.work:
        case Timed() as work:
            result.samples.append(work.measure(server, result.connections, seconds))
            result.figures.append(result.samples[-1].rate)
        case Memory() | Peak() as work if (
            not result.figures
        ):  # what a process once had it may keep: only the first time counts
            result.figures.append(work.measure(server, result.connections))


def _fail(results: list[Result], peer: str, exc: Exception) -> None:
    """It has no further turn in any of the works."""
    for result in results:
        if result.peer == peer:
            result.failure = str(exc) or repr(exc)
