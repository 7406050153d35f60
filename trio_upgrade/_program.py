"""A server as a process: opened with what runs around it, served until it is told to stop, closed.

It knows nothing of where that word comes from: signals of a terminal, or of a supervisor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ._exceptions import flatten
from ._server import Server

__all__ = ["Stop", "run_to_the_end", "serve_until_stopped"]


class Stop:
    """Ends a server that `serve_until_stopped` serves."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.server: Server | None = None

    def gracefully(self, grace: float) -> None:
        """Shut the server down, within `grace` seconds; while it is still being opened, stop at once."""
        if self.server is None:
            self.at_once()
        else:
            self._nursery.start_soon(self.server.shutdown, grace)

    def at_once(self) -> None:
        """Cancel the connections, and what runs around the server."""
        self._nursery.cancel_scope.cancel()


async def serve_until_stopped(
    opened: AbstractAsyncContextManager[Server],
    serve: Callable[[Server], Awaitable[None]],
    watch: Callable[[Stop], Awaitable[None]],
) -> None:
    """Serve a server from before its first connection until after its last.

    Args:
      opened: gives the server; what it has around it is closed after the last connection.
      serve: serves it, until it is shut down. It calls a `serve_*` before it waits for anything
        else, so that no shutdown comes too early.
      watch: runs beside all of it, and stops it.
    """
    async with trio.open_nursery() as nursery:
        stop = Stop(nursery)
        nursery.start_soon(watch, stop)
        async with opened as stop.server:
            await serve(stop.server)
        nursery.cancel_scope.cancel()


def run_to_the_end(main: Callable[..., Awaitable[None]], *args: Any) -> None:
    """`trio.run`, with what a single task raised as a plain exception, such as an OSError for a taken port."""
    try:
        trio.run(main, *args)
    except BaseExceptionGroup as group:
        leaves = flatten(group)
        if len(leaves) == 1:
            raise leaves[0] from leaves[0].__cause__
        raise
