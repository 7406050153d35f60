"""Sending a response: its head, and its content of whichever kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from ._response import Response, parts_of
from ._response_content import FileContent, Streamed, StreamEncoder, close_content, open_content
from ._response_head import ResponseHead, encode_head, has_content
from ._sending_state import Reply

__all__ = ["send_response"]

BeforeStreaming: TypeAlias = Callable[[], Awaitable[bool]]


async def send_response(
    reply: Reply,
    response: Response,
    method: str,
    http_version: str,
    close: bool,
    before_streaming: BeforeStreaming | None = None,
) -> None:
    """Send a response, and close its content.

    Args:
      method, http_version: of the request.
      close: the connection is closed after it.
      before_streaming: is called between the first item of streamed content and the head; it decides `close` anew.

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
            encoder = StreamEncoder(head.length, http_version)
            if wanted:
                await send_stream(reply, head, content, close, encoder, before_streaming)
            else:
                await reply.send_head(encode_head(head, encoder.length, encoder.chunked, close))
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
    reply: Reply,
    head: ResponseHead,
    content: Streamed,
    close: bool,
    encoder: StreamEncoder,
    before_streaming: BeforeStreaming | None,
) -> None:
    """Send streamed content as it is made, never ahead of what the peer takes. The head goes with the first item."""

    async def begin(data: bytes) -> None:
        closes = close if before_streaming is None else await before_streaming()
        await reply.send_head(encode_head(head, encoder.length, encoder.chunked, closes), data, encoder.is_framed)

    has_begun = False
    async with open_content(content) as items:
        async for item in items:
            data = encoder.encode(item)
            if not has_begun:
                await begin(data)
                has_begun = True
            elif data:
                await reply.send(data)
    end = encoder.encode_end()
    if not has_begun:
        await begin(end)
    elif end:
        await reply.send(end)
