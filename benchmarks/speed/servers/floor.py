"""What Trio itself costs, over TCP or TLS.

There is no parser, only a wait for the blank line; fixed responses; then the bytes come back.
"""

from __future__ import annotations

from typing import TypeAlias

import trio

from .place import Place

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
SIZE = 65536
Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def handle(stream: Stream) -> None:
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


async def receive_head(stream: Stream) -> bytes:
    """What came up to a blank line; nothing at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(SIZE)
        if not data:
            return b""
        head += data
    return head


def serve(place: Place) -> None:
    context = place.context()
    if context is None:
        trio.run(trio.serve_tcp, handle, place.port)
    else:
        trio.run(trio.serve_ssl_over_tcp, handle, place.port, context)
