"""A worker for gunicorn, which starts and supervises several processes: each serves a `Server`.

    gunicorn -k trio_upgrade.gunicorn.TrioWorker -w 4 module:attribute

The name is as for the command line: a `Server` or an ASGI application; or a function without arguments
that gives one, which may be plain, async, or an async context manager. Each worker opens its own. The
environment variable `SCRIPT_NAME`, if it is set, is the path under which a proxy serves an ASGI application.

An application that cannot work in several processes may refuse. When a worker imports and opens it,
the environment variable `WEB_CONCURRENCY` is the number of workers, under gunicorn's own name for it.
If the application then raises `SystemExit("why")`, gunicorn ends with that line, as the command line
does. (The number is that of gunicorn's configuration. It does not count workers that a TTIN signal adds.)
"""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType

import trio
from gunicorn.errors import AppImportError
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker

from ._server import Server
from .asgi import StartupFailed
from .program._importer import Application, ApplicationError, import_application
from .program._inherited_sockets import inherited_listener
from .program._signals import Stop, serve_until_stopped

__all__ = ["TrioWorker"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # these end a worker
HEARTBEAT = 1.0  # at most so many seconds pass between two signs of life
# Of gunicorn's graceful_timeout; the rest is for closing the application, before gunicorn kills:
GRACE = 0.9  # for the connections
BACKGROUND = 0.95  # until what an ASGI application still does after its responses is cancelled
PATIENCE = 5.0  # so many seconds a worker without an application waits for gunicorn to end
DEFAULT_PROXIES = ["127.0.0.1", "::1"]  # gunicorn's forwarded_allow_ips if nobody sets it
EVERY_NETWORK = ["0.0.0.0/0", "::/0"]


class TrioWorker(Worker):
    """A gunicorn worker that runs Trio.

    SIGTERM, which gunicorn sends to end or replace a worker, shuts the server down: upgraded
    connections say their goodbyes, and what is left after nine tenths of `graceful_timeout` is
    cancelled. If gunicorn itself is gone, the worker does the same. SIGINT and SIGQUIT cancel
    everything at once. A worker whose tasks do not run for `timeout` seconds logs where it is stuck,
    and is replaced. An application that cannot be imported or opened ends gunicorn.

    Of gunicorn's settings, those of processes, sockets, TLS (`certfile`, `keyfile` and their like,
    `ssl_context`) and logs have an effect, and `timeout`, `graceful_timeout` and `max_requests`.
    `forwarded_allow_ips` replaces the server's own `trusted_proxies`, if it is set. The limits of
    connections and of HTTP are those of `trio_upgrade.Limits`. The loggers `trio_upgrade` and
    `trio_upgrade.access` write to gunicorn's error log and access log, unless the application has
    configured logging.
    """

    application: Application

    def load_wsgi(self) -> None:
        """Import the application."""
        os.environ["WEB_CONCURRENCY"] = str(self.cfg.workers)
        root_path = os.environ.get("SCRIPT_NAME", "")
        name = getattr(self.app, "app_uri", None)
        if name is None:  # a program that embeds gunicorn loads its application itself
            self.application = Application("the application", self.app.wsgi(), root_path=root_path)
            return
        with self._refusals_end_gunicorn():
            self.application = import_application(name, root_path=root_path)

    def init_signals(self) -> None:
        """Install gunicorn's handlers for the time until Trio runs, without the wakeup descriptor, which Trio sets."""
        super().init_signals()
        signal.set_wakeup_fd(-1)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """Log where the worker is stuck, and end. gunicorn sends this signal when it misses the signs of life."""
        self.log.critical("worker is stuck here:\n%s", "".join(traceback.format_stack(frame)).rstrip())
        super().handle_abort(sig, frame)

    def run(self) -> None:
        """Serve until gunicorn ends the worker, or is gone."""
        self.booted = False  # until it listens: the next worker would fail in the same way, so gunicorn ends
        self._configure_logging()
        self.notify()  # from now on gunicorn sees whether the worker is stuck
        try:
            with self._refusals_end_gunicorn():
                trio.run(serve_until_stopped, self._open(), self._start, self._watch, SIGNALS)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # gunicorn may repeat them, but the worker is ending already

    @contextmanager
    def _refusals_end_gunicorn(self) -> Iterator[None]:
        """End gunicorn, and not this worker alone, when the application cannot be served or refuses."""
        try:
            yield
        except ApplicationError as exc:
            raise self._refusal(str(exc)) from exc
        except StartupFailed as exc:
            raise self._refusal(f"the application cannot start: {exc}") from exc
        except SystemExit as exc:
            if self.booted or not isinstance(exc.code, str):  # a number is how gunicorn's handlers of signals end it
                raise
            raise self._refusal(exc.code) from exc

    def _refusal(self, why: str) -> BaseException:
        """The exception that ends gunicorn with this line.

        Of the workers that were started together only the first raises it, since gunicorn fails over
        a second one. The others wait until gunicorn ends them.
        """
        if self.age % self.cfg.workers == 1 % self.cfg.workers:
            return AppImportError(why)
        until = time.monotonic() + PATIENCE
        while self.alive and time.monotonic() < until:
            time.sleep(0.05)
        return SystemExit(0)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Server]:
        async with self.application.open() as server:
            proxies = self.cfg.forwarded_allow_ips
            if proxies != DEFAULT_PROXIES:
                # gunicorn's other workers, too, take every peer on a Unix socket for a proxy.
                server.trusted_proxies = [*(EVERY_NETWORK if "*" in proxies else proxies), "unix"]
            yield server

    async def _start(self, server: Server, nursery: trio.Nursery) -> None:
        context = ssl_context(self.cfg) if self.cfg.is_ssl else None
        listeners = [inherited_listener(socket.detach()) for socket in self.sockets]
        await nursery.start(partial(server.serve_listeners, listeners, ssl_context=context))
        self.booted = True

    async def _watch(self, signals: AsyncIterator[int], stop: Stop) -> None:
        leave = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._live, stop, leave)
            nursery.start_soon(self._leave, stop, leave)
            async for number in signals:
                if number == signal.SIGTERM:
                    leave.set()
                else:
                    self.cfg.worker_int(self)
                    stop.at_once()

    async def _live(self, stop: Stop, leave: trio.Event) -> None:
        """Give signs of life, and see whether it is time to leave."""
        while True:
            self.notify()
            if not leave.is_set() and self._should_leave(stop):
                leave.set()
            await trio.sleep(min(HEARTBEAT, self.timeout / 2 or HEARTBEAT))

    def _should_leave(self, stop: Stop) -> bool:
        if self.ppid != os.getppid():
            self.log.info("gunicorn is gone; worker leaves")
            return True
        if self.cfg.max_requests and stop.server and stop.server.statistics().requests >= self.max_requests:
            self.log.info("worker has had its %d requests, and leaves", self.max_requests)
            return True
        return not self.alive  # gunicorn's reloader unsets it, and so does a SIGTERM that comes before Trio runs

    async def _leave(self, stop: Stop, leave: trio.Event) -> None:
        """Shut the server down, once it is time to leave."""
        await leave.wait()
        self.alive = False
        if stop.server is not None:
            stop.server._end_application_by(trio.current_time() + BACKGROUND * self.cfg.graceful_timeout)
        stop.gracefully(GRACE * self.cfg.graceful_timeout)

    def _configure_logging(self) -> None:
        logger = logging.getLogger("trio_upgrade")
        if not logger.hasHandlers():
            logger.handlers = list(self.log.error_log.handlers)
            logger.setLevel(self.log.error_log.level)
        logger = logging.getLogger("trio_upgrade.access")
        if self.log.access_log.handlers:
            logger.setLevel(logging.INFO)
            if not logger.handlers:
                logger.handlers = list(self.log.access_log.handlers)
                logger.propagate = False
