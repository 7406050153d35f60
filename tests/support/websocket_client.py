"""A WebSocket client that speaks frames, and handlers that say what they received."""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import trio
import trio.testing
from websockets.utils import accept_key

from trio_upgrade import Limits, Server, websocket

from .client import Client, Connect, Reply, get

# RFC 6455 section 11.8 and RFC 7692 section 6.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 4, 2, 1

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of the example in RFC 6455 section 1.3
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"

Message: TypeAlias = str | bytes
WebSocketHandler: TypeAlias = Callable[[websocket.WebSocket[Any]], Awaitable[object]]


class Frame(NamedTuple):
    """A frame as it was received."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes | None = b"\x37\xfa\x21\x3d"
) -> bytes:
    """A frame of a client (RFC 6455 section 5.2), masked with `key` if there is one."""
    length = len(payload)
    if length < 126:
        size, extended = length, b""
    elif length < 65536:
        size, extended = 126, length.to_bytes(2)
    else:
        size, extended = 127, length.to_bytes(8)
    head = bytes([fin << 7 | rsv << 4 | opcode, (key is not None) << 7 | size]) + extended
    return head + (payload if key is None else key + masked(payload, key))


def masked(payload: bytes, key: bytes) -> bytes:
    """RFC 6455 section 5.3."""
    length = len(payload)
    repeated = key * (length // 4 + 1)
    return (int.from_bytes(payload) ^ int.from_bytes(repeated[:length])).to_bytes(length)


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A close frame (section 5.5.1)."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode())


def handshake(
    fields: bytes = b"",
    *,
    method: str = "GET",
    target: str = "/",
    upgrade: bytes = b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    version: bytes = b"Sec-WebSocket-Version: 13\r\n",
    key: bytes = f"Sec-WebSocket-Key: {KEY}\r\n".encode(),
) -> bytes:
    """A client's opening handshake (section 4.1)."""
    return get(target, upgrade + version + key + fields, method=method)


class Peer:
    """A client with an open WebSocket."""

    def __init__(self, client: Client, reply: Reply) -> None:
        self.client = client
        self.reply = reply

    @property
    def stream(self) -> trio.abc.Stream:
        return self.client.stream

    async def send(self, *parts: bytes) -> None:
        """Send each part by itself, and let the server see it before the next."""
        await self.client.send(*parts)

    async def frame(self) -> Frame:
        """Receive a frame; those of a server are never masked, and as short as can be (section 5.1 and 5.2)."""
        first, size = await self.client.exactly(2)
        assert size < 0x80, "a server must not mask"
        if size == 126:
            size = int.from_bytes(await self.client.exactly(2))
            assert size > 125
        elif size == 127:
            size = int.from_bytes(await self.client.exactly(8))
            assert size > 65535
        return Frame(first & 0x0F, await self.client.exactly(size), bool(first & 0x80), first >> 4 & 7)

    async def message(self) -> Message:
        """Receive an uncompressed message that is one frame."""
        opcode, payload, fin, rsv = await self.frame()
        assert (fin, rsv) == (True, 0)
        assert opcode in (TEXT, BINARY)
        return payload.decode() if opcode == TEXT else payload

    async def close_code(self) -> int:
        """Receive a close frame."""
        opcode, payload, fin, rsv = await self.frame()
        assert (opcode, fin, rsv) == (CLOSE, True, 0), payload
        assert payload[2:].decode() is not None
        return int.from_bytes(payload[:2]) if payload else 1005

    async def ended(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return await self.client.rest() == b""

    async def aclose(self) -> None:
        """Vanish."""
        await self.client.vanish()


async def shake(client: Client, fields: bytes = b"", after: bytes = b"", target: str = "/") -> Peer:
    """Do a handshake that is accepted, with what is sent in the same packet."""
    key = base64.b64encode(os.urandom(16)).decode()
    await client.send(handshake(fields, target=target, key=f"Sec-WebSocket-Key: {key}\r\n".encode()) + after)
    reply = await client.reply()
    assert reply.status == 101, reply
    assert reply.headers["upgrade"].lower() == "websocket"
    assert reply.headers["connection"].lower() == "upgrade"
    assert reply.headers["sec-websocket-accept"] == accept_key(key)
    return Peer(client, reply)


def server_of(
    func: WebSocketHandler,
    *,
    should_upgrade: Any = websocket.is_handshake,
    limits: Limits | None = None,
    **options: Any,
) -> Server:
    """A server whose upgrades are WebSockets."""
    return Server(
        on_upgrade=websocket.handler(func, **options), should_upgrade=should_upgrade, limits=limits or Limits()
    )


async def open_peer(
    connect: Connect, func: WebSocketHandler, fields: bytes = b"", after: bytes = b"", **options: Any
) -> Peer:
    """Open a WebSocket to `func`."""
    return await shake(await connect(server_of(func, **options)), fields, after)


class Recorder:
    """A handler that receives until there is nothing more.

    Attributes:
      messages: what came.
      end: what the last receive raised.
    """

    ws: websocket.WebSocket[Any]
    end: Exception

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.opened = trio.Event()
        self.ended = trio.Event()

    async def __call__(self, ws: websocket.WebSocket[Any]) -> None:
        self.ws = ws
        self.opened.set()
        try:
            while True:
                self.messages.append(await ws.receive())
        except (trio.EndOfChannel, websocket.ConnectionClosed) as exc:
            self.end = exc
        self.ended.set()

    @property
    def code(self) -> int | None:
        """Of the `ConnectionClosed` that was the end."""
        return self.end.code if isinstance(self.end, websocket.ConnectionClosed) else None


class Busy:
    """A handler that does not receive until it is told to.

    Attributes:
      go: to be set.
    """

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.go = trio.Event()
        self.recorder = Recorder()

    async def __call__(self, ws: websocket.WebSocket[Any]) -> None:
        self.ws = ws
        self.opened.set()
        await self.go.wait()
        await self.recorder(ws)


async def echo(ws: websocket.WebSocket[Any]) -> None:
    """A handler."""
    async for message in ws:
        await ws.send(message)


async def check_failure(
    connect: Connect, data: bytes, code: int, *, fields: bytes = b"", cut: bool = False, **options: Any
) -> Recorder:
    """The message in front of `data` is delivered, then the connection fails with `code`."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, fields, **options)
    data = text("in front") + data
    with trio.fail_after(5):
        if cut:
            for at in range(len(data)):
                await peer.send(data[at : at + 1])
        else:
            await peer.send(data)
        assert await peer.close_code() == code
        assert await peer.ended()
        await peer.aclose()
        await recorder.ended.wait()
    assert recorder.messages == ["in front"]
    assert recorder.code == code
    assert recorder.ws.close_code == code
    return recorder
