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
from typing import Any

from .. import asgi
from .._server import Server
from ..asgi._applications import Kind, kind_of, takes_scope

__all__ = ["Application", "ApplicationError", "import_application"]


class ApplicationError(Exception):
    """The operator has named no server and no ASGI application, nor what gives one. The message says why."""


class Application:
    """A `Server`, an ASGI application, or something that gives one of them.

    Args:
      name: what error messages call it.
      target: a `Server`; an ASGI application; an async context manager that gives a `Server`; or a function,
        plain or async, that gives one of these and needs no arguments.
      is_asgi: the target is an ASGI application, or gives one, even if its signature does not tell.
      root_path: of an ASGI application.
    """

    def __init__(self, name: str, target: object, *, is_asgi: bool = False, root_path: str = "") -> None:
        self.name = name
        self._target = target
        self._is_asgi = is_asgi
        self._root_path = root_path

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        """Give the server. What runs around it is open for as long as the block.

        Raises:
          ApplicationError: there is no server.
          StartupFailed: the ASGI application says that it cannot start.
          BaseException: what the application itself raised.
        """
        given = self._target
        is_manager = isinstance(given, contextlib.AbstractAsyncContextManager)
        if callable(given) and not is_manager and not self._is_application(given):
            given = self._call(given)
            if inspect.isawaitable(given):
                given = await given
        async with self._manager_of(given) as entered:
            yield self._check(entered)

    def _manager_of(self, given: Any) -> contextlib.AbstractAsyncContextManager[object]:
        """What to enter for the server."""
        if self._is_application(given):
            return asgi.server(given, root_path=self._root_path)
        if self._is_asgi:
            raise ApplicationError(f"{self._subject(given)} {reprlib.repr(given)}, not an ASGI application")
        if isinstance(given, contextlib.AbstractAsyncContextManager):
            return given
        return contextlib.nullcontext(given)

    def _is_application(self, given: object) -> bool:
        return kind_of(given) is Kind.ASGI or (self._is_asgi and takes_scope(given))

    def _call(self, function: Callable[..., object]) -> object:
        try:
            with contextlib.suppress(ValueError):  # some functions written in C have no signature
                inspect.signature(function).bind()
        except TypeError as exc:
            kind = kind_of(function)
            if kind is not Kind.OTHER or self._is_asgi:
                raise ApplicationError(f"{self.name} cannot be served: {kind.value}") from exc
            raise ApplicationError(
                f"{self.name} takes arguments; a function that gives a trio_upgrade.Server takes none"
            ) from exc
        return function()

    def _check(self, given: object) -> Server:
        if isinstance(given, Server):
            return given
        if inspect.isasyncgen(given):
            raise ApplicationError(f"{self.name} is an async generator: it lacks @contextlib.asynccontextmanager")
        if (kind := kind_of(given)) in (Kind.ASGI_2, Kind.WSGI):
            raise ApplicationError(f"{self.name} cannot be served: {kind.value}")
        raise ApplicationError(f"{self._subject(given)} {reprlib.repr(given)}, not a trio_upgrade.Server")

    def _subject(self, given: object) -> str:
        return f"{self.name} {'is' if given is self._target else 'gives'}"


def import_application(name: str, *, is_asgi: bool = False, root_path: str = "") -> Application:
    """Import what is named as `module:attribute`, such as "package.module:server".

    Args:
      is_asgi, root_path: see `Application`.

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
    return Application(name, target, is_asgi=is_asgi, root_path=root_path)
