"""The client's end of a connection: bytes out, and replies that are checked as they come in."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import trio

from tests.support.websocket_client import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, accept_of, frame

from .pattern import Pattern

__all__ = ["Messages", "Reply", "Wire", "Wrong", "WrongByte", "connect", "connect_tls", "get", "post", "upgrade"]

HOST = "127.0.0.1"


class Wrong(Exception):
    """The server answered something else than it must."""


class WrongByte(Wrong):
    """What came is not what was sent."""


def get(target: str, fields: str = "") -> bytes:
    """A request without a body."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def post(target: str, length: int, fields: str = "") -> bytes:
    """The head of a request with a body."""
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n".encode()


def upgrade(target: str, protocol: str = "echo", fields: str = "") -> bytes:
    """The head of an upgrade request."""
    return get(target, f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n{fields}")


@dataclass
class Reply:
    """The head of a response."""

    status: int
    headers: dict[str, str]


class Wire:
    """A connection to the server.

    Attributes:
      verified: bytes of patterns that came as they should.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.verified = 0
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    # ---- receiving

    async def some(self, at_most: int = 2**16) -> bytes:
        """Some bytes; none at the end."""
        if not self._buffer:
            self._buffer += await self.stream.receive_some()
        data = bytes(self._buffer[:at_most])
        del self._buffer[:at_most]
        return data

    async def exactly(self, size: int) -> bytes:
        data = bytearray()
        async for part in self._parts(size):
            data += part
        return bytes(data)

    async def line(self) -> bytes:
        """The bytes up to the next CR LF, without it."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            data = await self.stream.receive_some()
            if not data:
                raise Wrong(f"the connection ended after {bytes(self._buffer[:80])!r}")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def rest(self) -> bytes:
        """Everything to the end. Cancelled, it can be called again."""
        while data := await self.stream.receive_some():
            self._buffer += data
        return await self.some(len(self._buffer)) if self._buffer else b""

    async def end(self) -> None:
        """The end, and nothing in front of it."""
        if data := await self.some():
            raise Wrong(f"{data[:80]!r} where the end should be")

    async def _parts(self, size: int) -> AsyncIterator[bytes]:
        while size:
            data = await self.some(size)
            if not data:
                raise Wrong(f"the connection ended {size} bytes too early")
            size -= len(data)
            yield data

    # ---- checking

    async def head(self, status: int) -> Reply:
        """The head of a response, which has this status."""
        first = await self.line()
        headers = {}
        while line := await self.line():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        if not first.startswith(b"HTTP/1.1 %d " % status):
            raise Wrong(f"{first!r} instead of status {status}")
        return Reply(status, headers)

    async def pattern(self, pattern: Pattern, size: int) -> None:
        """The next bytes are the pattern's."""
        async for data in self._parts(size):
            if not pattern.matches(data):
                raise WrongByte("a byte is not what was sent")
            self.verified += len(data)

    async def response(self, pattern: Pattern, size: int) -> Reply:
        """A response with status 200, whose content is the pattern's."""
        reply = await self.head(200)
        if reply.headers.get("transfer-encoding") != "chunked":
            if reply.headers["content-length"] != str(size):
                raise Wrong(f"Content-Length {reply.headers['content-length']} instead of {size}")
            await self.pattern(pattern, size)
            return reply
        while chunk := int(await self.line(), 16):
            await self.pattern(pattern, chunk)
            size -= chunk
            await self._expect(b"")
        await self._expect(b"")
        if size:
            raise Wrong(f"the content is {size} bytes shorter than it should be")
        return reply

    async def okay(self) -> Reply:
        """The response to `/okay`."""
        reply = await self.head(200)
        if (content := await self.exactly(int(reply.headers["content-length"]))) != b"okay\n":
            raise Wrong(f"{content!r} instead of okay")
        return reply

    async def _expect(self, line: bytes) -> None:
        if (got := await self.line()) != line:
            raise Wrong(f"{got!r} instead of {line!r}")

    # ---- ending

    async def send_eof(self) -> None:
        assert isinstance(self.stream, trio.SocketStream)
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close without a word; what TLS has to say is left out."""
        await trio.aclose_forcefully(self.stream)

    def reset(self) -> None:
        """Let the server find a reset instead of an end."""
        below = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        assert isinstance(below, trio.SocketStream)
        below.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        below.socket.close()


# ---- WebSocket


class Messages:
    """A WebSocket on a wire whose handshake is done."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    @classmethod
    async def open(cls, wire: Wire, target: str) -> Messages:
        fields = f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        await wire.send(upgrade(target, "websocket", fields))
        reply = await wire.head(101)
        if reply.headers["sec-websocket-accept"] != accept_of(KEY):
            raise Wrong("the handshake's answer is another one's")
        return cls(wire)

    async def send(self, data: bytes, opcode: int = BINARY, parts: int = 1) -> None:
        """Send a message in as many frames."""
        size = -(-len(data) // parts) or 1
        pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for piece in pieces:
            await self.wire.send(frame(opcode, piece, fin=piece is pieces[-1]))
            opcode = CONTINUATION

    async def receive(self) -> tuple[int, bytes]:
        """The opcode and the data of a message, or of a close."""
        while True:
            first, size = await self.wire.exactly(2)
            if size >= 126:
                size = int.from_bytes(await self.wire.exactly(2 if size == 126 else 8))
            data = await self.wire.exactly(size)
            if first == 0x80 | PING:
                await self.wire.send(frame(PONG, data))
            else:
                return first & 0x7F, data

    async def echo(self, data: bytes, opcode: int = BINARY, parts: int = 1) -> None:
        """Send a message, and receive the same."""
        await self.send(data, opcode, parts)
        if await self.receive() != (opcode, data):
            raise Wrong("a message is not what was sent")
        self.wire.verified += len(data)

    async def close(self) -> None:
        """Close in order."""
        await self.wire.send(frame(CLOSE, (1000).to_bytes(2)))
        await self.closed(1000)

    async def closed(self, code: int) -> None:
        """What comes next is a close with this code, then the end."""
        opcode, data = await self.receive()
        if (opcode, data[:2]) != (CLOSE, code.to_bytes(2)):
            raise Wrong(f"{data[:80]!r} with opcode {opcode} instead of a close with {code}")


# ---- connecting


async def connect(port: int, *, source: str = HOST, receive_buffer: int | None = None) -> Wire:
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
    return Wire(trio.SocketStream(sock))


async def connect_tls(port: int, context: ssl.SSLContext) -> Wire:
    wire = await connect(port)
    stream = trio.SSLStream(wire.stream, context, server_hostname="localhost")
    await stream.do_handshake()
    return Wire(stream)
