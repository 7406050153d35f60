"""Importing what an operator names as `module:attribute`, and getting the server from it.

It does not know where the server will listen.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import operator
import reprlib
from collections.abc import AsyncIterator, Callable

from .._server import Server

__all__ = ["Application", "ApplicationError", "import_application"]


class ApplicationError(Exception):
    """The operator has not named a server, nor anything that gives one. The message says why, in one line."""


class Application:
    """A `Server`, or something that gives one.

    Args:
      name: what error messages call it.
      target: a `Server`; an async context manager that gives one; or a function, plain or async,
        that gives either and needs no arguments.
    """

    def __init__(self, name: str, target: object) -> None:
        self.name = name
        self._target = target

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        """Give the server. What runs around it is open for as long as the block.

        Raises:
          ApplicationError: there is no server.
          BaseException: what the application itself raised.
        """
        given = self._target
        if callable(given) and not isinstance(given, contextlib.AbstractAsyncContextManager):
            given = self._call(given)
            if inspect.isawaitable(given):
                given = await given
        if isinstance(given, contextlib.AbstractAsyncContextManager):
            async with given as entered:
                yield self._check(entered)
        else:
            yield self._check(given)

    def _call(self, function: Callable[..., object]) -> object:
        try:
            with contextlib.suppress(ValueError):  # some functions written in C have no signature
                inspect.signature(function).bind()
        except TypeError as exc:
            raise ApplicationError(
                f"{self.name} takes arguments; a function that gives a trio_upgrade.Server takes none"
            ) from exc
        return function()

    def _check(self, given: object) -> Server:
        if isinstance(given, Server):
            return given
        if inspect.isasyncgen(given):
            raise ApplicationError(f"{self.name} is an async generator: it lacks @contextlib.asynccontextmanager")
        verb = "is" if given is self._target else "gives"
        raise ApplicationError(f"{self.name} {verb} {reprlib.repr(given)}, not a trio_upgrade.Server")


def import_application(name: str) -> Application:
    """Import what is named as `module:attribute`, such as "package.module:server".

    Raises:
      ApplicationError: the name does not have this form, or the module or the attribute does not exist.
      BaseException: what the module raised while it was imported.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise ApplicationError(f"{name!r} is not of the form module:attribute, such as package.module:server")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # the module exists, but it imports another one that does not
        raise ApplicationError(f"there is no module {exc.name}") from exc
    try:
        target = operator.attrgetter(path)(module)
    except AttributeError as exc:
        raise ApplicationError(f"the module {module_name} has no {path}") from exc
    return Application(name, target)
