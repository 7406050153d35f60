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
    return f"POST {target} HTTP/1.1\r\n".encode() + HOST + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def upgrade(fields: bytes = b"", behind: bytes = b"", target: str = "/") -> bytes:
    """An upgrade request, with what follows its head."""
    return get(target, UPGRADE + fields) + behind


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
    complete: bool = True

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").split(", ")


class Client:
    """The client's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, *parts: bytes) -> None:
        """Send each part by itself, and let the server see it before the next."""
        for part in parts:
            await self.stream.send_all(part)
            if len(parts) > 1:
                await trio.testing.wait_all_tasks_blocked()

    async def reply(self, method: str = "GET") -> Reply:
        """Read one response: of an upgrade, its 101."""
        parser = h11.Connection(h11.CLIENT)
        fields = [("Host", "test"), ("Connection", "Upgrade"), ("Upgrade", "echo")]
        parser.send(h11.Request(method=method, target="/", headers=fields))
        parser.send(h11.EndOfMessage())
        if self._buffer:
            parser.receive_data(bytes(self._buffer))
            self._buffer.clear()
        reply = Reply(0)
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                reply.interim.append(event.status_code)
            elif isinstance(event, h11.InformationalResponse | h11.Response):
                reply.status = event.status_code
                reply.headers = dict(Headers.of(event.headers.raw_items()))
            elif isinstance(event, h11.Data):
                reply.content += event.data
            else:
                assert reply.status, "the connection ended without a response"
                self._buffer += parser.trailing_data[0]
                return reply

    async def exactly(self, size: int) -> bytes:
        """Read `size` bytes."""
        while len(self._buffer) < size:
            data = await self.stream.receive_some()
            assert data, f"the end came after {bytes(self._buffer)!r}"
            self._buffer += data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def rest(self) -> bytes:
        """Read to the end."""
        async for data in self.stream:
            self._buffer += data
        return bytes(self._buffer)

    async def send_eof(self) -> None:
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


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
    assert isinstance(client.stream, trio.SocketStream)
    client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.stream.socket.close()


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
