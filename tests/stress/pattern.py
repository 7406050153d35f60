"""Bytes that both ends can make by themselves, so that none can be lost, doubled or moved unseen."""

from __future__ import annotations

import random

__all__ = ["Pattern"]

PERIOD = 4093  # a prime: no buffer's size is a multiple of it


class Pattern:
    """An endless sequence of bytes that its name determines; each call goes on where the last one ended."""

    def __init__(self, name: str) -> None:
        self._block = random.Random(name).randbytes(PERIOD)
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self._at % PERIOD
        self._at += size
        return (self._block * ((start + size) // PERIOD + 1))[start : start + size]

    def matches(self, data: bytes | bytearray) -> bool:
        """`data` is what comes next."""
        return self.take(len(data)) == data
