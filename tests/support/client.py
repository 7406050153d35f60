"""A client that speaks bytes, and the ways to reach a server in a test."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import h11
import trio
import trio.testing

from trio_upgrade import Headers, Request, Response, Server

HOST = b"Host: test\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo\r\n"


def get(target: str = "/", fields: bytes = b"", method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return f"{method} {target} HTTP/{version}\r\n".encode() + HOST + fields + b"\r\n"


def post(body: bytes, fields: bytes = b"", target: str = "/") -> bytes:
    """A request with a body and its length."""
    return post_head(len(body), fields, target) + body


def post_head(length: int, fields: bytes = b"", target: str = "/") -> bytes:
    """The head of a request with a body of so many bytes."""
    return get(target, fields + b"Content-Length: %d\r\n" % length, "POST")


def upgrade(fields: bytes = b"", after: bytes = b"", target: str = "/") -> bytes:
    """An upgrade request, with what follows its head."""
    return get(target, UPGRADE + fields) + after


def chunked(*chunks: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    """A chunked body."""
    coded = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return coded + b"0\r\n" + trailers + b"\r\n"


@dataclass
class Reply:
    """A response, and the interim ones in front of it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    interim: list[int] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").split(", ")


class Wrong(AssertionError):
    """The server sent something else than it must."""


class Client:
    """The client's end of one connection. What it receives ahead of what it is asked for, it keeps."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, *parts: bytes) -> None:
        """Send each part by itself, and let the server see it before the next."""
        for part in parts:
            await self.stream.send_all(part)
            if len(parts) > 1:
                await trio.testing.wait_all_tasks_blocked()

    # ---- responses

    async def reply(self, method: str = "GET") -> Reply:
        """Read one response: of an upgrade, its 101."""
        parser, reply = await self._begin_reply(method)
        while isinstance(event := await self._next_event(parser), h11.Data):
            reply.content += event.data
        self._buffer[:0] = parser.trailing_data[0]
        return reply

    async def head(self, status: int) -> Reply:
        """Read the head of a response, which has this status; its content is what comes next."""
        parser, reply = await self._begin_reply("GET")
        self._buffer[:0] = parser.trailing_data[0]
        if reply.status != status:
            raise Wrong(f"status {reply.status} instead of {status}")
        return reply

    async def _begin_reply(self, method: str) -> tuple[h11.Connection, Reply]:
        parser = h11.Connection(h11.CLIENT)
        fields = [("Host", "test"), ("Connection", "Upgrade"), ("Upgrade", "echo")]
        parser.send(h11.Request(method=method, target="/", headers=fields))
        parser.send(h11.EndOfMessage())
        reply = Reply(0)
        while not reply.status:
            event = await self._next_event(parser)
            assert isinstance(event, h11.InformationalResponse | h11.Response)
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                reply.interim.append(event.status_code)
            else:
                reply.status = event.status_code
                reply.headers = dict(Headers(event.headers.raw_items()))
        return parser, reply

    async def _next_event(self, parser: h11.Connection) -> object:
        try:
            while (event := parser.next_event()) is h11.NEED_DATA:
                parser.receive_data(await self.some())
        except h11.RemoteProtocolError as exc:
            raise Wrong(f"no response: {exc}") from exc
        return event

    # ---- bytes

    async def some(self, at_most: int = 2**16) -> bytes:
        """Read some bytes; `b""` at the end."""
        if not self._buffer:
            self._buffer += await self.stream.receive_some()
        data = bytes(self._buffer[:at_most])
        del self._buffer[:at_most]
        return data

    async def exactly(self, size: int) -> bytes:
        """Read `size` bytes. Cancelled, it can be called again."""
        while len(self._buffer) < size:
            await self._receive()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def line(self) -> bytes:
        """Read up to the next CR LF, without it."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._receive()
        return (await self.exactly(end + 2))[:-2]

    async def rest(self) -> bytes:
        """Read to the end. Cancelled, it can be called again."""
        async for data in self.stream:
            self._buffer += data
        return await self.exactly(len(self._buffer))

    async def end(self) -> None:
        """Read the end, and nothing in front of it."""
        if data := await self.some():
            raise Wrong(f"{data[:80]!r} where the end should be")

    async def _receive(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise Wrong(f"the connection ended after {bytes(self._buffer[:80])!r}")
        self._buffer += data

    # ---- ending

    async def send_eof(self) -> None:
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def vanish(self) -> None:
        """Close without a word; what TLS has to say at its end is left out."""
        await trio.aclose_forcefully(self.stream)


Connect: TypeAlias = Callable[[Server], Awaitable[Client]]


async def connect_memory(nursery: trio.Nursery, server: Server) -> Client:
    """Over a stream in memory; what a handler raises was logged and is dropped."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        try:
            await server.serve_stream(theirs)
        except Exception:
            pass

    nursery.start_soon(serve)
    return Client(ours)


async def connect_tcp(nursery: trio.Nursery, server: Server) -> Client:
    """Over a TCP socket."""
    (listener,) = await nursery.start(server.serve_tcp, 0)
    return Client(await trio.testing.open_stream_to_socket_listener(listener))


async def connect_tls(
    nursery: trio.Nursery, server: Server, *, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Client:
    """Over TLS on a TCP socket."""
    server_context, client_context = contexts
    (listener,) = await nursery.start(server.serve_ssl_over_tcp, 0, server_context)
    stream = await trio.testing.open_stream_to_socket_listener(listener.transport_listener)
    return Client(trio.SSLStream(stream, client_context, server_hostname="test.example"))


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[trio.SocketListener]:
    """The server on a TCP port, cancelled at the end of the block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_tcp, 0)
        yield listener
        nursery.cancel_scope.cancel()


async def open_client(listener: trio.SocketListener) -> Client:
    return Client(await trio.testing.open_stream_to_socket_listener(listener))


def reset(client: Client) -> None:
    """Close with a reset instead of an orderly end."""
    below = client.stream.transport_stream if isinstance(client.stream, trio.SSLStream) else client.stream
    assert isinstance(below, trio.SocketStream)
    below.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    below.socket.close()


async def okay(request: Request) -> Response:
    """An ordinary handler."""
    return Response(200, f"okay {request.path}\n")


async def echo(request: Request, stream: trio.abc.Stream) -> None:
    """An upgrade handler."""
    await request.accept()
    async for data in stream:
        await stream.send_all(data)


def cuts(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Every way to cut `data` into two packets."""
    return ((data[:at], data[at:]) for at in range(1, len(data)))
