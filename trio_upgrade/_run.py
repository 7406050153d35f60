"""Running a server as a program: its address on the screen, and signals that end it in order."""

from __future__ import annotations

import signal
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from ._exceptions import flatten
from ._server import Server

__all__ = ["run"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    server: Server,
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
      server: what to serve.
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
    if not isinstance(server, Server):
        raise TypeError(f"run takes a trio_upgrade.Server, not {server!r}: run(Server(on_request))?")
    try:
        trio.run(_serve_until_signalled, server, port, host, ssl_context, grace, on_listening or _print_urls)
    except BaseExceptionGroup as group:
        leaves = flatten(group)
        if len(leaves) == 1:  # a taken port is a plain OSError
            raise leaves[0] from leaves[0].__cause__
        raise


async def _serve_until_signalled(
    server: Server,
    port: int,
    host: str | None,
    ssl_context: ssl.SSLContext | None,
    grace: float,
    on_listening: Callable[[list[str]], None],
) -> None:
    announcer = _Announcer("https" if ssl_context else "http", on_listening)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, server, signals, grace, nursery)
            if ssl_context is None:
                await server.serve_tcp(port, host=host, task_status=announcer)
            else:
                await server.serve_ssl_over_tcp(port, ssl_context, host=host, task_status=announcer)
            nursery.cancel_scope.cancel()


async def _stop_on_signal(server: Server, signals: AsyncIterator[int], grace: float, nursery: trio.Nursery) -> None:
    await anext(signals)
    print(f"Shutting down, within {grace:g} seconds (again to stop at once)", flush=True)
    nursery.start_soon(server.shutdown, grace)
    await anext(signals)
    nursery.cancel_scope.cancel()


class _Announcer(trio.TaskStatus[Any]):
    """Tells the addresses when the server listens on them."""

    def __init__(self, scheme: str, on_listening: Callable[[list[str]], None]) -> None:
        self._scheme = scheme
        self._on_listening = on_listening

    def started(self, value: Any = None) -> None:
        self._on_listening([self._url(getattr(listener, "transport_listener", listener)) for listener in value])

    def _url(self, listener: trio.SocketListener) -> str:
        host, port = listener.socket.getsockname()[:2]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _print_urls(urls: list[str]) -> None:
    for url in urls:
        print(f"Serving on {url} (Ctrl-C to stop)", flush=True)
