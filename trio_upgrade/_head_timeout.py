"""The wait for a request's head, and what ends it: a timeout, or the server's shutdown.

A cancel scope for each wait would be simpler. It would cost 60,000 instructions, a quarter of what a
small request costs (`python -m benchmarks.instructions get`), and 1 KB of memory for each idle
connection. So a connection only notes when its wait ends, and one task of the serving looks at these
notes when the earliest of them is due.
"""

from __future__ import annotations

import math
from enum import Enum

import trio

from ._exceptions import ProtocolError
from ._http11 import Http11
from ._limits import Limits
from ._request_head import Head
from ._shutdown import Shutdown
from ._transport import Transport

__all__ = ["HeadTimers", "HeadWait"]

GRAIN = 0.1  # seconds that a wait may end late: so the notes are looked at ten times a second at most
QUIET = 1.0  # seconds without a request, after which a shutdown closes a connection


class Waiting(Enum):
    """What a connection waits for."""

    NO_HEAD = "NO_HEAD"  # it does not wait: an exchange is under way
    FIRST_BYTE = "FIRST_BYTE"  # the first byte of a head
    REST = "REST"  # the rest of a head


NO_HEAD, FIRST_BYTE, REST = Waiting


class HeadWait:
    """The waits of one connection for the heads of its requests, one after the other.

    Args:
      timers: end its waits.
      shutdown: the server's; while it is under way, the waits are short.
      http: where the heads come from.
      transport: what is interrupted when a wait is to end.
      limits: how long the waits may take.
      first: the first of them is for the connection's first request.

    Attributes:
      deadline: when the wait ends, in `trio.current_time`; math.inf if it does not wait.
      was_silent: it has ended since nothing came in the time for the connection's first request.
    """

    __slots__ = (
        "_head_deadline",
        "_http",
        "_is_first",
        "_limits",
        "_quiet_since",
        "_shutdown",
        "_timers",
        "_transport",
        "_waiting",
        "deadline",
        "was_silent",
    )

    def __init__(
        self,
        timers: HeadTimers,
        shutdown: Shutdown,
        http: Http11,
        transport: Transport,
        limits: Limits,
        first: bool,
    ) -> None:
        self._timers = timers
        self._shutdown = shutdown
        self._http = http
        self._transport = transport
        self._limits = limits
        self._is_first = first
        self._head_deadline = math.inf  # of a head that has begun
        self._quiet_since = math.inf
        self._waiting = NO_HEAD
        self.deadline = math.inf
        self.was_silent = False

    @property
    def is_idle(self) -> bool:
        """The connection waits for the first byte of a request."""
        return self._waiting is FIRST_BYTE

    @property
    def idle_since(self) -> float:
        """Since when it is idle, in `trio.current_time`; math.inf if it is not."""
        return self._quiet_since if self._waiting is FIRST_BYTE else math.inf

    async def receive_head(self) -> Head | None:
        """Wait for the next request's head.

        Returns:
          None if none will come: the peer has ended, or has sent nothing in time.

        Raises:
          ProtocolError: it is malformed, cut off, or did not arrive in time.
          ConnectionBroken: the peer has vanished.
        """
        http = self._http
        try:
            while (head := http.next_head()) is None:
                self._start_wait()
                try:
                    more = await http.fill()
                except trio.WouldBlock:  # the time is up, or this was to end an earlier wait
                    if self._waiting is FIRST_BYTE:
                        is_late = self.deadline <= trio.current_time() and not self._shutdown.has_begun
                        self.was_silent = self._is_first and is_late
                        return None
                else:
                    if not more:
                        self._check_cut_off()
                        return None
            return head
        finally:
            self.deadline = self._head_deadline = math.inf
            self._waiting = NO_HEAD
            self._is_first = False
            self._transport.clear_interrupt()

    def _start_wait(self) -> None:
        now = trio.current_time()
        self._waiting = REST if self._http.buffer else FIRST_BYTE
        has_begun = self._is_first or self._waiting is REST
        seconds = self._limits.header_timeout if has_begun else self._limits.keep_alive_timeout
        deadline = math.inf if seconds is None else now + seconds
        if has_begun:  # bytes that trickle in do not extend the time
            deadline = self._head_deadline = min(self._head_deadline, deadline)
        if deadline <= now:
            raise ProtocolError("the request's head did not arrive in time", self._transport, status=408)
        self._quiet_since = now
        self._timers.note(self, deadline)
        if self._shutdown.has_begun:
            self.close_if_idle()

    def _check_cut_off(self) -> None:
        """The peer has ended its side: refuse that in the middle of a head."""
        if self._waiting is REST:
            raise ProtocolError("the connection ended in the middle of the request's head", self._transport)

    def close_if_idle(self) -> None:
        """As the server shuts down, wait only until no request has come for a second.

        A client that has just connected, or was just answered, may have a request on its way, and
        cannot know of the shutdown. On a connection that has been quiet for longer, what has
        arrived is still taken.
        """
        if self._waiting is FIRST_BYTE:
            self._timers.note(self, min(self.deadline, self._quiet_since + QUIET))

    def interrupt(self) -> None:
        """End the wait, if nothing has arrived. The connection then closes."""
        self._transport.interrupt()


class HeadTimers:
    """Ends the waits whose deadline has passed, while `run` runs.

    Attributes:
      waits: those of all connections that are open and not upgraded.
    """

    def __init__(self) -> None:
        self.waits: set[HeadWait] = set()
        self._wakeup = math.inf
        self._scope = trio.CancelScope()

    def note(self, wait: HeadWait, deadline: float) -> None:
        """Let `wait` take until `deadline`."""
        wait.deadline = deadline
        if deadline < self._wakeup:
            self._wakeup = self._scope.deadline = deadline

    async def run(self) -> None:
        """End waits until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._wakeup) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            earliest = math.inf
            for wait in self.waits:
                if wait.deadline <= now:
                    wait.interrupt()
                elif wait.deadline < earliest:
                    earliest = wait.deadline
            self._wakeup = max(earliest, now + GRAIN)
