"""Clients that know, byte for byte, what is to come."""

from __future__ import annotations

import ssl

import trio

from ..support.client import Client, Reply, Wrong
from ..support.websocket_client import BINARY, CLOSE, CONTINUATION, PING, PONG, Peer, close, frame, shake
from .pattern import Pattern

__all__ = ["Messages", "PatternClient", "WrongByte", "connect", "connect_tls"]

HOST = "127.0.0.1"


class WrongByte(Wrong):
    """What came is not what was sent."""


class PatternClient(Client):
    """A client to which patterns are sent.

    Attributes:
      verified: bytes of patterns that came as they should.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.verified = 0

    def check(self, pattern: Pattern, data: bytes) -> None:
        """`data` is what comes next in the pattern."""
        if not pattern.matches(data):
            raise WrongByte("a byte is not what was sent")
        self.verified += len(data)

    async def pattern(self, pattern: Pattern, size: int) -> None:
        """The next bytes are the pattern's."""
        while size:
            data = await self.some(size)
            if not data:
                raise Wrong(f"the connection ended {size} bytes too early")
            size -= len(data)
            self.check(pattern, data)

    async def response(self, pattern: Pattern, size: int) -> Reply:
        """A response with status 200, whose content is the pattern's."""
        reply = await self._okay_reply()
        self.check(pattern, reply.content)
        if len(reply.content) != size:
            raise Wrong(f"{len(reply.content)} bytes of content instead of {size}")
        return reply

    async def okay(self) -> Reply:
        """The response to `/okay`."""
        reply = await self._okay_reply()
        if reply.content != b"okay\n":
            raise Wrong(f"{reply.content[:80]!r} instead of okay")
        return reply

    async def _okay_reply(self) -> Reply:
        reply = await self.reply()
        if reply.status != 200:
            raise Wrong(f"status {reply.status} instead of 200")
        return reply


class Messages:
    """A WebSocket whose messages come back."""

    def __init__(self, client: PatternClient, peer: Peer) -> None:
        self.client = client
        self._peer = peer

    @classmethod
    async def open(cls, client: PatternClient, target: str) -> Messages:
        return cls(client, await shake(client, target=target))

    async def echo(self, data: bytes, opcode: int = BINARY, parts: int = 1) -> None:
        """Send a message in as many frames, and receive the same."""
        await self._send(data, opcode, parts)
        if await self._receive() != (opcode, data):
            raise Wrong("a message is not what was sent")
        self.client.verified += len(data)

    async def close(self) -> None:
        """Close in order."""
        await self.client.send(close(1000))
        await self.closed(1000)

    async def closed(self, code: int) -> None:
        """What comes next is a close with this code."""
        opcode, data = await self._receive()
        if (opcode, data[:2]) != (CLOSE, code.to_bytes(2)):
            raise Wrong(f"{data[:80]!r} with opcode {opcode} instead of a close with {code}")

    async def _send(self, data: bytes, opcode: int, parts: int) -> None:
        size = -(-len(data) // parts) or 1
        pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for piece in pieces:
            await self.client.send(frame(opcode, piece, fin=piece is pieces[-1]))
            opcode = CONTINUATION

    async def _receive(self) -> tuple[int, bytes]:
        """The opcode and the data of a message, or of a close; pings are answered."""
        while (received := await self._peer.frame()).opcode == PING:
            await self.client.send(frame(PONG, received.payload))
        return received.opcode, received.payload


async def connect(port: int, *, source: str = HOST, receive_buffer: int | None = None) -> PatternClient:
    """Connect from `source`: each address of 127.0.0.0/8 has ports of its own."""
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        if source != HOST:
            await sock.bind((source, 0))
        await sock.connect((HOST, port))
    except BaseException:
        sock.close()
        raise
    return PatternClient(trio.SocketStream(sock))


async def connect_tls(port: int, context: ssl.SSLContext) -> PatternClient:
    client = await connect(port)
    stream = trio.SSLStream(client.stream, context, server_hostname="localhost")
    await stream.do_handshake()
    return PatternClient(stream)
