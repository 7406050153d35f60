"""Contexts of TLS, and a client that can end its side alone."""

from __future__ import annotations

import contextlib
import ssl

import trio
import trustme
from trio.lowlevel import checkpoint

__all__ = ["HalfCloseableTls", "make_contexts"]

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("test.example")


def make_contexts(version: ssl.TLSVersion | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's; of one version of TLS, if one is given."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CERTIFICATE.configure_cert(server_context)
    client_context = ssl.create_default_context()
    AUTHORITY.configure_trust(client_context)
    if version is not None:
        server_context.minimum_version = server_context.maximum_version = version
    return server_context, client_context


class HalfCloseableTls(trio.abc.HalfCloseableStream):
    """A `trio.SSLStream` with `send_eof`, which sends close_notify and nothing else."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._has_ended = False

    def receive_some(self, max_bytes: int | None = None):  # type: ignore[no-untyped-def]
        return self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_ended:
            raise trio.ClosedResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self._has_ended:
            raise trio.ClosedResourceError
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        with self._stream._outer_send_conflict_detector:
            self._stream._check_status()
            await checkpoint()
            if not self._has_ended:
                self._has_ended = True
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._stream._ssl_object.unwrap()
                await self._stream.transport_stream.send_all(self._stream._outgoing.read())

    async def aclose(self) -> None:
        await self._stream.aclose()
