"""One message to many WebSockets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from websockets.frames import CloseCode

from ._channel import WebSocket
from ._frames import encode_message

__all__ = ["broadcast"]


def broadcast(connections: Iterable[WebSocket[Any]], message: str | bytes | bytearray | memoryview) -> None:
    """Send a message to many WebSockets, without waiting for any of them. Not a checkpoint.

    It is serialized once, uncompressed. A connection whose send buffer is full is closed with 1013
    (the close frame follows what is buffered), and dropped `close_timeout` seconds later. Those that
    are closed are passed over.

    Raises:
      TypeError: the message is neither str nor bytes.
    """
    frame = encode_message(message)
    connection = None
    for connection in connections:
        if not connection.put_frame(frame):
            connection.request.server._counters.slow_readers += 1
            connection.close_soon(CloseCode.TRY_AGAIN_LATER, "you read too slowly")
    if connection is not None:
        connection.request.server._counters.broadcasts += 1
