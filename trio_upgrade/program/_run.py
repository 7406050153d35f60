"""`trio_upgrade.run`: a server with a Trio of its own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

import trio

from .._server import Server
from ._addresses import addresses_of, print_addresses
from ._signals import serve_until_signalled

__all__ = ["run"]


def run(
    server: Server | AbstractAsyncContextManager[Server],
    port: int = 8000,
    *,
    host: str | bytes | None = "127.0.0.1",
    ssl_context: ssl.SSLContext | None = None,
    grace: float = 10,
    on_listening: Callable[[list[str]], None] | None = None,
) -> None:
    """Serve in a Trio of its own, until Ctrl-C or SIGTERM.

    The first SIGINT or SIGTERM shuts down gracefully, and the second one stops at once. Either way
    `run` then returns. A signal that comes before the server listens stops at once, too.

    Call it in the main thread, outside of Trio. Inside Trio, use `Server.serve_tcp` and its like.

    Args:
      server: what to serve; or an async context manager that gives it, for what must run around
        the server. It is entered before the first connection, and left after the last.
      port: the TCP port, from 0 to 65535; 0 lets the kernel choose one.
      host: the address to listen on, by default this machine only; None listens on every address.
      ssl_context: if given, serves TLS with it; it must have the server's certificate.
      grace: how many seconds a graceful shutdown may take; what is left then is cancelled.
      on_listening: called once the server listens, with its addresses, such as
        "http://127.0.0.1:8000". By default they are printed.

    Raises:
      OSError: the port is taken, or the address does not belong to this machine.
      RuntimeError: it is called inside Trio, or not in the main thread.
      TypeError: an argument has the wrong type, or the context manager gives something other than
        a `Server`.
      ValueError: there is no such port, or `grace` is negative.
      BaseException: what the context manager or `on_listening` raised.
    """
    if not isinstance(server, Server | AbstractAsyncContextManager):
        raise TypeError(f"run takes a trio_upgrade.Server, not {server!r}: run(Server(on_request))?")
    _check_arguments(port, host, ssl_context, grace, on_listening)
    _check_caller()
    tell = print_addresses if on_listening is None else on_listening
    failure: OSError | None = None

    async def start(server: Server, nursery: trio.Nursery) -> None:
        if not isinstance(server, Server):
            raise TypeError(f"the context manager must give a trio_upgrade.Server, not {server!r}")
        if ssl_context is None:
            serve = partial(server.serve_tcp, port, host=host)
        else:
            serve = partial(server.serve_ssl_over_tcp, port, ssl_context, host=host)
        nonlocal failure
        try:
            listeners = await nursery.start(serve)
        except OSError as exc:
            failure = exc
            raise
        tell(addresses_of(listeners))

    opened = nullcontext(server) if isinstance(server, Server) else server
    try:
        trio.run(serve_until_signalled, opened, start, grace)
    except OSError as exc:
        if exc is not failure:
            raise
        raise exc.with_traceback(None) from None  # everybody meets it some day, and the last line says it all


def _check_caller() -> None:
    """Refuse what Trio would refuse, with a word of what to do instead.

    Raises:
      RuntimeError: the caller is inside Trio, or in a thread where no signal arrives.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "run starts a Trio of its own, so it is called outside of Trio. Inside, serve with "
            "`await server.serve_tcp(port)`, or in a nursery with `await nursery.start(server.serve_tcp, port)`"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run waits for signals, which arrive in the main thread, so it is called there. "
            "In another thread, serve with `trio.run(server.serve_tcp, port)`"
        )


def _check_arguments(port: object, host: object, ssl_context: object, grace: object, on_listening: object) -> None:
    """Refuse what would fail only later: once the server has been opened, or once it shuts down."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port!r}")
    if host is not None and not isinstance(host, str | bytes):
        raise TypeError(f"host must be a str or None, not {host!r}")
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {ssl_context!r}")
    if isinstance(grace, bool) or not isinstance(grace, int | float):
        raise TypeError(f"grace must be a number of seconds, not {grace!r}")
    if not grace >= 0:  # refuses NaN, too
        raise ValueError(f"grace must be 0 or more seconds, not {grace!r}")
    if on_listening is not None and not callable(on_listening):
        raise TypeError(f"on_listening must be a function, not {on_listening!r}")
