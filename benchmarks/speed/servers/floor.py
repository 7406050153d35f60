"""What Trio itself costs: no parser, only a wait for the blank line; fixed responses; then the bytes come back."""

from __future__ import annotations

import trio

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
SIZE = 65536


async def handle(stream: trio.SocketStream) -> None:
    try:
        while b"Upgrade:" not in (head := await receive_head(stream)):
            if not head:
                return
            await stream.send_all(HELLO)
        await stream.send_all(SWITCH)
        while data := await stream.receive_some(SIZE):
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # the client has reset it


async def receive_head(stream: trio.SocketStream) -> bytes:
    """What came up to a blank line; nothing at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(SIZE)
        if not data:
            return b""
        head += data
    return head


def serve(port: int) -> None:
    trio.run(trio.serve_tcp, handle, port)
