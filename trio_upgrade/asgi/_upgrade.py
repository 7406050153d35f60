"""Taking over the connection of a request, which ASGI itself does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._headers import FieldsArgument
from .._upgraded_stream import UpgradedStream
from ._scope import UPGRADE

__all__ = ["upgrade"]


async def upgrade(
    scope: Mapping[str, Any], protocol: str | None = None, headers: FieldsArgument = ()
) -> UpgradedStream:
    """Take over the connection of a request: send the 101 (Switching Protocols), or on CONNECT a bare 200.

    For use in an endpoint of scope "http". The request's body is received first, as ever. The stream is the
    application's until it returns::

        async def shout(request: starlette.requests.Request) -> None:
            stream = await asgi.upgrade(request.scope, "shout/1")
            async for data in stream:
                await stream.send_all(data.upper())

    Args:
      scope: of the request.
      protocol: one of those that the client offers, in any case; None for the first. It must be None on CONNECT.
      headers: fields of the response, as for `Request.accept`.

    Returns:
      The stream, a `trio.abc.HalfCloseableStream`. It is closed when the application returns.

    Raises:
      RuntimeError: the request asks for no upgrade, this is another server, or a response was begun.
      ValueError: the client does not offer `protocol`, or a field cannot be sent.
      OSError: the client is gone.
      trio.BrokenResourceError: the connection broke.

    If it is cancelled, either nothing was sent and it may be called again, or the connection is broken.
    """
    extension = scope.get("extensions", {}).get(UPGRADE)
    if extension is None:
        raise RuntimeError("this request asks for no upgrade, or trio_upgrade.asgi does not serve it")
    stream: UpgradedStream = await extension["accept"](protocol, headers)
    return stream
