"""What peers write, as it may stand in a log."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""`text`, with what is not printable escaped as in a Python string, such as `\n` or `\x1b`.

    A peer can then neither begin a line of its own nor send escape sequences to the terminal that shows the log.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
