"""What a given object is: an ASGI application, or something that is often taken for one."""

from __future__ import annotations

import inspect
from enum import Enum

__all__ = ["Kind", "check_application", "kind_of", "takes_scope"]


class Kind(Enum):
    """What kind of application an object is, by its signature. The value says why it cannot be served."""

    ASGI = ""
    ASGI_2 = "it is an ASGI 2 application: `asgiref.compatibility.guarantee_single_callable` makes one of ASGI 3 of it"
    WSGI = "it is a WSGI application: serve it with gunicorn itself, or with Hypercorn"
    OTHER = "an ASGI 3 application is an async function of a scope, receive and send"


def kind_of(target: object) -> Kind:
    """Tell what an object is by its signature. Something that takes any arguments is not taken for an application."""
    if not callable(target):
        return Kind.OTHER
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return Kind.OTHER
    fits = [takes(signature, count) for count in range(4)]
    is_async = inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)
    if fits[3] and not fits[0]:
        return Kind.ASGI
    if fits[2] and not fits[0] and not is_async and not inspect.isclass(target):
        return Kind.WSGI
    if fits[1] and not fits[0] and not is_async and is_double(target, signature):
        return Kind.ASGI_2
    return Kind.OTHER


def check_application(app: object) -> None:
    """Refuse what cannot be an ASGI 3 application.

    Raises:
      TypeError: it cannot.
    """
    if not callable(app):
        raise TypeError(f"{app!r} is no ASGI application: {Kind.OTHER.value}")
    kind = kind_of(app)
    if kind in (Kind.WSGI, Kind.ASGI_2):
        raise TypeError(f"{app!r} is no ASGI 3 application: {kind.value}")
    if not takes_scope(app):
        raise TypeError(f"{app!r} is no ASGI application: {Kind.OTHER.value}")


def takes_scope(target: object) -> bool:
    """Whether it may be called as an ASGI 3 application, as far as its signature tells."""
    if not callable(target):
        return False
    try:
        return takes(inspect.signature(target), 3)
    except (TypeError, ValueError):
        return True


def takes(signature: inspect.Signature, count: int) -> bool:
    """Whether it takes so many positional arguments."""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_double(target: object, signature: inspect.Signature) -> bool:
    """Whether it takes a scope, and gives what takes receive and send: a class, or a function of a `scope`."""
    if inspect.isclass(target):
        return "__call__" in dir(target) and inspect.isfunction(target.__call__)
    return list(signature.parameters)[:1] == ["scope"]
