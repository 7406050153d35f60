"""What an operator names as `module:attribute`, and the server that it is or gives.

It knows nothing of where the server will listen.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import operator
import reprlib
from collections.abc import AsyncIterator, Callable

from ._server import Server

__all__ = ["Application", "ApplicationError", "load"]


class ApplicationError(Exception):
    """What was named gives no server; the message says why, in one line."""


class Application:
    """A `Server`, or what gives one.

    Args:
      name: what messages call it.
      target: a `Server`; an async context manager that gives one; or a function without arguments,
        plain or async, that gives either.
    """

    def __init__(self, name: str, target: object) -> None:
        self.name = name
        self._target = target

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        """The server, for as long as the block, with what runs around it.

        Raises:
          ApplicationError: there is no server. Whatever the application itself raises passes.
        """
        given = self._target
        if callable(given) and not isinstance(given, contextlib.AbstractAsyncContextManager):
            given = self._called(given)
            if inspect.isawaitable(given):
                given = await given
        if isinstance(given, contextlib.AbstractAsyncContextManager):
            async with given as entered:
                yield self._checked(entered)
        else:
            yield self._checked(given)

    def _called(self, function: Callable[..., object]) -> object:
        try:
            with contextlib.suppress(ValueError):  # some of those written in C have no signature
                inspect.signature(function).bind()
        except TypeError as exc:
            raise ApplicationError(f"{self.name} takes arguments; what gives a Server takes none") from exc
        return function()

    def _checked(self, given: object) -> Server:
        if isinstance(given, Server):
            return given
        if inspect.isasyncgen(given):
            raise ApplicationError(f"{self.name} is an async generator: it lacks @contextlib.asynccontextmanager")
        verb = "is" if given is self._target else "gives"
        raise ApplicationError(f"{self.name} {verb} no trio_upgrade.Server, but {reprlib.repr(given)}")


def load(name: str) -> Application:
    """Import what is named as `module:attribute`, such as "package.module:server".

    Raises:
      ApplicationError: the name has another form, or there is nothing of that name. What the module
        raises when it is imported passes.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise ApplicationError(f"{name!r} is not of the form module:attribute, such as package.module:server")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # the module is there, and misses another one
        raise ApplicationError(f"there is no module {exc.name}") from exc
    try:
        target = operator.attrgetter(path)(module)
    except AttributeError as exc:
        raise ApplicationError(f"the module {module_name} has no {path}") from exc
    return Application(name, target)
