"""Ending a `trio.SSLStream` without closing the connection below."""

from __future__ import annotations

import contextlib

import trio
from trio.lowlevel import checkpoint

from ._transport import Buffer

__all__ = ["send_close_notify"]


class _NothingMore(Exception):
    """TLS asked for bytes that are not there yet."""


class _SendOnly(trio.abc.Stream):
    """A stream below TLS that sends, and refuses to wait for bytes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: Buffer) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await checkpoint()
        raise _NothingMore

    async def aclose(self) -> None:
        await self._stream.aclose()


async def send_close_notify(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    """Send TLS's end of data, and leave the stream below open.

    OpenSSL refuses to send it while data that has arrived was not read, so that is read first. Then
    `unwrap` would wait for the peer's own close_notify.
    """
    below = stream.transport_stream
    stream.transport_stream = _SendOnly(below)
    try:
        with contextlib.suppress(_NothingMore):
            while await stream.receive_some():
                pass
        with contextlib.suppress(_NothingMore):
            await stream.unwrap()
    finally:
        stream.transport_stream = below
