"""A nursery whose errors read like those of a plain function."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ._exceptions import flatten

__all__ = ["open_plain_nursery"]


@asynccontextmanager
async def open_plain_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that raises a single exception as it is, such as an OSError for a port that is taken."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        leaves = flatten(group)
        if len(leaves) > 1:
            raise
        raise leaves[0] from leaves[0].__cause__
