"""Whether the client of one request has left, for those who ask.

A socket is asked without reading from it; see `_peer_watch`. Any other stream is read ahead, into the buffer
from which the body and the next request come.
"""

from __future__ import annotations

import trio

from ._exceptions import log_bug
from ._peer_watch import Watch
from ._registered_scope import RegisteredScope
from ._request_body import IncomingBody
from ._serving_state import ServingState
from ._transport import Transport

__all__ = ["Disconnect"]


class Disconnect:
    """The disconnect of one request's client. It also happens when the response was sent.

    Args:
      serving: runs the tasks.
    """

    __slots__ = ("_done", "_happened", "_reading", "_scopes", "_serving", "_watch")

    def __init__(self, serving: ServingState) -> None:
        self._serving = serving
        self._happened = trio.Event()
        self._scopes: set[trio.CancelScope] = set()
        self._watch: Watch | None = None  # of a socket
        self._reading = trio.CancelScope()  # of the task that reads another stream ahead
        self._done: trio.Event | None = None  # set when that task ends

    def watch(self, transport: Transport, body: IncomingBody) -> None:
        """Notice when it happens, until `close`."""
        assert self._serving.nursery is not None
        if transport.socket is not None:
            self._watch = Watch(transport, True, self.mark)
            self._serving.peers.add(self._watch, self._serving.nursery)
        else:
            self._done = trio.Event()
            self._serving.nursery.start_soon(self._read_ahead, body, self._done)

    async def wait(self) -> None:
        """Wait for it."""
        await self._happened.wait()

    def cancel_scope(self) -> RegisteredScope:
        """A scope that it cancels."""
        return RegisteredScope(self._register, self._scopes.discard)

    def _register(self, scope: trio.CancelScope) -> None:
        self._scopes.add(scope)
        if self._happened.is_set():
            scope.cancel()

    async def close(self) -> None:
        """Watch no longer, since the response was sent. Not always a checkpoint."""
        if self._watch is not None:
            self._serving.peers.discard(self._watch)
            self._watch = None
        if self._done is not None:
            self._reading.cancel()
            with trio.CancelScope(shield=True):  # nobody else may read the stream before that
                await self._done.wait()
        self.mark()

    def mark(self) -> None:
        """Let it happen."""
        self._happened.set()
        for scope in self._scopes:
            scope.cancel()

    async def _read_ahead(self, body: IncomingBody, done: trio.Event) -> None:
        try:
            with self._reading:
                if await body.read_ahead():
                    self.mark()
        except Exception:  # of a stream that somebody else has made
            log_bug("reading ahead failed inside the server")
            self.mark()
        finally:
            done.set()
