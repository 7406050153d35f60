"""Serving until a signal comes, and the order in which a program then stops.

What runs around the server is opened first and closed last. This module does not know where the
server listens: its callers start it.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import trio

from .._nurseries import open_plain_nursery
from .._server import Server

__all__ = ["Stop", "serve_until_signalled", "serve_until_stopped"]


class Stop:
    """Stops a program: gracefully once the server serves, at once before that.

    It does not know why the program should stop.

    Attributes:
      server: the server; None until it serves.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.server: Server | None = None
        self._nursery = nursery

    def gracefully(self, grace: float) -> None:
        """Shut the server down within `grace` seconds. A later call can only shorten the time.

        Before it serves, no connection can have been accepted: then stop at once.
        """
        if self.server is None:
            self.at_once()
        else:
            self._nursery.start_soon(self.server.shutdown, grace)

    def at_once(self) -> None:
        """Cancel the connections, and what runs around the server."""
        self._nursery.cancel_scope.cancel()


Start: TypeAlias = Callable[[Server, trio.Nursery], Awaitable[None]]
Watch: TypeAlias = Callable[[AsyncIterator[int], Stop], Awaitable[None]]


async def serve_until_stopped(
    opened: AbstractAsyncContextManager[Server], start: Start, watch: Watch, signals: Iterable[int]
) -> None:
    """Serve until the server has been shut down, or everything has been cancelled.

    Args:
      opened: gives the server. It is entered before the first connection, and left after the last.
      start: starts a `serve_*` of the server by `nursery.start`. It waits for nothing else after
        that, since a server that serves is to be shut down, not cancelled.
      watch: gets the signals as they arrive, and decides when to stop. It runs in a task of its
        own, from before the server is opened until the end.
      signals: the numbers of the signals that `watch` gets.

    Raises:
      BaseException: what the arguments or the server raised; a single exception as it is, not in a group.
    """
    with trio.open_signal_receiver(*signals) as received:
        async with open_plain_nursery() as nursery:
            stop = Stop(nursery)
            nursery.start_soon(watch, received, stop)
            async with opened as server:
                async with open_plain_nursery() as connections:
                    await start(server, connections)
                    stop.server = server
            nursery.cancel_scope.cancel()  # `watch` has nothing left to stop


async def serve_until_signalled(opened: AbstractAsyncContextManager[Server], start: Start, grace: float) -> None:
    """Serve until SIGINT or SIGTERM: the first shuts down gracefully, the second stops at once.

    Args and Raises:
      As for `serve_until_stopped`; `grace` is how many seconds the graceful shutdown may take.
    """

    async def watch(signals: AsyncIterator[int], stop: Stop) -> None:
        await anext(signals)
        print(f"Shutting down, within {grace:g} seconds (again to stop at once)", flush=True)
        stop.gracefully(grace)
        await anext(signals)
        stop.at_once()

    await serve_until_stopped(opened, start, watch, (signal.SIGINT, signal.SIGTERM))
