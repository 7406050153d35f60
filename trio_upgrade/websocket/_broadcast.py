"""One message to many WebSockets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from websockets.frames import CloseCode

from .._request import serving_of
from ._channel import WebSocket
from ._frames import encode_message

__all__ = ["broadcast"]


def broadcast(connections: Iterable[WebSocket[Any]], message: str | bytes | bytearray | memoryview) -> None:
    """Send a message to many WebSockets, without waiting for any of them. Not a checkpoint.

    The message is serialized once, and is not compressed.

    A WebSocket whose send buffer is full does not get it: it is closed with 1013. The close frame follows what is
    buffered. The connection is dropped if the peer does not answer in `close_timeout`, or takes nothing for
    `send_timeout`. A WebSocket that is closed is skipped.

    Args:
      connections: the WebSockets.
      message: str for text, bytes for binary.

    Raises:
      TypeError: `connections` is not a list of WebSockets, or the message is neither str nor bytes. If it is something
        in the list, those before it get the message.
      ValueError: the message is a str with a lone surrogate, which UTF-8 cannot have.
    """
    if isinstance(connections, WebSocket | str) or not isinstance(connections, Iterable):
        raise TypeError(f"broadcast takes a list of WebSockets first, not {connections!r}: broadcast([ws], message)?")
    frame = encode_message(message)
    endpoint = None
    for websocket in connections:
        try:
            endpoint = websocket._endpoint
        except AttributeError:
            raise TypeError(f"broadcast takes a list of WebSockets; {websocket!r} in it is not one") from None
        if not endpoint.closing.state.may_send:
            continue
        if endpoint.send_buffer.is_full:
            serving_of(endpoint.request).counters.slow_readers += 1
            endpoint.close_for_server(CloseCode.TRY_AGAIN_LATER, "you read too slowly")
        else:
            endpoint.send_buffer.put(frame)
    if endpoint is not None:
        serving_of(endpoint.request).counters.broadcasts += 1
