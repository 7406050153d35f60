"""The body of a request, as its handler reads it."""

from __future__ import annotations

import operator

import trio
from trio.lowlevel import checkpoint

from ._request_body import IncomingBody
from ._transport import RECEIVE_SIZE

__all__ = ["Body"]


class Body(trio.abc.ReceiveStream):
    """The body of a request, without its framing.

    Reading sends the 100 (Continue) first if the client waits for one. Reading may go on while the
    response is sent. If a handler leaves some of it unread, the server discards that.
    """

    __slots__ = ("_incoming",)

    def __init__(self, incoming: IncomingBody) -> None:
        self._incoming = incoming

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the next part of the body.

        Args:
          max_bytes: how many bytes it may have; None for as many as have arrived, up to 96 KiB.

        Returns:
          b"" at the end, and at every call after that.

        Raises:
          ProtocolError: the body is malformed, was cut off, or did not arrive within
            `Limits.request_timeout`. Every later call raises it, too.
          BodyTooLarge: it is longer than `Limits.max_body_size`.
          trio.ClosedResourceError: it was closed, its request was answered, or it was discarded
            because the upgraded stream was read.
          trio.BusyResourceError: another task reads the body or the upgraded stream.

        Cancelled, it has taken no byte.
        """
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        return await self._incoming.receive(max_bytes)

    async def read(self, *, limit: int = 2**20) -> bytes:
        """Read the body to its end.

        Args:
          limit: how many bytes it may have, by default 1 MiB.

        Raises:
          BodyTooLarge: it has more. If you don't catch it, the client gets a 413.
          ProtocolError, trio.ClosedResourceError, trio.BusyResourceError: see `receive_some`.

        Cancelled, it loses what it has read so far.
        """
        if self._incoming.length_left > limit:
            await checkpoint()
            raise self._incoming.too_large(limit)
        parts = []
        size = 0
        while part := await self._incoming.receive(RECEIVE_SIZE):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise self._incoming.too_large(limit)
            if self._incoming.has_ended:
                break
        return b"".join(parts)

    @property
    def has_ended(self) -> bool:
        """All of it was received, so the next `receive_some` gives b"".

        It is True as soon as the last byte is known to be the last one: with a Content-Length at once,
        with chunks mostly.
        """
        return self._incoming.has_ended

    async def aclose(self) -> None:
        """Read no more of the body. The server discards the rest of it."""
        self._incoming.close()
        await checkpoint()
