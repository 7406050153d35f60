"""One call of a `serve_*`: what accepts its connections, a task for each, and their end.

It knows nothing of what happens on a connection.
"""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import trio

from ._capacity import Capacity, Newcomer
from ._connection import Connection
from ._exceptions import log_bug
from ._listeners import accept_from
from ._serving_state import ServingState
from ._settings import Settings
from ._socket_transport import SocketTransport
from ._stream_transport import as_transport
from ._tls_transport import TlsTransport
from ._transport import Transport, close_at_once
from ._trusted_proxies import name_of

__all__ = ["Serving"]


class Serving:
    """One call of a `serve_*`.

    Args:
      state: what its connections share.
      settings: returns the settings for a new connection.
      capacity: the server's room for connections.

    Attributes:
      running: its connections.
      state: what they share.
    """

    def __init__(self, state: ServingState, settings: Callable[[], Settings], capacity: Capacity) -> None:
        self.running: set[Connection] = set()
        self.state = state
        self._settings = settings
        self._capacity = capacity
        self._outer: trio.Nursery | None = None  # of what the connections share
        self._inner: trio.Nursery | None = None  # of the connections, and of what accepts them
        self._accept_scopes: list[trio.CancelScope] = []
        self._deadline = math.inf

    @property
    def is_listening(self) -> bool:
        """It has listeners; otherwise its one connection was not accepted here."""
        return bool(self._accept_scopes)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Nursery]:
        """Open the nurseries. At the end of the block, wait for the connections, then end what they share."""
        async with trio.open_nursery() as self._outer:
            self.state.nursery = self._outer
            self._outer.cancel_scope.deadline = self._deadline
            self._outer.start_soon(self.state.head_timers.run)
            async with trio.open_nursery() as self._inner:
                yield self._inner
            self._outer.cancel_scope.cancel()

    def has_task(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task runs in this serving, at any depth."""
        nursery = task.parent_nursery
        while nursery is not None and nursery not in (self._outer, self._inner):
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None

    async def run(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        task_status: trio.TaskStatus[Any],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve on listeners, with TLS if there is a context, and close them."""
        async with self.open() as nursery:
            for listener in listeners:
                until = trio.CancelScope()
                self._accept_scopes.append(until)
                nursery.start_soon(accept_from, listener, partial(self._accept, nursery, ssl_context), until)
            if self.state.shutdown.has_begun:
                self.shut_down(self._deadline)
            if ssl_context is None:
                task_status.started(listeners)
            else:
                task_status.started([trio.SSLListener(listener, ssl_context) for listener in listeners])

    def _accept(self, nursery: trio.Nursery, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """Run an accepted connection in a task of its own, if there is room for it, or soon will be."""
        if self._capacity.admit():
            nursery.start_soon(self._run_isolated, ssl_context, stream)
        elif newcomer := self._capacity.queue():
            nursery.start_soon(self._run_in_turn, newcomer, ssl_context, stream)
        else:
            nursery.start_soon(self._turn_away, ssl_context, stream)

    async def _run_in_turn(
        self, newcomer: Newcomer, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream
    ) -> None:
        """Run a connection once an idle one has made room for it, or turn it away."""
        try:
            has_room = await self._capacity.wait(newcomer)
        except BaseException:
            await close_at_once(stream)
            raise
        run = self._run_isolated if has_room else self._turn_away
        await run(ssl_context, stream)

    async def _run_isolated(self, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """Run a connection; an error of ours ends that connection alone."""
        connection = self._add(self._transport_of(stream, ssl_context))
        try:
            await connection.run()
        except Exception:
            log_bug("a connection from %s failed inside the server", name_of(connection.transport.peername))
        finally:
            self._remove(connection)
            self._capacity.release()

    async def run_alone(self, transport: Transport) -> BaseException | None:
        """Run one connection that was not accepted here, to its end; returns what a handler raised."""
        failure = None

        async def run() -> None:
            nonlocal failure
            connection = self._add(transport)
            try:
                failure = await connection.run()
            finally:
                self._remove(connection)

        try:
            async with self.open() as nursery:
                nursery.start_soon(run)
            return failure
        finally:
            del failure  # its traceback leads here

    def _transport_of(self, stream: trio.abc.Stream, ssl_context: ssl.SSLContext | None) -> Transport:
        """The transport of an accepted connection, over TLS if there is a context."""
        if ssl_context is None:
            return as_transport(stream)
        if isinstance(stream, SocketTransport):
            assert self._outer is not None
            return TlsTransport(stream, ssl_context, self._outer)
        return as_transport(trio.SSLStream(stream, ssl_context, server_side=True))

    def _add(self, transport: Transport) -> Connection:
        connection = Connection(transport, self._settings(), self.state)
        self.state.counters.connections += 1
        self.running.add(connection)
        return connection

    def _remove(self, connection: Connection) -> None:
        self.running.discard(connection)
        self.state.counters.add_bytes(connection.transport.bytes_received, connection.transport.bytes_sent)

    async def _turn_away(self, ssl_context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """Say that there are too many connections. If many are told already, just close."""
        self.state.counters.refused += 1
        if self._capacity.count_refusal():
            assert self._outer is not None
            self._outer.start_soon(self._capacity.report)
        transport = self._transport_of(stream, ssl_context)
        if not self._capacity.start_turning_away():
            return await transport.abort()
        try:
            await Connection(transport, self._settings(), self.state).turn_away()
        except Exception:
            log_bug("turning %s away failed inside the server", name_of(transport.peername))
        finally:
            self._capacity.finish_turning_away()

    def shut_down(self, deadline: float) -> None:
        """Take no more connections, close the idle ones, and cancel what is left at `deadline`."""
        for scope in self._accept_scopes:
            scope.cancel()
        for connection in self.running:
            connection.close_if_idle()
        self._deadline = min(self._deadline, deadline)
        if self._outer is not None:
            self._outer.cancel_scope.deadline = self._deadline
