"""What every server answers, and with what it is given: the servers and the load generator know it from here."""

from __future__ import annotations

import random

__all__ = ["BODY", "BODY_LENGTH", "FIELDS", "MIB", "PIECE", "QUICK_SIZE", "SIZE", "block", "event", "pieces"]

MIB = 1024 * 1024
BODY = b"hello"  # the answer to GET /
FIELDS = [(f"x-field-{number:02}", f"the value of field number {number:02}") for number in range(20)]  # of GET /fields
SIZE, QUICK_SIZE = 100, 10  # MiB of a large body, and when it has to be quick
PIECE = 64 * 1024  # bytes of a download that are sent at a time, where it is sent in pieces
BODY_LENGTH = "body-length"  # the field of a 101 that tells how long the request's body was


def block() -> bytes:
    """A MiB, which the content of a download repeats."""
    return random.Random(0).randbytes(MIB)


def pieces(content: bytes) -> list[bytes]:
    """The content's first block, in the pieces that a download in pieces repeats."""
    return [content[start : start + PIECE] for start in range(0, MIB, PIECE)]


def event(number: int) -> bytes:
    """An event with its number; each is as long as every other."""
    return b"data: %010d\n\n" % number
