"""A TLS transport on one end of a socket pair, and a client that makes its own records on the other."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from trio_upgrade._socket_transport import SocketTransport
from trio_upgrade._tls_transport import TlsTransport

from .tls_client import make_contexts
from .tls_records import RecordClient, Records

__all__ = ["Pair", "logging_contexts", "tls_pair"]


def logging_contexts(folder: Path, version: ssl.TLSVersion | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of which the client's logs its keys."""
    contexts = make_contexts(version)
    contexts[1].keylog_filename = str(folder / "keys")
    return contexts


class Pair:
    """Both ends.

    Attributes:
      transport: the server's end.
      socket: the client's end.
      client: the client's state of TLS.
      received: the data that the client has received.
    """

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], nursery: trio.Nursery) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
        self.transport = TlsTransport(SocketTransport(ours), contexts[0], nursery)
        self.socket = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        self.client = RecordClient(contexts[1])
        self.received = bytearray()
        self._records: Records | None = None

    @property
    def records(self) -> Records:
        """What makes the client's own records, with TLS 1.3; after that, `send` cannot be used."""
        if self._records is None:
            self._records = self.client.records()
        return self._records

    async def start(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.start, 10)
            await self.client.connect(self.socket)

    async def send(self, data: bytes) -> None:
        """Send data as `ssl` does."""
        await self.socket.send_all(self.client.encrypt(data))

    async def receive(self, size: int) -> bytes:
        """Receive so much data."""
        while len(self.received) < size:
            arrived = await self.socket.receive_some()
            if not arrived:
                raise AssertionError(f"the end after {len(self.received)} bytes")
            self.received += self.client.decrypt(bytes(arrived))
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def receive_rest(self) -> bytes:
        """Receive data to the end."""
        while arrived := await self.socket.receive_some():
            self.received += self.client.decrypt(bytes(arrived))
        return bytes(self.received)


@asynccontextmanager
async def tls_pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Pair]:
    """A pair whose handshake is done. At the end, the transport has no task that still sends."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            pair = Pair(contexts, nursery)
            try:
                await pair.start()
                yield pair
            finally:
                await pair.transport.abort()
                await trio.aclose_forcefully(pair.socket)
