"""What a server does and has done, in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Counters", "Phase", "Statistics"]


class Phase(Enum):
    """What a connection is doing."""

    IDLE = "IDLE"  # it waits for the first byte of a request
    ACTIVE = "ACTIVE"  # a request is under way, or a TLS handshake
    UPGRADED = "UPGRADED"  # an upgrade or connect handler has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A server at one moment; `Server.statistics` gives it.

    Attributes:
      open: connections that are open: the idle, the active and the upgraded ones.
      idle: of these, those that wait for the first byte of a request.
      active: those with a request under way, from its first byte to the end of its response; a TLS
        handshake, too.
      upgraded: those that an upgrade or connect handler has.
      connections: connections that were ever taken.
      refused: those that were turned away, since `Limits.max_connections` were open.
      requests: requests whose head has arrived, upgrade requests included.
      upgrades: requests that were given to an upgrade or connect handler.
      bytes_received, bytes_sent: of all connections; over TLS, what is inside of it.
      handler_errors: handlers that raised, other than by a fault of their client.
      broadcasts: calls of `websocket.broadcast`; one to WebSockets of several servers counts for one of them.
      slow_readers: WebSockets that `websocket.broadcast` has closed, since their send buffer was full.
    """

    open: int
    idle: int
    active: int
    upgraded: int
    connections: int
    refused: int
    requests: int
    upgrades: int
    bytes_received: int
    bytes_sent: int
    handler_errors: int
    broadcasts: int
    slow_readers: int


class Counters:
    """What is counted while a server runs."""

    __slots__ = (
        "broadcasts",
        "bytes_received",
        "bytes_sent",
        "connections",
        "handler_errors",
        "refused",
        "requests",
        "slow_readers",
        "upgrades",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.refused = 0
        self.requests = 0
        self.upgrades = 0
        self.bytes_received = 0  # of connections that are over, and so with `bytes_sent`
        self.bytes_sent = 0
        self.handler_errors = 0
        self.broadcasts = 0
        self.slow_readers = 0

    def add_bytes(self, received: int, sent: int) -> None:
        """Count what went through a connection that is over."""
        self.bytes_received += received
        self.bytes_sent += sent

    def snapshot(self, connections: Iterable[tuple[Phase, int, int]]) -> Statistics:
        """The current numbers.

        Args:
          connections: the phase of each open connection, and how many bytes it has received and sent.
        """
        phases = dict.fromkeys(Phase, 0)
        received, sent = self.bytes_received, self.bytes_sent
        for phase, its_received, its_sent in connections:  # of which there may be many
            phases[phase] += 1
            received += its_received
            sent += its_sent
        return Statistics(
            open=sum(phases.values()),
            idle=phases[Phase.IDLE],
            active=phases[Phase.ACTIVE],
            upgraded=phases[Phase.UPGRADED],
            connections=self.connections,
            refused=self.refused,
            requests=self.requests,
            upgrades=self.upgrades,
            bytes_received=received,
            bytes_sent=sent,
            handler_errors=self.handler_errors,
            broadcasts=self.broadcasts,
            slow_readers=self.slow_readers,
        )
