"""Running a server as a program: its address on the screen, and signals that end it in order."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ._program import Stop, run_to_the_end, serve_until_stopped
from ._server import Server

__all__ = ["Announcer", "run", "serve_until_signalled"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    server: Server | AbstractAsyncContextManager[Server],
    port: int = 8000,
    *,
    host: str | None = "127.0.0.1",
    ssl_context: ssl.SSLContext | None = None,
    grace: float = 10,
    on_listening: Callable[[list[str]], None] | None = None,
) -> None:
    """Serve in a Trio of its own, until Ctrl-C or SIGTERM.

    The first SIGINT or SIGTERM shuts down gracefully, a second one at once.

    Args:
      server: what to serve, or an async context manager that gives it: what must run around the
        server is opened before the first connection, and closed after the last.
      port: 0 lets the kernel choose one.
      host: the address to listen on; None listens everywhere.
      ssl_context: serves TLS with it.
      grace: how many seconds a graceful shutdown may take.
      on_listening: called with the URLs it listens on, such as "http://127.0.0.1:8000", as soon as
        it does; by default they are printed.

    Raises:
      OSError: the port is taken, or the address is not this machine's.
      TypeError, ValueError: an argument is none of its kind.
    """
    if not isinstance(server, Server | AbstractAsyncContextManager):
        raise TypeError(f"run takes a trio_upgrade.Server, not {server!r}: run(Server(on_request))?")
    opened = contextlib.nullcontext(server) if isinstance(server, Server) else server
    announcer = Announcer("https" if ssl_context else "http", on_listening)

    async def serve(server: Server) -> None:
        if ssl_context is None:
            await server.serve_tcp(port, host=host, task_status=announcer)
        else:
            await server.serve_ssl_over_tcp(port, ssl_context, host=host, task_status=announcer)

    run_to_the_end(serve_until_signalled, opened, serve, grace)


async def serve_until_signalled(
    opened: AbstractAsyncContextManager[Server], serve: Callable[[Server], Awaitable[None]], grace: float
) -> None:
    """Serve until SIGINT or SIGTERM: the first shuts down gracefully, a second one at once."""

    async def watch(stop: Stop) -> None:
        await anext(signals)
        print(f"Shutting down, within {grace:g} seconds (again to stop at once)", flush=True)
        stop.gracefully(grace)
        await anext(signals)
        stop.at_once()

    with trio.open_signal_receiver(*SIGNALS) as signals:
        await serve_until_stopped(opened, serve, watch)


class Announcer(trio.TaskStatus[Any]):
    """Tells the addresses when the server listens on them.

    Args:
      scheme: "http" or "https".
      on_listening: called with the addresses; by default they are printed.

    Attributes:
      done: the server listens.
    """

    def __init__(self, scheme: str, on_listening: Callable[[list[str]], None] | None = None) -> None:
        self.done = False
        self._scheme = scheme
        self._on_listening = on_listening or _print_addresses

    def started(self, value: Any = None) -> None:
        self.done = True
        self._on_listening([self._address(getattr(listener, "transport_listener", listener)) for listener in value])

    def _address(self, listener: trio.SocketListener) -> str:
        name = listener.socket.getsockname()
        if not isinstance(name, tuple):
            return f"unix:{os.fsdecode(name)}".replace("\0", "@", 1)  # as in /proc/net/unix
        host, port = name[:2]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _print_addresses(addresses: list[str]) -> None:
    for address in addresses:
        print(f"Serving on {address} (Ctrl-C to stop)", flush=True)
