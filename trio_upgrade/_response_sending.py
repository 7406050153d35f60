"""Sending a response: its head, and its content of whichever kind."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from ._response import Response, parts_of
from ._response_content import FileContent, Streamed, StreamEncoder, close_content, open_content
from ._response_head import ResponseHead, encode_head, has_content
from ._sending_state import Reply

__all__ = ["send_response"]


async def send_response(reply: Reply, response: Response, method: str, http_version: str, close: bool) -> None:
    """Send a response, and close its content.

    Args:
      method, http_version: of the request.
      close: the connection is closed after it.

    Raises:
      ConnectionBroken: the peer does not take it.
      Exception: what its content raises. If `reply.sent.has_begun` is false, nothing was sent.

    Cancelled, it may have sent a part.
    """
    head, content = parts_of(response)
    wanted = has_content(head, method)
    if isinstance(content, bytes):
        await send_bytes(reply, head, content, wanted, close)
    elif isinstance(content, FileContent):
        await send_file(reply, head, content, wanted, close)
    else:
        try:
            await send_stream(reply, head, content, wanted, close, StreamEncoder(head.length, http_version))
        finally:
            await close_content(content)
    reply.complete()


def send_bytes(
    reply: Reply, head: ResponseHead, content: bytes, wanted: bool, close: bool
) -> Coroutine[Any, Any, None]:
    length = len(content) if head.length is None else head.length
    if wanted and length != len(content):
        raise RuntimeError(f"Content-Length is {length}, but the content has {len(content)} bytes")
    return reply.send_head(encode_head(head, length, False, close), content if wanted else b"")


async def send_file(reply: Reply, head: ResponseHead, content: FileContent, wanted: bool, close: bool) -> None:
    with content.open() as (file, size):
        await reply.send_head(encode_head(head, size, False, close))
        if wanted:
            await reply.send_file(file, size)


async def send_stream(
    reply: Reply, head: ResponseHead, content: Streamed, wanted: bool, close: bool, encoder: StreamEncoder
) -> None:
    """Send streamed content as it is made, never ahead of what the peer takes. The head goes with the first item."""
    encoded = encode_head(head, encoder.length, encoder.chunked, close)
    if not wanted:
        return await reply.send_head(encoded)
    async with open_content(content) as items:
        async for item in items:
            data = encoder.encode(item)
            if encoded:
                await reply.send_head(encoded, data)
                encoded = b""
            elif data:
                await reply.send(data)
    end = encoder.encode_end()
    if encoded:
        await reply.send_head(encoded, end)
    elif end:
        await reply.send(end)
