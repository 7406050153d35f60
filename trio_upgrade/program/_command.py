"""The command line's main function: it serves what the operator has named, and says in one line why it cannot."""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from .._server import Server
from ..asgi import StartupFailed
from ._addresses import addresses_of, print_addresses
from ._arguments import PROG, Arguments, parse_arguments
from ._importer import Application, ApplicationError, import_application
from ._inherited_sockets import inherited_listener, systemd_descriptors
from ._signals import serve_until_signalled

__all__ = ["main"]


class CannotServe(Exception):
    """The server cannot run here and now. The message says why, in one line."""


def main(command_line: Sequence[str] | None = None) -> int:
    """Do what the command line says, by default this process's own. Returns the exit status.

    What the application itself raises is not caught: its traceback is what helps.
    """
    arguments = parse_arguments(command_line)
    try:
        serve(arguments)
    except ApplicationError as exc:
        print(f"{PROG}: {exc}", file=sys.stderr)
        return 2
    except CannotServe as exc:
        print(f"{PROG}: {exc}", file=sys.stderr)
        return 1
    except StartupFailed as exc:
        print(f"{PROG}: the application cannot start: {exc}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:  # Ctrl-C while the application is imported; later it shuts the server down
        return 128 + signal.SIGINT
    return 0


def serve(arguments: Arguments) -> None:
    """Serve as the arguments say, until a signal stops it.

    Raises:
      ApplicationError: the application is not a server, nor does it give one.
      CannotServe: a socket or a certificate cannot be used.
    """
    # This comes first: a file that is opened here could take the number of a descriptor that does not exist.
    inherited = inherited_listeners(arguments)
    ssl_context = None if arguments.certfile is None else load_certificate(arguments.certfile, arguments.keyfile)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where `python -m` looks
    application = import_application(arguments.application, is_asgi=arguments.asgi, root_path=arguments.root_path)
    configure_logging(arguments.log_level, arguments.access_log)

    async def start(server: Server, nursery: trio.Nursery) -> None:
        try:
            listeners = await nursery.start(serve_function(server, arguments, inherited, ssl_context))
        except OSError as exc:
            raise CannotServe(f"cannot listen on {place_of(arguments)}: {exc.strerror or exc}") from exc
        print_addresses(addresses_of(listeners))

    trio.run(serve_until_signalled, open_server(application, arguments.trusted_proxy), start, arguments.grace)


def inherited_listeners(arguments: Arguments) -> list[trio.SocketListener]:
    """Return listeners on the sockets that another process has opened; none if the arguments name another place.

    Raises:
      CannotServe: a descriptor is not that of a listening socket.
    """
    if arguments.has_tcp or arguments.unix is not None:
        return []
    listeners = []
    for number in systemd_descriptors(os.environ) if arguments.fd is None else [arguments.fd]:
        try:
            listeners.append(inherited_listener(number))
        except OSError as exc:
            raise CannotServe(f"cannot listen on file descriptor {number}: {exc.strerror}") from exc
    return listeners


def load_certificate(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    """Return a context with the server's certificate.

    Raises:
      CannotServe: a file cannot be read, or they do not hold a certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in filter(None, [certfile, keyfile]):
            with open(path, "rb"):
                pass  # for an error that names the file
        context.load_cert_chain(certfile, keyfile)
    except ssl.SSLError as exc:
        if keyfile is None:
            raise CannotServe(
                f"{certfile} does not hold a certificate and its private key (--keyfile names another file)"
            ) from exc
        raise CannotServe(f"{certfile} and {keyfile} do not hold a certificate and its private key") from exc
    except OSError as exc:
        raise CannotServe(f"cannot read the certificate: {exc.strerror}: {exc.filename}") from exc
    return context


def configure_logging(level: str | None, access_log: bool) -> None:
    """Log to standard error, unless the application has configured logging; the access log to standard output."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if level is not None:
        logging.getLogger().setLevel(level.upper())
    if access_log:
        logger = logging.getLogger("trio_upgrade.access")
        logger.setLevel(logging.INFO)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stdout))  # the line alone, as log analysers expect it
            logger.propagate = False


@asynccontextmanager
async def open_server(application: Application, trusted_proxies: list[str] | None) -> AsyncIterator[Server]:
    """Give the application's server. The proxies that the command line names replace its own."""
    async with application.open() as server:
        if trusted_proxies is not None:
            server.trusted_proxies = trusted_proxies
        yield server


def serve_function(
    server: Server,
    arguments: Arguments,
    inherited: Sequence[trio.SocketListener],
    ssl_context: ssl.SSLContext | None,
) -> Callable[..., Awaitable[None]]:
    """Return what serves where the arguments say, for `nursery.start`."""
    if inherited:
        return partial(server.serve_listeners, inherited, ssl_context=ssl_context)
    if arguments.unix is not None:
        return partial(server.serve_unix, arguments.unix)
    if ssl_context is not None:
        return partial(server.serve_ssl_over_tcp, arguments.tcp_port, ssl_context, host=arguments.tcp_host)
    return partial(server.serve_tcp, arguments.tcp_port, host=arguments.tcp_host)


def place_of(arguments: Arguments) -> str:
    """What a message calls the place to listen on, where this process opens it."""
    if arguments.unix is not None:
        return arguments.unix
    return f"{arguments.tcp_host or 'every address'}, port {arguments.tcp_port}"
