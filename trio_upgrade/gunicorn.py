"""Several processes under gunicorn, which supervises them: a worker that serves a `Server`.

    gunicorn -k trio_upgrade.gunicorn.TrioWorker -w 4 module:attribute

What is named is what the command line takes: a `Server`, or a function without arguments, plain,
async, or an async context manager, that gives one. It is opened in each worker.

An application that cannot work in several processes may refuse: the environment variable
`WEB_CONCURRENCY`, gunicorn's own name for it, is the number of workers when a worker imports and
opens it. Raising `SystemExit("why")` there ends gunicorn with that line, as it ends the command line.
(The number is that of gunicorn's configuration: a TTIN signal adds workers that it does not count.)
"""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import trio
from gunicorn.errors import AppImportError
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker

from ._application import Application, ApplicationError, load
from ._inherited import inherited_listener
from ._program import Stop, run_to_the_end, serve_until_stopped
from ._server import Server

__all__ = ["TrioWorker"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # that end a worker
HEARTBEAT = 1.0  # seconds, at most, between the signs of life
GRACE = 0.9  # of gunicorn's graceful_timeout: the rest is for closing the application, before gunicorn kills
OTHERS = 5.0  # seconds that a worker with no application waits for gunicorn to end
PROXIES = ["127.0.0.1", "::1"]  # gunicorn's forwarded_allow_ips, where nobody sets it
EVERY_NETWORK = ["0.0.0.0/0", "::/0"]


class TrioWorker(Worker):
    """A gunicorn worker that runs Trio.

    SIGTERM, which gunicorn sends to end or replace a worker, shuts the server down: upgraded
    connections say their goodbyes, and what is left after nine tenths of `graceful_timeout` is
    cancelled. So does the end of gunicorn itself. SIGINT and SIGQUIT cancel everything at once. A
    worker that stops running its tasks for `timeout` seconds logs where it is stuck, and is replaced.
    One whose application cannot be opened stops gunicorn, as one that cannot be imported does.

    Of gunicorn's settings these matter: what is about processes, sockets, TLS (`certfile`, `keyfile`
    and their like, `ssl_context`) and logs; `timeout`, `graceful_timeout` and `max_requests`; and
    `forwarded_allow_ips`, if it is set, in place of the server's own `trusted_proxies`. Limits of
    connections and of HTTP are those of `trio_upgrade.Limits`. The loggers `trio_upgrade` and
    `trio_upgrade.access` write to gunicorn's error log and access log, unless the application has
    configured logging.
    """

    application: Application
    _leaving = False

    def load_wsgi(self) -> None:
        """Import the application."""
        os.environ["WEB_CONCURRENCY"] = str(self.cfg.workers)
        name = getattr(self.app, "app_uri", None)
        if name is None:  # a program that embeds gunicorn loads it by itself
            self.application = Application("the application", self.app.wsgi())
            return
        with self._refusals_end_gunicorn():
            self.application = load(name)

    def init_signals(self) -> None:
        """Install gunicorn's handlers, for the time until Trio runs, and leave the wakeup to Trio."""
        super().init_signals()
        signal.set_wakeup_fd(-1)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """gunicorn misses the signs of life: say where it is stuck, and end."""
        self.log.critical("worker is stuck here:\n%s", "".join(traceback.format_stack(frame)).rstrip())
        super().handle_abort(sig, frame)

    def run(self) -> None:
        """Serve, until gunicorn says otherwise."""
        self.booted = False  # an error before it listens is one that the next worker would have, too
        self._configure_logging()
        self.notify()  # from now on gunicorn sees whether it is stuck
        try:
            with self._refusals_end_gunicorn():
                run_to_the_end(self._serve_until_signalled)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # it ends already; gunicorn may say so twice

    @contextmanager
    def _refusals_end_gunicorn(self) -> Iterator[None]:
        """Turn what says in one line why nothing is served into what ends gunicorn, not this worker alone."""
        try:
            yield
        except ApplicationError as exc:
            raise self._refusal(str(exc)) from exc
        except SystemExit as exc:
            if self.booted or not isinstance(exc.code, str):  # a number is how gunicorn's handlers of signals end it
                raise
            raise self._refusal(exc.code) from exc

    def _refusal(self, why: str) -> BaseException:
        """What ends gunicorn with this line. One worker says it for all: gunicorn stumbles over a second one."""
        if self.age % self.cfg.workers == 1 % self.cfg.workers:  # the first of those that were started together
            return AppImportError(why)
        until = time.monotonic() + OTHERS
        while self.alive and time.monotonic() < until:
            time.sleep(0.05)
        return SystemExit(0)

    async def _serve_until_signalled(self) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:

            async def watch(stop: Stop) -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._live, stop)
                    async for number in signals:
                        if number == signal.SIGTERM:
                            self._leave(stop)
                        else:
                            self.cfg.worker_int(self)
                            stop.at_once()

            await serve_until_stopped(self._open(), self._serve, watch)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Server]:
        async with self.application.open() as server:
            proxies = self.cfg.forwarded_allow_ips
            if proxies != PROXIES:
                # Who comes through a Unix socket is a proxy for gunicorn's other workers, too.
                server.trusted_proxies = [*(EVERY_NETWORK if "*" in proxies else proxies), "unix"]
            yield server

    async def _serve(self, server: Server) -> None:
        context = ssl_context(self.cfg) if self.cfg.is_ssl else None
        listeners = [inherited_listener(socket.detach()) for socket in self.sockets]
        await server.serve_listeners(listeners, ssl_context=context, task_status=Booted(self))

    async def _live(self, stop: Stop) -> None:
        """Give signs of life, and see whether it is time to leave."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("gunicorn is gone; worker leaves")
                self.alive = False
            if self.cfg.max_requests and stop.server and stop.server.statistics().requests >= self.max_requests:
                self.log.info("worker has had its %d requests, and leaves", self.max_requests)
                self.alive = False
            if not self.alive:  # or gunicorn's reloader says so, or a SIGTERM that came before Trio ran
                self._leave(stop)
            await trio.sleep(min(HEARTBEAT, self.timeout / 2 or HEARTBEAT))

    def _leave(self, stop: Stop) -> None:
        """Shut down; gunicorn may repeat its SIGTERM."""
        self.alive = False
        if not self._leaving:
            self._leaving = True
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


class Booted(trio.TaskStatus[Any]):
    """Notes that the worker listens."""

    def __init__(self, worker: TrioWorker) -> None:
        self._worker = worker

    def started(self, value: Any = None) -> None:
        self._worker.booted = True
