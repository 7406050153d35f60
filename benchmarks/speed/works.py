"""What is measured: each work's name, what it needs of a server, and how it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .connections import close, open_upgraded
from .loads import Broadcast, Bulk, Echo, Get, Handshake, Load, measure
from .meter import Meter, Sample
from .process import Running

__all__ = ["GROWTH", "RAW", "WORKS", "Memory", "Timed", "Work"]

RAW = "echo"  # the protocol of our own behind Upgrade
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
      connections: how many are open at once.
      quick: and how many when it has to be quick.
    """

    name: str
    group: str = ""
    title: str
    unit: str
    kind: str
    connections: int = CONNECTIONS
    quick: int = CONNECTIONS

    def scaled(self, quick: bool, descriptors: int) -> int:
        """With how many connections to do it, given how many descriptors each side may have."""
        return min(self.quick if quick else self.connections, descriptors - DESCRIPTORS)


@dataclass(frozen=True, kw_only=True)
class Timed(Work):
    """A load that is repeated for some seconds; the figure is its rate, and higher is better."""

    load: Callable[[int, int], Load]

    def measure(self, server: Running, connections: int, seconds: float) -> Sample:
        with server.killed_after(seconds + 30):
            return measure(self.load(server.port, connections), Meter(server.clock), seconds)


@dataclass(frozen=True, kw_only=True)
class Memory(Work):
    """What a server's resident memory grows by for each idle connection; lower is better."""

    protocol: str

    def measure(self, server: Running, connections: int) -> float:
        """The figure, in KiB."""
        first = max(1, connections // 20)  # these find what is needed only once
        with server.killed_after(60):
            opened = open_upgraded(server.port, first, self.protocol)
            try:
                time.sleep(SETTLE)
                before = server.resident()
                opened += open_upgraded(server.port, connections - first, self.protocol)
                time.sleep(SETTLE)
                after = server.resident()
            finally:
                close(opened)
        return (after - before) / (connections - first) / KIB


def _echo(protocol: str, size: int) -> Callable[[int, int], Load]:
    return lambda port, connections: Echo(port, connections, protocol, size)


def _growth(connections: int, quick: int) -> Timed:
    return Timed(
        name=f"growth-{connections}",
        group="growth",
        title="raw echo of 64 bytes",
        unit="echoes/s",
        kind="raw",
        connections=connections,
        quick=quick,
        load=_echo(RAW, 64),
    )


GROWTH = ("growth-100", "growth-5000")  # the rate at the second over the rate at the first is the figure
_WORKS: list[Timed | Memory] = [
    Timed(name="get", title="GET, connections kept", unit="requests/s", kind="http", load=Get),
    Timed(
        name="handshake",
        title="connect, upgrade to one's own protocol, close",
        unit="handshakes/s",
        kind="raw",
        load=lambda port, connections: Handshake(port, connections, RAW),
    ),
    Timed(
        name="ws-handshake",
        title="connect, WebSocket handshake, close",
        unit="handshakes/s",
        kind="websocket",
        load=lambda port, connections: Handshake(port, connections, "websocket"),
    ),
    Timed(name="raw-64", title="raw echo of 64 bytes", unit="echoes/s", kind="raw", load=_echo(RAW, 64)),
    Timed(
        name="raw-1m",
        title="raw echo of 1 MiB",
        unit="MiB/s",
        kind="raw",
        connections=4,
        quick=4,
        load=lambda port, connections: Bulk(port, connections, RAW, KIB * KIB),
    ),
    Timed(
        name="ws-64", title="WebSocket echo of 64 bytes", unit="echoes/s", kind="websocket", load=_echo("websocket", 64)
    ),
    Timed(
        name="ws-64k",
        title="WebSocket echo of 64 KiB",
        unit="echoes/s",
        kind="websocket",
        load=_echo("websocket", 64 * KIB),
    ),
    Timed(
        name="broadcast",
        title="WebSocket broadcast of 64 bytes to all",
        unit="deliveries/s",
        kind="broadcast",
        connections=500,
        quick=100,
        load=lambda port, connections: Broadcast(port, connections, 64),
    ),
    Memory(
        name="memory-raw",
        title="memory of an idle upgraded connection",
        unit="KiB",
        kind="raw",
        connections=2000,
        quick=300,
        protocol=RAW,
    ),
    Memory(
        name="memory-ws",
        title="memory of an idle WebSocket",
        unit="KiB",
        kind="websocket",
        connections=2000,
        quick=300,
        protocol="websocket",
    ),
    _growth(10, 10),
    _growth(100, 100),
    _growth(1000, 300),
    _growth(5000, 1000),
]
WORKS = {work.name: work for work in _WORKS}
