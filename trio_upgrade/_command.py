"""The command line: a server named by its operator, and errors in one line each."""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from ._application import Application, ApplicationError, load
from ._inherited import inherited_listener, systemd_descriptors
from ._options import PROG, Options, parse
from ._program import run_to_the_end
from ._run import Announcer, serve_until_signalled
from ._server import Server

__all__ = ["main"]


class Failure(Exception):
    """The server cannot run here and now; the message says why, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status.

    An error of the application itself is raised: its traceback is what helps.
    """
    options = parse(arguments)
    try:
        serve(options)
    except (ApplicationError, Failure) as exc:
        print(f"{PROG}: {exc}", file=sys.stderr)
        return 2 if isinstance(exc, ApplicationError) else 1
    except KeyboardInterrupt:  # before it serves: while the application is imported
        return 128 + signal.SIGINT
    return 0


def serve(options: Options) -> None:
    """Serve as the options say.

    Raises:
      ApplicationError, Failure: the application is none, or it cannot be served.
    """
    inherited = inherit(options)
    context = load_certificate(options.certfile, options.keyfile) if options.certfile is not None else None
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where `python -m` looks
    application = load(options.application)
    configure_logging(options.log_level, options.access_log)
    listen = Listening(options, inherited, context)
    run_to_the_end(serve_until_signalled, opened(application, options.trusted_proxy), listen, options.grace)


def inherit(options: Options) -> list[trio.SocketListener]:
    """The listeners that another process has opened, before anything here takes a missing one's number.

    Raises:
      Failure: a descriptor is none of a listening socket.
    """
    if options.tcp or options.unix is not None:
        return []
    listeners = []
    for number in systemd_descriptors(os.environ) if options.fd is None else [options.fd]:
        try:
            listeners.append(inherited_listener(number))
        except OSError as exc:
            raise Failure(f"cannot listen on file descriptor {number}: {exc.strerror}") from exc
    return listeners


@asynccontextmanager
async def opened(application: Application, trusted_proxies: list[str] | None) -> AsyncIterator[Server]:
    """The application's server, with the proxies that are trusted here."""
    async with application.open() as server:
        if trusted_proxies is not None:
            server.trusted_proxies = trusted_proxies
        yield server


class Listening:
    """Serves where the options say."""

    def __init__(
        self, options: Options, inherited: Sequence[trio.SocketListener], ssl_context: ssl.SSLContext | None
    ) -> None:
        self._options = options
        self._inherited = inherited
        self._ssl_context = ssl_context
        self._announcer = Announcer("https" if ssl_context else "http")

    async def __call__(self, server: Server) -> None:
        try:
            await self._serve(server)
        except OSError as exc:
            if self._announcer.done:
                raise
            raise Failure(f"cannot listen on {self._place}: {exc.strerror or exc}") from exc

    async def _serve(self, server: Server) -> None:
        options, ssl_context, announcer = self._options, self._ssl_context, self._announcer
        port, host = options.tcp_port, options.tcp_host
        if self._inherited:
            await server.serve_listeners(self._inherited, ssl_context=ssl_context, task_status=announcer)
        elif options.unix is not None:
            await server.serve_unix(options.unix, task_status=announcer)
        elif ssl_context is not None:
            await server.serve_ssl_over_tcp(port, ssl_context, host=host, task_status=announcer)
        else:
            await server.serve_tcp(port, host=host, task_status=announcer)

    @property
    def _place(self) -> str:
        if self._options.unix is not None:
            return str(self._options.unix)
        return f"{self._options.tcp_host or 'every address'}, port {self._options.tcp_port}"


def load_certificate(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    """A context with the server's certificate.

    Raises:
      Failure: a file cannot be read, or they are no certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in filter(None, [certfile, keyfile]):
            with open(path, "rb"):
                pass  # for an error that names the file
        context.load_cert_chain(certfile, keyfile)
    except ssl.SSLError as exc:
        if keyfile is None:
            raise Failure(
                f"{certfile} holds no certificate with its private key (--keyfile names another file)"
            ) from exc
        raise Failure(f"{certfile} and {keyfile} hold no certificate and its private key") from exc
    except OSError as exc:
        raise Failure(f"cannot read the certificate: {exc.strerror}: {exc.filename}") from exc
    return context


def configure_logging(level: str | None, access_log: bool) -> None:
    """Log to standard error, unless the application has arranged it otherwise; the access log to standard output."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if level is not None:
        logging.getLogger().setLevel(level.upper())
    if access_log:
        logger = logging.getLogger("trio_upgrade.access")
        logger.setLevel(logging.INFO)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stdout))  # nothing but the line: analysers know it so
            logger.propagate = False
