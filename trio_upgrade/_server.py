"""The server: listeners in, connections out, and how it all ends."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import trio

from ._connection import Handlers, RequestHandler, ShouldUpgrade, UpgradeHandler
from ._limits import Limits
from ._listeners import close_now, open_tcp_listeners, open_unix_listener
from ._proxies import TrustedProxies
from ._request import Request
from ._response import Response
from ._serving import Serving
from ._statistics import Counters, Statistics
from ._transport import as_transport

__all__ = ["Server"]

logger = logging.getLogger("trio_upgrade")


async def not_found(request: Request) -> Response:
    """The request handler of a server that was given none."""
    return Response(404, "Not Found\n")


class Server:
    """An HTTP/1.1 server whose upgrade handler gets a `trio.abc.Stream`.

    It is made outside or inside Trio, and used inside. One task runs each connection; none
    outlives the `serve_*` that took it. A server may be served on several listeners at once, and
    again after a shutdown.

    Args:
      on_request: `async (request) -> Response`, answers ordinary requests; without it they get 404.
      on_upgrade: `async (request, stream) -> Response | None`, gets the upgrade requests that are
        accepted, with the upgraded stream. Without it, and without `should_upgrade`, an upgrade
        request is an ordinary request.
      should_upgrade: `(request) -> bool`, plain or async, decides which upgrade requests are
        accepted, on their head alone, once for each. Without it, and with `on_upgrade`, all are. A
        request that is accepted while there is no `on_upgrade` is closed at once.
      on_connect: as `on_upgrade`, gets CONNECT requests; without it they get 405.
      limits: bounds on time and size.
      trusted_proxies: the networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are
        believed, and "unix" for those that connect through a Unix socket.

    Raises:
      TypeError: a handler cannot be called, or `limits` are no `Limits`.
      ValueError: a trusted proxy is no network.

    The behaviour is that of the 'upgrade' event of Node's `http.Server` (Node 26, with
    `shouldUpgradeCallback`).
    """

    def __init__(
        self,
        on_request: RequestHandler | None = None,
        *,
        on_upgrade: UpgradeHandler | None = None,
        should_upgrade: ShouldUpgrade | None = None,
        on_connect: UpgradeHandler | None = None,
        limits: Limits | None = None,
        trusted_proxies: Iterable[str] = (),
    ) -> None:
        for name, handler in [
            ("on_request", on_request),
            ("on_upgrade", on_upgrade),
            ("should_upgrade", should_upgrade),
            ("on_connect", on_connect),
        ]:
            if handler is not None and not callable(handler):
                raise TypeError(f"{name} must be a function, not {handler!r}")
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits must be a trio_upgrade.Limits, not {limits!r}")
        self._handlers = Handlers(
            on_request=on_request or not_found,
            on_upgrade=on_upgrade,
            should_upgrade=should_upgrade,
            on_connect=on_connect,
            limits=limits or Limits(),
            proxies=TrustedProxies(trusted_proxies),
        )
        self._servings: list[Serving] = []
        self._shutting_down = trio.Event()
        self._ended = trio.Event()
        self._scopes: set[trio.CancelScope] = set()
        self._counters = Counters()
        self._taken = 0  # connections that are open, or about to be
        self._said_full = False

    @property
    def limits(self) -> Limits:
        """The bounds on time and size that this server keeps."""
        return self._handlers.limits

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """The proxies that are believed, as they were given.

        They may be replaced, for where the proxies are is known where a server is deployed: the
        command line does it. Connections that are taken from then on are seen through the new ones.

        Raises:
          ValueError: on setting, an item is no network, and nothing has changed.
        """
        return self._handlers.proxies.items

    @trusted_proxies.setter
    def trusted_proxies(self, networks: Iterable[str]) -> None:
        self._handlers = replace(self._handlers, proxies=TrustedProxies(networks))

    # ---- serving

    async def serve_tcp(
        self,
        port: int,
        *,
        host: str | bytes | None = "127.0.0.1",
        backlog: int | None = None,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on a TCP port until cancelled or shut down, like `trio.serve_tcp`.

        Args:
          port: 0 lets the kernel choose one.
          host: the address to listen on. Unlike trio's, by default this machine only; None listens
            everywhere.
          backlog: how many connections may be queued; None for as many as the system allows.
          task_status: under `nursery.start`, gives the listeners.

        Raises:
          OSError: the port is taken, or the address is not this machine's.
          RuntimeError: the server is shutting down.
          ValueError: no port has this number.
        """
        with self._register() as serving:
            listeners = await open_tcp_listeners(port, host, backlog)
            await serving.run(listeners, task_status)

    async def serve_ssl_over_tcp(
        self,
        port: int,
        ssl_context: ssl.SSLContext,
        *,
        host: str | bytes | None = "127.0.0.1",
        backlog: int | None = None,
        task_status: trio.TaskStatus[list[trio.SSLListener[trio.SocketStream]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve TLS on a TCP port until cancelled or shut down, like `trio.serve_ssl_over_tcp`.

        A peer that ends an upgraded stream without close_notify has truncated it: the read raises
        `trio.BrokenResourceError`.

        Args and Raises:
          As of `serve_tcp`, and `ssl_context` with the server's certificate.
        """
        if not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, not {ssl_context!r}")
        with self._register() as serving:
            listeners = await open_tcp_listeners(port, host, backlog)
            await serving.run(listeners, task_status, ssl_context)

    async def serve_unix(
        self,
        path: str | os.PathLike[str],
        *,
        mode: int | None = None,
        backlog: int | None = None,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on a Unix socket until cancelled or shut down.

        The file of a server that is gone is replaced; this server's own is removed at the end.

        Args:
          path: where the socket file is made.
          mode: its permissions, such as 0o660; by default what the umask leaves.
          backlog, task_status: as of `serve_tcp`.

        Raises:
          OSError: a live server listens at `path`, or something else than a socket is there.
          RuntimeError: the server is shutting down.
        """
        with self._register() as serving:
            async with open_unix_listener(path, mode, backlog) as listener:
                await serving.run([listener], task_status)

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on open listeners until cancelled or shut down, like `trio.serve_listeners`.

        The listeners are closed at the end. Where accepting fails because the process is out of
        file descriptors, that is logged and tried again; open connections never notice.

        Args:
          listeners: where connections come from. Other processes may accept from the same sockets.
          ssl_context: serves TLS with it, on listeners that have none of their own.
          task_status: under `nursery.start`, gives the listeners.

        Raises:
          RuntimeError: the server is shutting down.
        """
        try:
            with self._register() as serving:
                await serving.run(listeners, task_status, ssl_context)
        finally:
            for listener in listeners:
                await close_now(listener)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection on any stream, until it ends, and close it.

        Raises:
          BaseException: what a handler raised (also logged), after the close.
          RuntimeError: the server is shutting down.
        """
        transport = as_transport(stream)
        failures: list[BaseException] = []

        async def run(serving: Serving) -> None:
            if failure := await serving.run_connection(transport):
                failures.append(failure)

        try:
            with self._register() as serving:
                async with serving.open():
                    serving.connections.start_soon(run, serving)
        finally:
            await transport.abort()
        if failures:
            raise failures[0]

    @contextlib.contextmanager
    def _register(self) -> Iterator[Serving]:
        """A serving from its first moment, so that no shutdown misses one that is just starting."""
        if self._servings and self._shutting_down.is_set():
            raise RuntimeError("this server is shutting down; it can serve again once that is done")
        if not self._servings:
            self._ended = trio.Event()
            if self._shutting_down.is_set():
                self._shutting_down = trio.Event()
        serving = Serving(self)
        self._servings.append(serving)
        try:
            yield serving
        finally:
            self._servings.remove(serving)
            if not self._servings:
                self._ended.set()

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the serving, for a task that a protocol shares among its connections.

        It is cancelled when the serving ends, after its last connection. Where the server is
        served several times at once, it is that of the serving that the calling task belongs to,
        else of the first.

        Raises:
          RuntimeError: the server is not being served.
        """
        serving = self._serving_of_this_task() or next(iter(self._servings), None)
        if serving is None or serving.nursery is None:
            raise RuntimeError("the server has a nursery only while it is served")
        return serving.nursery

    def _serving_of_this_task(self) -> Serving | None:
        by_nursery = {nursery: serving for serving in self._servings for nursery in serving.nurseries}
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task.parent_nursery is not None:
            if task.parent_nursery in by_nursery:
                return by_nursery[task.parent_nursery]
            task = task.parent_nursery.parent_task
        return None

    def statistics(self) -> Statistics:
        """What this server does now, and what it has done since it was made.

        It costs time in proportion to the connections that are open.
        """
        return self._counters.look(connection for serving in self._servings for connection in serving.running)

    def _has_room(self) -> bool:
        """Whether one more connection may be taken; says once when there is no more room."""
        limit = self.limits.max_connections
        full = limit is not None and self._taken >= limit
        if full and not self._said_full:
            logger.warning("%d connections are open, as many as max_connections allows; more are refused", limit)
        self._said_full = full
        return not full

    # ---- shutdown

    @property
    def shutting_down(self) -> trio.Event:
        """Set when a shutdown begins. A server that is served again has a fresh one."""
        return self._shutting_down

    async def shutdown(self, grace: float) -> None:
        """Shut down in order, and wait until every `serve_*` has returned.

        Connections that are queued on the listeners are still accepted, then the listeners close.
        Requests in progress, and those that have arrived, get their responses, which say
        `Connection: close`; idle connections close, as soon as no request has come on them for a
        second: who was answered just now may have the next one on its way. `shutting_down` is set,
        and the scopes of `cancel_on_shutdown` are cancelled.

        Args:
          grace: after so many seconds, what is left is cancelled. A later call can only shorten it.

        Raises:
          RuntimeError: called by a handler, or another task of the serving: it would wait for
            itself. A handler starts it in a task outside: in a nursery of the program's, or with
            `trio.lowlevel.spawn_system_task(server.shutdown, grace)`.
          ValueError: `grace` is negative.

        Cancelled, it stops waiting; the shutdown goes on.
        """
        if not grace >= 0:
            raise ValueError(f"grace is a number of seconds, not {grace!r}")
        if self._serving_of_this_task() is not None:
            raise RuntimeError(
                "a handler cannot wait for the shutdown that waits for it: call it in a task outside, "
                "such as trio.lowlevel.spawn_system_task(server.shutdown, grace)"
            )
        if self._servings:
            deadline = trio.current_time() + grace
            self._shutting_down.set()
            for scope in self._scopes:
                scope.cancel()
            for serving in self._servings:
                serving.shut_down(deadline)
            await self._ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    @contextlib.contextmanager
    def cancel_on_shutdown(self) -> Iterator[trio.CancelScope]:
        """A `trio.CancelScope` that a shutdown cancels, at once if one is under way.

        What a handler says as a goodbye follows the block.
        """
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._shutting_down.is_set():
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
