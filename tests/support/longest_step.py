"""How long a task holds up the others, at most."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class LongestStep(trio.abc.Instrument):
    """How much processor time, in seconds, some task took between two checkpoints at most."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begin = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begin = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seconds = max(self.seconds, time.thread_time() - self._begin)


@contextmanager
def longest_step() -> Iterator[LongestStep]:
    instrument = LongestStep()
    trio.lowlevel.add_instrument(instrument)
    gc.disable()  # a collection is of all the garbage that there is
    try:
        yield instrument
    finally:
        gc.enable()
        trio.lowlevel.remove_instrument(instrument)
