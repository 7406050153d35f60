"""Running a server as a program: its address on the screen, and signals that end it in order."""

from __future__ import annotations

import signal
import ssl
from collections.abc import AsyncIterator
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
) -> None:
    """Serve in a Trio of its own, until Ctrl-C or SIGTERM.

    Prints the address. The first SIGINT or SIGTERM shuts down gracefully, a second one at once.

    Args:
      server: what to serve.
      port: 0 lets the kernel choose one.
      host: the address to listen on; None listens everywhere.
      ssl_context: serves TLS with it.
      grace: how many seconds a graceful shutdown may take.

    Raises:
      OSError: the port is taken, or the address is not this machine's.
    """
    try:
        trio.run(_serve_until_signalled, server, port, host, ssl_context, grace)
    except BaseExceptionGroup as group:
        leaves = flatten(group)
        if len(leaves) == 1:  # a taken port is a plain OSError
            raise leaves[0] from None
        raise


async def _serve_until_signalled(
    server: Server, port: int, host: str | None, ssl_context: ssl.SSLContext | None, grace: float
) -> None:
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, server, signals, grace, nursery)
            if ssl_context is None:
                await server.serve_tcp(port, host=host, task_status=_Announcer("http"))
            else:
                await server.serve_ssl_over_tcp(port, ssl_context, host=host, task_status=_Announcer("https"))
            nursery.cancel_scope.cancel()


async def _stop_on_signal(server: Server, signals: AsyncIterator[int], grace: float, nursery: trio.Nursery) -> None:
    await anext(signals)
    print(f"Shutting down, within {grace:g} seconds (again to stop at once)", flush=True)
    nursery.start_soon(server.shutdown, grace)
    await anext(signals)
    nursery.cancel_scope.cancel()


class _Announcer(trio.TaskStatus[Any]):
    """Prints the addresses when the server listens on them."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def started(self, value: Any = None) -> None:
        for listener in value:
            socket = getattr(listener, "transport_listener", listener).socket
            host, port = socket.getsockname()[:2]
            if ":" in host:
                host = f"[{host}]"
            print(f"Serving on {self._scheme}://{host}:{port} (Ctrl-C to stop)", flush=True)
