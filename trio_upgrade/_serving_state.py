"""What the connections of one serving share. It knows neither the serving nor its connections."""

from __future__ import annotations

from typing import Any

import trio

from ._client_failures import ClientFailures
from ._head_timeout import HeadTimers
from ._peer_watch import PeerWatch
from ._shutdown import Shutdown
from ._statistics import Counters

__all__ = ["ServingState"]


class ServingState:
    """What the connections of one serving share.

    Attributes:
      server: the `Server`, for `Request.server` alone.
      shutdown: the server's shutdown.
      client_failures: the log of what clients do wrong before a handler hears of it.
      counters: count what the server's connections do.
      head_timers: end the waits for a request's head that take too long.
      peers: notices that clients have left.
      nursery: for tasks that several connections share; None until the serving has opened it.
      keepalive: what looks after the WebSockets among them; None until there is one.
    """

    __slots__ = ("client_failures", "counters", "head_timers", "keepalive", "nursery", "peers", "server", "shutdown")

    def __init__(self, server: Any, shutdown: Shutdown, counters: Counters) -> None:
        self.server = server
        self.shutdown = shutdown
        self.counters = counters
        self.client_failures = ClientFailures()
        self.head_timers = HeadTimers()
        self.peers = PeerWatch()
        self.nursery: trio.Nursery | None = None
        self.keepalive: Any = None
