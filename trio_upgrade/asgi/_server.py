"""A `Server` that runs an application, and the adapter between the two."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from .._limits import Limits
from .._nurseries import open_plain_nursery
from .._request import Request
from .._response import Response
from .._response_writer import ResponseWriter
from .._server import Server
from .._settings import ShouldUpgrade, UpgradeHandler
from .._upgraded_stream import UpgradedStream
from ._applications import check_application
from ._exchange import HTTPExchange
from ._lifespan import Lifespan
from ._messages import ASGIApplication
from ._scope import http_scope, websocket_scope

__all__ = ["server"]

logger = logging.getLogger("trio_upgrade.asgi")

# What people rely on with other servers: no check of the Origin, and large messages.
WEBSOCKET_OPTIONS = {"origins": "*", "max_message_size": 2**24, "compression": "deflate"}


class Adapter:
    """Runs an application for a `Server`.

    Args:
      state: what the lifespan has left for the requests.
      nursery: runs the application, a task for each request.
      options: of `websocket.accept`.
    """

    def __init__(
        self,
        app: ASGIApplication,
        root_path: str,
        state: dict[str, Any],
        nursery: trio.Nursery,
        options: dict[str, Any],
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._state = state
        self._nursery = nursery
        self._options = options
        self._has_websocket: bool | None = None  # the extra is installed; None as long as nobody has asked

    def end_by(self, deadline: float) -> None:
        """Cancel what the application still does at a time of `trio.current_time`, if nothing does so earlier."""
        scope = self._nursery.cancel_scope
        scope.deadline = min(scope.deadline, deadline)

    def start(self, writer: ResponseWriter) -> None:
        """See `Application.start`."""
        exchange = HTTPExchange(self._app, writer, partial(http_scope, writer.request, self._root_path, self._state))
        try:
            self._nursery.start_soon(exchange.run)
        except RuntimeError:  # the nursery is closed
            writer.fail(RuntimeError("the application has ended: serve inside of the block of asgi.server"))

    def handler_of(self, request: Request) -> UpgradeHandler | None:
        """See `Application.handler_of`: WebSockets are served in the connection's own task, to save memory."""
        if not request.upgrade or "websocket" not in [protocol.lower() for protocol in request.upgrade]:
            return None
        if self._has_websocket is None:
            try:
                from . import _websocket as _websocket
            except ImportError as exc:
                logger.error("WebSocket handshakes get the responses of ordinary requests: %s", exc)
                self._has_websocket = False
            else:
                self._has_websocket = True
        return self._serve_websocket if self._has_websocket else None

    async def _serve_websocket(self, request: Request, stream: UpgradedStream) -> Response | None:
        from ..websocket import check_handshake
        from ._websocket import WebSocketSession

        check_handshake(request, origins=self._options["origins"])
        session = WebSocketSession(request, stream, self._options)
        return await session.run(self._app, websocket_scope(request, self._root_path, self._state))


@asynccontextmanager
async def server(
    app: ASGIApplication,
    *,
    root_path: str = "",
    on_upgrade: UpgradeHandler | None = None,
    should_upgrade: ShouldUpgrade | None = None,
    on_connect: UpgradeHandler | None = None,
    limits: Limits | None = None,
    trusted_proxies: Iterable[str] = (),
    background_timeout: float = 10,
    websocket_options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Server]:
    """Give a `Server` that runs an ASGI application, with the application's lifespan around it.

    Use it as an async context manager, or pass it to `trio_upgrade.run`::

        async with asgi.server(app) as server:
            await server.serve_tcp(8000)

    The application runs on Trio. It is told when its client leaves (`http.disconnect`, and an OSError from `send`), but
    not cancelled. Its work after a response may outlive the connection; at the end of the block, such work has
    `background_timeout` seconds.

    Args:
      app: an ASGI 3 application: Starlette, FastAPI, Quart-Trio, Litestar or another one that runs on Trio.
      root_path: the path under which a proxy serves the application; "" by default. It is put before the path.
      on_upgrade, should_upgrade, on_connect: native handlers beside the application, as for `Server`. What they do
        not get goes to the application. If there is `on_upgrade` alone, it gets every upgrade request.
      limits, trusted_proxies: as for `Server`.
      background_timeout: how many seconds the application may go on after the last connection has ended, 10 by
        default. Then its tasks are cancelled, and `lifespan.shutdown` follows.
      websocket_options: options of `websocket.accept`, but for `message_type`, `subprotocols` and `headers`. By
        default, every origin may connect, messages have at most 16 MiB, and each message is compressed by itself.

    Raises:
      TypeError: this is no ASGI 3 application, or another argument has the wrong type.
      ValueError: `root_path` does not begin with a slash or ends with one, or `background_timeout` is negative.
      StartupFailed: the application says that it cannot start.
      BaseException: what the block raises; and what the application's lifespan raises while the block runs.

    Cancelled, it cancels the application and its lifespan.
    """
    check_application(app)
    check_arguments(root_path, background_timeout)
    options = check_websocket_options(websocket_options)
    made = Server(
        on_upgrade=on_upgrade,
        should_upgrade=should_upgrade,
        on_connect=on_connect,
        limits=limits,
        trusted_proxies=trusted_proxies,
    )
    async with open_plain_nursery() as outer:
        lifespan = Lifespan(app)
        outer.start_soon(lifespan.run)
        await lifespan.start()
        async with open_plain_nursery() as nursery:
            adapter = Adapter(app, root_path, lifespan.state, nursery, options)
            made._serve_application(adapter)
            yield made
            adapter.end_by(trio.current_time() + background_timeout)
        await lifespan.stop()


def check_arguments(root_path: object, background_timeout: object) -> None:
    if not isinstance(root_path, str):
        raise TypeError(f"root_path is a str, not {root_path!r}")
    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise ValueError(f"root_path begins with a slash, and does not end with one: {root_path!r}")
    if isinstance(background_timeout, bool) or not isinstance(background_timeout, int | float):
        raise TypeError(f"background_timeout is a number of seconds, not {background_timeout!r}")
    if not background_timeout >= 0:
        raise ValueError(f"background_timeout is at least 0 seconds, not {background_timeout!r}")


def check_websocket_options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a WebSocket, with our defaults."""
    options = {**WEBSOCKET_OPTIONS, **(given or {})}
    if given:
        from ..websocket._options import Options

        for name in ("message_type", "subprotocols", "headers"):
            if name in given:
                raise TypeError(f"{name} is no option of an application's WebSockets: it decides that itself")
        Options(**options)
    return options
