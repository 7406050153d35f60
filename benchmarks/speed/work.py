"""The kinds of what is measured: how a work is done with a server, and what its figure is."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from .answers import MIB
from .connections import Address, close, connect, open_upgraded
from .loads import Load, measure
from .meter import Meter, Sample
from .process import Running
from .transfers import Download

__all__ = ["AnyWork", "Memory", "Peak", "Timed", "Work"]

KIB = 1024
CONNECTIONS = 32
SETTLE = 0.2  # seconds in which a server's memory must not change before it counts
CHANGE = 16 * KIB  # bytes by which it may
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

    load: Callable[[Running, int], Load]

    def measure(self, server: Running, connections: int, seconds: float) -> Sample:
        with server.killed_after(seconds + 30):
            return measure(self.load(server, connections), Meter(server.clock), seconds)


@dataclass(frozen=True, kw_only=True)
class Memory(Work):
    """What a server's resident memory grows by for each idle connection; lower is better.

    Attributes:
      protocol: to what each is upgraded; None sends nothing, not even the beginning of TLS.
    """

    protocol: str | None

    def measure(self, server: Running, connections: int) -> float:
        """The figure, in KiB."""
        first = max(1, connections // 20)  # these find what is needed only once
        with server.killed_after(60):
            opened = self._open(server.address, first)
            try:
                before = settled(server)
                opened += self._open(server.address, connections - first)
                after = settled(server)
            finally:
                close(opened)
        return (after - before) / (connections - first) / KIB

    def _open(self, address: Address, count: int) -> list[socket.socket]:
        if self.protocol is None:
            return [connect(replace(address, tls=None)) for _ in range(count)]
        return open_upgraded(address, count, self.protocol)


def settled(server: Running) -> int:
    """Its resident memory, once that does not change any more: nothing tells when silent connections are accepted."""
    before, now = -CHANGE, server.resident()
    while abs(now - before) >= CHANGE:
        time.sleep(SETTLE)
        before, now = now, server.resident()
    return now


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
            load = Download(server.address, server.size, self.target)
            try:
                load.turn()
                load.end()
            finally:
                load.abort()
            return max(0, server.peak() - before) / MIB


AnyWork: TypeAlias = Timed | Memory | Peak
