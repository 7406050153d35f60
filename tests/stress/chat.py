"""The chat under load: people on two nodes, which share a Redis, say thousands of things."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from ..support.chat_nodes import talk
from ..support.redis import redis_server
from .promises import Promises

__all__ = ["run"]

PEOPLE = 4
EACH, QUICK_EACH = 5000, 1000  # messages


async def run(promises: Promises, quick: bool) -> None:
    count = QUICK_EACH if quick else EACH
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as redis:
        begin = trio.current_time()
        wrong = []
        try:
            async with talk(redis, PEOPLE, count):
                pass
        except* (AssertionError, trio.TooSlowError) as group:
            wrong = [repr(exc) for exc in group.exceptions]
        seconds = trio.current_time() - begin
    promises.check(
        f"{PEOPLE * count:,} messages arrive at each of {PEOPLE} people on two nodes once and in order",
        f"after {seconds:.1f} s, wrong: {wrong or 'none'}",
        not wrong,
    )
