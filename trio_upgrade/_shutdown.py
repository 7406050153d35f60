"""Whether a server is shutting down, until when, and the scopes that a shutdown cancels."""

from __future__ import annotations

import math

import trio

from ._registered_scope import RegisteredScope

__all__ = ["Shutdown"]


class Shutdown:
    """The shutdown of one server.

    Attributes:
      begun: set when the shutdown begins.
    """

    def __init__(self) -> None:
        self.begun = trio.Event()
        self._grace_from, self._grace_until = 0.0, math.inf  # in seconds of Trio's clock
        self._shortened = trio.Event()
        self._scopes: set[trio.CancelScope] = set()

    @property
    def has_begun(self) -> bool:
        """The server takes no new requests."""
        return self.begun.is_set()

    def begin(self, deadline: float) -> None:
        """Set `begun`, and cancel the scopes.

        Args:
          deadline: when the grace ends, in seconds of Trio's clock. A later call can only bring it nearer.
        """
        if deadline < self._grace_until:
            self._grace_from, self._grace_until = trio.current_time(), deadline
            self._shortened.set()
            self._shortened = trio.Event()
        self.begun.set()
        for scope in self._scopes:
            scope.cancel()

    def last_call(self, notice: float) -> float:
        """When what is still open must be told to end, so that it has `notice` seconds left, or half of the grace."""
        return self._grace_until - min(notice, (self._grace_until - self._grace_from) / 2)

    async def wait_shortened(self) -> None:
        """Wait until another call shortens the grace."""
        await self._shortened.wait()

    def renew(self) -> None:
        """Let the server be served again."""
        if self.begun.is_set():
            self.begun = trio.Event()
            self._grace_from, self._grace_until = 0.0, math.inf

    def cancel_scope(self) -> RegisteredScope:
        """A scope that the shutdown cancels; see `Server.cancel_on_shutdown`."""
        return RegisteredScope(self._register, self._scopes.discard)

    def _register(self, scope: trio.CancelScope) -> None:
        self._scopes.add(scope)
        if self.begun.is_set():
            scope.cancel()
