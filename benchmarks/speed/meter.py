"""What an amount of work took: seconds on the clock, and of processor time on either side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BUSY", "Meter", "Sample"]

BUSY = 0.9  # the share of a processor from which a process is taken to be the limit


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
      operations: how many were done, and checked.
      seconds: how long they took.
      generator: seconds of processor time that the load generator took.
      server: and the server.
    """

    operations: int
    seconds: float
    generator: float
    server: float

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    @property
    def cost(self) -> float:
        """The server's processor time for one operation, in microseconds."""
        return self.server / self.operations * 1e6

    @property
    def generator_busy(self) -> float:
        return self.generator / self.seconds

    @property
    def server_busy(self) -> float:
        return self.server / self.seconds

    @property
    def generator_was_the_limit(self) -> bool:
        """Whether the server could have done more, had it been asked to."""
        return self.generator_busy > BUSY > self.server_busy


class Meter:
    """Measures from `start` to `stop`.

    Args:
      server_clock: the processor time of the server so far, in seconds.
    """

    def __init__(self, server_clock: Callable[[], float]) -> None:
        self._server_clock = server_clock
        self._begin = self._read()

    def start(self) -> None:
        self._begin = self._read()

    def stop(self, operations: int) -> Sample:
        seconds, generator, server = (end - begin for begin, end in zip(self._begin, self._read(), strict=True))
        return Sample(operations, seconds, generator, server)

    def _read(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self._server_clock()
