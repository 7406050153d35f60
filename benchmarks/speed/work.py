"""The kinds of what is measured: how a work is done with a server, and what its figure is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .answers import MIB
from .connections import Address, close, open_upgraded
from .loads import Load, measure
from .meter import Meter, Sample
from .process import Running
from .transfers import Download

__all__ = ["AnyWork", "Memory", "Peak", "Timed", "Work"]

KIB = 1024
CONNECTIONS = 32
SETTLE = 0.4  # seconds until a server's memory is looked at
DESCRIPTORS = 64  # that either side needs besides its connections


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something to measure.

    Attributes:
      group: the works of a group are measured together, in turn.
      title: what it is, with what one operation is.
      unit: of the figure.
      kind: what a server must speak to do it; see `Peer.speaks`.
      tls: over TLS.
      content: the servers need the content of downloads.
      connections: how many are open at once.
      quick: and how many when it has to be quick.
    """

    name: str
    group: str = ""
    title: str
    unit: str
    kind: str
    tls: bool = False
    content: bool = False
    connections: int = CONNECTIONS
    quick: int = CONNECTIONS

    def scaled(self, quick: bool, descriptors: int) -> int:
        """With how many connections to do it, given how many descriptors each side may have."""
        return min(self.quick if quick else self.connections, descriptors - DESCRIPTORS)


@dataclass(frozen=True, kw_only=True)
class Timed(Work):
    """A load that is repeated for some seconds; the figure is its rate, and higher is better."""

    load: Callable[[Address, int], Load]

    def measure(self, server: Running, connections: int, seconds: float) -> Sample:
        with server.killed_after(seconds + 30):
            return measure(self.load(server.address, connections), Meter(server.clock), seconds)


@dataclass(frozen=True, kw_only=True)
class Memory(Work):
    """What a server's resident memory grows by for each idle connection; lower is better."""

    protocol: str

    def measure(self, server: Running, connections: int) -> float:
        """The figure, in KiB."""
        first = max(1, connections // 20)  # these find what is needed only once
        with server.killed_after(60):
            opened = open_upgraded(server.address, first, self.protocol)
            try:
                time.sleep(SETTLE)
                before = server.resident()
                opened += open_upgraded(server.address, connections - first, self.protocol)
                time.sleep(SETTLE)
                after = server.resident()
            finally:
                close(opened)
        return (after - before) / (connections - first) / KIB


@dataclass(frozen=True, kw_only=True)
class Peak(Work):
    """By how much a server's memory peaks while it sends one download; lower is better.

    It is the first work of its server's process, whose peak until then is what it has in use.
    """

    target: str

    def measure(self, server: Running, connections: int) -> float:
        """The figure, in MiB."""
        with server.killed_after(60):
            before = server.resident()
            load = Download(server.address, self.target)
            try:
                load.turn()
                load.end()
            finally:
                load.abort()
            return max(0, server.peak() - before) / MIB


AnyWork: TypeAlias = Timed | Memory | Peak
