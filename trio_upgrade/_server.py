"""The server: what it is told, where it listens, and how it shuts down."""

from __future__ import annotations

import contextlib
import itertools
import os
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import trio

from ._capacity import Capacity
from ._head_timeout import HeadWait
from ._limits import Limits
from ._listeners import open_tcp_listeners, open_unix_listener
from ._serving import Serving
from ._serving_state import ServingState
from ._settings import Application, RequestHandler, Settings, ShouldUpgrade, UpgradeHandler, not_found
from ._shutdown import Shutdown
from ._statistics import Counters, Statistics
from ._stream_transport import as_transport
from ._tls_engine import check_context
from ._transport import close_at_once
from ._trusted_proxies import TrustedProxies

__all__ = ["Server"]


class Server:
    """An HTTP/1.1 server whose upgrade handler gets a `trio.abc.Stream`.

    The object is made outside or inside Trio, and used inside. One task runs each connection, and no
    task outlives the `serve_*` that started it. A server may be served on several listeners at once,
    and again after a shutdown.

    The behaviour is that of the 'upgrade' event of Node's `http.Server` (Node 26, with
    `shouldUpgradeCallback`).

    Args:
      on_request: `async (request) -> Response`, answers ordinary requests. By default they get a 404.
      on_upgrade: `async (request, stream) -> Response | None`, gets the upgrade requests that are
        accepted, with an `UpgradedStream`. If there is neither `on_upgrade` nor `should_upgrade`, an
        upgrade request is an ordinary request.
      should_upgrade: `(request) -> bool`, plain or async, decides which upgrade requests are
        accepted, on their head alone, once for each. By default `on_upgrade` gets all of them. If
        there is no `on_upgrade`, the connection of an accepted request is closed at once.
      on_connect: like `on_upgrade`, for CONNECT requests. By default they get a 405.
      limits: bounds on time and size, a `Limits`.
      trusted_proxies: a list of the IP networks of the proxies whose X-Forwarded-For,
        X-Forwarded-Proto and X-Forwarded-Host are believed, such as "10.0.0.0/8"; "unix" in it
        believes whoever connects through a Unix socket. By default nobody is believed. A proxy that
        is trusted must set each of these fields or remove it, or clients write it.

    Raises:
      TypeError: a handler cannot be called, or another argument has the wrong type.
      ValueError: a trusted proxy is not a network.

    Error handling:
      An exception in a handler ends that connection alone, with a 500 if nothing was sent. It is
      logged at ERROR; the failure of the handler's own connection is logged at DEBUG. Cancelled,
      KeyboardInterrupt and SystemExit are not caught.
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
        self._settings = Settings(
            on_request=not_found if on_request is None else on_request,
            on_upgrade=on_upgrade,
            should_upgrade=should_upgrade,
            on_connect=on_connect,
            limits=Limits() if limits is None else limits,
            proxies=TrustedProxies(trusted_proxies),
        )
        self._capacity = Capacity(self.limits.max_connections, self._waits)
        self._counters = Counters()
        self._shutdown = Shutdown()
        self._servings: list[Serving] = []
        self._ended = trio.Event()  # no serving is left

    @property
    def limits(self) -> Limits:
        """The bounds on time and size that this server keeps."""
        return self._settings.limits

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """The proxies that are believed, as they were given.

        They may be replaced, since only who deploys a server knows its proxies: the command line does
        it. It applies to connections that are accepted from then on.

        Raises:
          TypeError, ValueError: on setting, an item is not a network; nothing has changed.
        """
        return self._settings.proxies.items

    @trusted_proxies.setter
    def trusted_proxies(self, networks: Iterable[str]) -> None:
        self._settings = replace(self._settings, proxies=TrustedProxies(networks))

    def _serve_application(self, application: Application) -> None:
        """Let an application answer what no handler gets; see `trio_upgrade.asgi`."""
        self._settings = replace(self._settings, application=application)

    def _end_application_by(self, deadline: float) -> None:
        """Cancel what an application still does at a time of `trio.current_time`."""
        if self._settings.application is not None:
            self._settings.application.end_by(deadline)

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
          host: the address to listen on. By default, and unlike trio, only this machine can connect;
            None listens on every address.
          backlog: how many connections may be queued; None for as many as the system allows.
          task_status: gives the listeners to `nursery.start`.

        Raises:
          OSError: the port is taken, or the address is not this machine's.
          RuntimeError: the server is shutting down.
          ValueError: the port is not a number from 0 to 65535.
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

        If a peer ends an upgraded stream without close_notify, the stream may be truncated: the read
        raises `trio.BrokenResourceError`.

        Args:
          port, host, backlog, task_status: see `serve_tcp`.
          ssl_context: has the server's certificate.

        Raises:
          OSError, RuntimeError, ValueError: see `serve_tcp`.
          TypeError: `ssl_context` is not an `ssl.SSLContext`.
          ssl.SSLError: it is one for clients.
        """
        if not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, not {ssl_context!r}")
        check_context(ssl_context)
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

        If a server has left its socket file, that is replaced. This server's own is removed at the end.

        Args:
          path: where the socket file is made.
          mode: its permissions, such as 0o660; None for what the umask leaves.
          backlog, task_status: see `serve_tcp`.

        Raises:
          OSError: another server listens at `path`, or the file there is not a socket.
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

        The listeners are closed at the end. If the process is out of file descriptors, that is logged,
        and accepting is tried again; open connections do not notice.

        Args:
          listeners: where connections come from. Other processes may accept from the same sockets.
          ssl_context: serves TLS with it. It is for listeners that have no TLS of their own.
          task_status: gives the listeners to `nursery.start`.

        Raises:
          RuntimeError: the server is shutting down.
          ssl.SSLError: `ssl_context` is one for clients.
        """
        try:
            if ssl_context is not None:
                check_context(ssl_context)
            with self._register() as serving:
                await serving.run(listeners, task_status, ssl_context)
        finally:
            for listener in listeners:
                await close_at_once(listener)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection on any stream, until it ends, and close it.

        Args:
          stream: a `trio.abc.Stream`.

        Raises:
          TypeError: it is not one.
          BaseException: what a handler raised (also logged), after the close.
          RuntimeError: the server is shutting down.
        """
        if not isinstance(stream, trio.abc.Stream):
            raise TypeError(f"a stream is a trio.abc.Stream, not {stream!r}")
        transport = as_transport(stream)
        try:
            with self._register() as serving:
                failure = await serving.run_alone(transport)
        finally:
            await transport.abort()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback leads here

    @contextlib.contextmanager
    def _register(self) -> Iterator[Serving]:
        """Register a serving before its listeners are open, so that a shutdown in between finds it."""
        if self._servings and self._shutdown.has_begun:
            raise RuntimeError("this server is shutting down; it can serve again once that is done")
        if not self._servings:
            self._ended = trio.Event()
            self._shutdown.renew()
        state = ServingState(self, self._shutdown, self._counters)
        serving = Serving(state, lambda: self._settings, self._capacity)
        self._servings.append(serving)
        try:
            yield serving
        finally:
            self._servings.remove(serving)
            if not self._servings:
                self._ended.set()

    def _waits(self) -> Iterator[HeadWait]:
        """The waits for a request, of all connections that `Limits.max_connections` counts."""
        listening = (serving for serving in self._servings if serving.is_listening)
        return itertools.chain.from_iterable(serving.state.head_timers.waits for serving in listening)

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the serving, for tasks that several connections share.

        It is cancelled when the serving ends, after its last connection. If the server is served
        several times at once, it is that of the serving that the calling task belongs to, else of
        the first.

        Raises:
          RuntimeError: the server is not being served.
        """
        serving = self._serving_of_this_task() or next(iter(self._servings), None)
        if serving is None or serving.state.nursery is None:
            raise RuntimeError("the server has a nursery only while it is served")
        return serving.state.nursery

    def _serving_of_this_task(self) -> Serving | None:
        # A context variable would not do: a task that a handler starts in a nursery outside inherits it.
        task = trio.lowlevel.current_task()
        return next((serving for serving in self._servings if serving.has_task(task)), None)

    def statistics(self) -> Statistics:
        """What this server does now, and what it has done since it was made.

        It costs time in proportion to the connections that are open.
        """
        return self._counters.snapshot(
            (connection.phase, connection.transport.bytes_received, connection.transport.bytes_sent)
            for serving in self._servings
            for connection in serving.running
        )

    # ---- shutdown

    @property
    def shutting_down(self) -> trio.Event:
        """A `trio.Event` that is set when a shutdown begins. If the server is served again, it has a new one."""
        return self._shutdown.begun

    async def shutdown(self, grace: float) -> None:
        """Shut down in order, and wait until every `serve_*` has returned.

        Connections that are queued on the listeners are still accepted, then the listeners close.
        Requests in progress, and those that have arrived, get their responses, which say
        `Connection: close`. Idle connections close, once no request has come on them for a second:
        a client that was answered just now may have the next one on its way. `shutting_down` is set,
        and the scopes of `cancel_on_shutdown` are cancelled.

        Args:
          grace: in seconds. After that, what is left is cancelled. A later call can only shorten it.

        Raises:
          RuntimeError: a handler, or another task of the serving, has called it: it would wait for
            itself. A handler starts it in a task outside: in a nursery of the program's, or with
            `trio.lowlevel.spawn_system_task(server.shutdown, grace)`.
          TypeError, ValueError: `grace` is not a number, or negative.

        Cancelled, it stops waiting; the shutdown goes on.
        """
        if isinstance(grace, bool) or not isinstance(grace, int | float):
            raise TypeError(f"grace is a number of seconds, not {grace!r}")
        if not grace >= 0:
            raise ValueError(f"grace is at least 0 seconds, not {grace!r}")
        if self._serving_of_this_task() is not None:
            raise RuntimeError(
                "a handler cannot wait for the shutdown that waits for it: call it in a task outside, "
                "such as trio.lowlevel.spawn_system_task(server.shutdown, grace)"
            )
        if self._servings:
            deadline = trio.current_time() + grace
            self._shutdown.begin(deadline)
            for serving in self._servings:
                serving.shut_down(deadline)
            await self._ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    def cancel_on_shutdown(self) -> AbstractContextManager[trio.CancelScope]:
        """A `trio.CancelScope` that a shutdown cancels, at once if one has begun.

        Use it as `with server.cancel_on_shutdown() as scope:`. A handler says goodbye after the block.
        """
        return self._shutdown.cancel_scope()
