"""Functions that are given as options, and decide about a handshake. They are plain: an async one gives no answer."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["check_answer", "check_plain"]


def check_plain(func: object, option: str) -> None:
    """Check a function, as far as that can be told without calling it.

    Raises:
      TypeError: it is an async one.
    """
    if inspect.iscoroutinefunction(func):
        raise TypeError(f"the function that is given as {option} must be a plain `def`, not an `async def`")


def check_answer(answer: Any, option: str) -> Any:
    """Return what a function has answered.

    Raises:
      TypeError: it is awaitable, which would always count as true.
    """
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # nobody is going to await it
        raise TypeError(f"the function that is given as {option} must be a plain `def`; its call returned {answer!r}")
    return answer
