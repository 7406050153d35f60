"""One call of a `serve_*`: what accepts its connections, a task for each, and their end.

It knows how many connections there may be, and nothing of what happens on one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import ssl
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ._connection import Connection
from ._deadlines import Deadlines
from ._listeners import accept_from
from ._statistics import Counters
from ._transport import Transport, as_transport

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Serving"]

logger = logging.getLogger("trio_upgrade")

TURNING_AWAY = 64  # connections at once that are told that there are too many; more are closed without a word


class Serving:
    """One call of a `serve_*`: its connections and its end.

    Attributes:
      nurseries: the outer one holds what the connections share, the inner one the connections and
        what accepts them.
    """

    connections: trio.Nursery

    def __init__(self, server: Server) -> None:
        self.server = server
        self.nursery: trio.Nursery | None = None
        self.nurseries: list[trio.Nursery] = []
        self.deadlines = Deadlines()
        self.running: set[Connection] = set()
        self._turning_away = 0
        self._accept_scopes: list[trio.CancelScope] = []
        self._end = math.inf

    @property
    def counters(self) -> Counters:
        """Counts what these connections do."""
        return self.server._counters

    @property
    def shutting_down(self) -> bool:
        """The server takes no new requests."""
        return self.server.shutting_down.is_set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the nurseries; at the end wait for the connections, then end what they share."""
        async with trio.open_nursery() as self.nursery:
            self.nurseries.append(self.nursery)
            self.nursery.cancel_scope.deadline = self._end
            self.nursery.start_soon(self.deadlines.run)
            async with trio.open_nursery() as self.connections:
                self.nurseries.append(self.connections)
                yield
            self.nursery.cancel_scope.cancel()

    async def run(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        task_status: trio.TaskStatus[Any],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve on listeners, with TLS where there is a context, and close them."""
        async with self.open():
            for listener in listeners:
                until = trio.CancelScope()
                self._accept_scopes.append(until)
                self.connections.start_soon(accept_from, listener, partial(self._take, ssl_context), until)
            if self.shutting_down:
                self.shut_down(self._end)
            if ssl_context is None:
                task_status.started(listeners)
            else:
                task_status.started([trio.SSLListener(listener, ssl_context) for listener in listeners])

    def _take(self, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """Run an accepted connection in a task of its own, if there is room for it."""
        if self.server._has_room():
            self.server._taken += 1
            self.connections.start_soon(self._run_isolated, ssl_context, stream)
        else:
            self.connections.start_soon(self._turn_away, ssl_context, stream)

    async def _run_isolated(self, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        connection = self._begin(transport_of(stream, ssl_context))
        try:
            await connection.run()
        except Exception:
            peername = connection.transport.peername
            logger.exception("a connection from %r failed inside the server; please report this", peername)
        finally:
            self._end_of(connection)
            self.server._taken -= 1

    async def run_connection(self, transport: Transport) -> BaseException | None:
        """Run a connection to its end; returns what a handler raised."""
        connection = self._begin(transport)
        try:
            return await connection.run()
        finally:
            self._end_of(connection)

    def _begin(self, transport: Transport) -> Connection:
        connection = Connection(transport, self.server._handlers, self)
        self.running.add(connection)
        self.counters.connections += 1
        return connection

    def _end_of(self, connection: Connection) -> None:
        self.running.discard(connection)
        self.counters.add_bytes(connection.transport)

    async def _turn_away(self, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """Say that there are too many connections; where many are told already, just close."""
        self.counters.refused += 1
        transport = transport_of(stream, ssl_context)
        if self._turning_away >= TURNING_AWAY:
            return await transport.abort()
        self._turning_away += 1
        try:
            await Connection(transport, self.server._handlers, self).turn_away()
        except Exception:
            logger.exception("turning %r away failed inside the server; please report this", transport.peername)
        finally:
            self._turning_away -= 1

    def shut_down(self, deadline: float) -> None:
        """Take no more connections, end the idle ones, and all of them at `deadline`."""
        for scope in self._accept_scopes:
            scope.cancel()
        for connection in self.running:
            connection.close_if_idle()
        self._end = min(self._end, deadline)
        if self.nursery is not None:
            self.nursery.cancel_scope.deadline = self._end


def transport_of(stream: trio.abc.Stream, ssl_context: ssl.SSLContext | None) -> Transport:
    """The transport of an accepted connection, over TLS where there is a context."""
    if ssl_context is not None:
        stream = trio.SSLStream(stream, ssl_context, server_side=True)
    return as_transport(stream)
