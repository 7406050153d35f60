"""Whether a server is shutting down, and the scopes that a shutdown cancels."""

from __future__ import annotations

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
        self._scopes: set[trio.CancelScope] = set()

    @property
    def has_begun(self) -> bool:
        """The server takes no new requests."""
        return self.begun.is_set()

    def begin(self) -> None:
        """Set `begun`, and cancel the scopes."""
        self.begun.set()
        for scope in self._scopes:
            scope.cancel()

    def renew(self) -> None:
        """Let the server be served again."""
        if self.begun.is_set():
            self.begun = trio.Event()

    def cancel_scope(self) -> RegisteredScope:
        """A scope that the shutdown cancels; see `Server.cancel_on_shutdown`."""
        return RegisteredScope(self._register, self._scopes.discard)

    def _register(self, scope: trio.CancelScope) -> None:
        self._scopes.add(scope)
        if self.begun.is_set():
            scope.cancel()
