"""The wait for a request's head, and what ends it: a timeout, or the server's shutdown.

A cancel scope for each wait would be simpler. It would cost 60,000 instructions, a quarter of what a
small request costs (241,000; `python -m benchmarks.instructions get`). So a connection only notes when
its wait ends, and one task of the serving looks at these notes when the earliest of them is due.
"""

from __future__ import annotations

import math
from enum import Enum

import trio

from ._exceptions import ProtocolError
from ._http11 import Http11
from ._limits import Limits
from ._request_head import Head
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
      http: where the heads come from.
      transport: what is interrupted when a wait is to end.
      limits: how long the waits may take.
      first: the first of them is for the connection's first request.

    Attributes:
      deadline: when the wait ends, in `trio.current_time`; math.inf if it does not wait.
    """

    __slots__ = ("_http", "_is_first", "_limits", "_quiet_since", "_timers", "_transport", "_waiting", "deadline")

    def __init__(self, timers: HeadTimers, http: Http11, transport: Transport, limits: Limits, first: bool) -> None:
        self._timers = timers
        self._http = http
        self._transport = transport
        self._limits = limits
        self._is_first = first
        self._quiet_since = math.inf
        self._waiting = NO_HEAD
        self.deadline = math.inf

    @property
    def is_idle(self) -> bool:
        """The connection waits for the first byte of a request."""
        return self._waiting is FIRST_BYTE

    async def receive_head(self, shutting_down: bool) -> Head | None:
        """Wait for the next request's head.

        Args:
          shutting_down: the server is; then the wait is short.

        Returns:
          None if none will come: the peer has ended or vanished, or has sent nothing in time.

        Raises:
          ProtocolError: it is malformed, cut off, or did not arrive in time.
        """
        http = self._http
        try:
            while (head := http.next_head()) is None:
                self._begin_wait(shutting_down)
                try:
                    more = await http.fill()
                except trio.WouldBlock:
                    if self._waiting is FIRST_BYTE:
                        return None
                    if self.deadline <= trio.current_time():
                        raise ProtocolError(
                            "the request's head did not arrive in time", self._transport, status=408
                        ) from None
                    continue  # this was to end an earlier wait
                except trio.BrokenResourceError:
                    return None
                if not more:
                    if self._waiting is FIRST_BYTE:
                        return None
                    raise ProtocolError("the connection ended in the middle of the request's head", self._transport)
            return head
        finally:
            self.deadline = math.inf
            self._waiting = NO_HEAD
            self._is_first = False
            self._transport.clear_interrupt()

    def _begin_wait(self, shutting_down: bool) -> None:
        now = trio.current_time()
        waiting = REST if self._http.buffer else FIRST_BYTE
        if waiting is not self._waiting:
            since, seconds = now, self._limits.header_timeout
            if waiting is FIRST_BYTE and not self._is_first:
                seconds = self._limits.keep_alive_timeout
            elif self._waiting is FIRST_BYTE and self._is_first:
                since = self._quiet_since  # the timeout of the first head began with the connection
            self._timers.note(self, math.inf if seconds is None else since + seconds)
            self._waiting = waiting
        self._quiet_since = now
        if shutting_down:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """As the server shuts down, wait only until no request has come for a second.

        A client that has just connected, or was just answered, may have a request on its way, and
        cannot know of the shutdown. On a connection that has been quiet for longer, what has
        arrived is still taken.
        """
        if self._waiting is FIRST_BYTE:
            self._timers.note(self, min(self.deadline, self._quiet_since + QUIET))

    def end(self) -> None:
        """End the wait."""
        self._transport.interrupt()


class HeadTimers:
    """Ends the waits whose deadline has passed, while `run` runs.

    Attributes:
      waits: of the connections that are open and not upgraded.
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
                    wait.end()
                elif wait.deadline < earliest:
                    earliest = wait.deadline
            self._wakeup = max(earliest, now + GRAIN)
