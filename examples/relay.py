"""Two streams made one: what comes from either goes to the other, its end too.

For the tunnel and the CONNECT proxy.
"""

import contextlib
import socket
import struct

import trio

from trio_upgrade import TransportInfo

__all__ = ["CHUNK_SIZE", "relay", "reset"]

CHUNK_SIZE = 65536


async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, first: bytes = b"") -> None:
    """Carry one direction to its end, and the end too."""
    if first:
        await sink.send_all(first)
    while data := await source.receive_some(CHUNK_SIZE):
        await sink.send_all(data)
    await sink.send_eof()


async def relay(
    here: trio.abc.HalfCloseableStream, there: trio.abc.HalfCloseableStream, from_there: bytes = b""
) -> None:
    """Carry both directions until both have ended. An error in one is raised, in a group, and stops the other."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, here, there)
        nursery.start_soon(pump, there, here, from_there)


async def reset(stream: trio.abc.AsyncResource, transport: TransportInfo | trio.SocketStream) -> None:
    """Close a stream so that its peer sees an error, and not an end."""
    with contextlib.suppress(OSError):  # it may be broken already
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
