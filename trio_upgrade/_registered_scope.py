"""A cancel scope that an event elsewhere cancels, such as a shutdown, or a client that leaves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

import trio

__all__ = ["RegisteredScope"]


class RegisteredScope(AbstractContextManager[trio.CancelScope]):
    """A cancel scope around a block, which is registered while the block runs.

    It is not a generator of `contextlib`, since that keeps the Cancelled that it ends: with Python 3.13 this is a
    reference cycle, with all that the block has held.

    Args:
      register: called with the scope when the block begins. It may cancel the scope.
      unregister: called with the scope when the block ends.
    """

    __slots__ = ("_register", "_scope", "_unregister")

    def __init__(
        self, register: Callable[[trio.CancelScope], object], unregister: Callable[[trio.CancelScope], object]
    ) -> None:
        self._register = register
        self._unregister = unregister
        self._scope = trio.CancelScope()

    def __enter__(self) -> trio.CancelScope:
        scope = self._scope.__enter__()
        self._register(scope)
        return scope

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._unregister(self._scope)
        return bool(self._scope.__exit__(kind, exc, traceback))
