"""Sending a response: its head, and its content of whichever kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from trio.lowlevel import checkpoint

from ._headers import FieldsArgument
from ._response import Response, Trailers, parts_of, trailers_of
from ._response_content import FileContent, Streamed, StreamEncoder, close_content, open_content
from ._response_head import ResponseHead, encode_head, has_content
from ._sending_state import Reply

__all__ = ["StreamSending", "encode_whole", "send_file", "send_response"]

BeforeStreaming: TypeAlias = Callable[[], Awaitable[bool]]


class StreamSending:
    """Sends a response piece by piece, never ahead of what the peer takes. The head goes with the first piece.

    Args:
      wanted: content follows the head. If not, the pieces are dropped.
      http_version: of the request.
      before_streaming: is called between the first piece and the head, and decides whether the connection is closed
        after the response.
    """

    __slots__ = ("_before_streaming", "_encoder", "_has_begun", "_head", "_reply", "_wanted")

    def __init__(
        self, reply: Reply, head: ResponseHead, wanted: bool, http_version: str, before_streaming: BeforeStreaming
    ) -> None:
        self._reply = reply
        self._wanted = wanted
        self._head = head
        self._encoder = StreamEncoder(head.length, http_version)
        self._before_streaming = before_streaming
        self._has_begun = False

    async def send(self, item: object) -> None:
        """Send one piece. An empty one sends the head, if that was not sent. A checkpoint, also if nothing is sent.

        Raises:
          TypeError: it is not bytes.
          RuntimeError: it makes the content longer than its Content-Length.
          ConnectionBroken: the peer does not take it.
        """
        data = self._encoder.encode(item) if self._wanted else b""
        if data or not self._has_begun:
            await self._send(data)
        else:
            await checkpoint()  # content without an end, of which nothing is sent, must not keep others from running

    async def finish(self, item: object = b"", trailers: FieldsArgument = ()) -> None:
        """Send the last piece and the end of the content. Trailers are dropped where no chunks tell the end.

        Raises:
          RuntimeError: the content does not have its Content-Length.
          TypeError, ValueError: a trailer cannot be sent.
          ConnectionBroken: the peer does not take it.
        """
        encoder = self._encoder
        await self._send(encoder.encode(item) + encoder.encode_end(trailers) if self._wanted else b"")

    async def _send(self, data: bytes) -> None:
        if self._has_begun:
            if data:
                await self._reply.send(data)
            return
        encoder = self._encoder
        closes = await self._before_streaming()
        head = encode_head(self._head, encoder.length, encoder.chunked, closes)
        self._has_begun = True
        await self._reply.send_head(head, data, encoder.is_framed)


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
        None if the content is not streamed.

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
            if wanted:
                assert before_streaming is not None
                sending = StreamSending(reply, head, wanted, http_version, before_streaming)
                await send_stream(sending, content, trailers_of(response))
            else:
                encoder = StreamEncoder(head.length, http_version)
                await reply.send_head(encode_head(head, encoder.length, encoder.chunked, close))
        finally:
            await close_content(content)
    reply.complete()


def send_bytes(
    reply: Reply, head: ResponseHead, content: bytes, wanted: bool, close: bool
) -> Coroutine[Any, Any, None]:
    return reply.send_head(*encode_whole(head, content, wanted, close))


def encode_whole(head: ResponseHead, content: bytes, wanted: bool, close: bool) -> tuple[bytes, bytes]:
    """The head of a response whose content is all there, and the content as it is sent.

    Raises:
      RuntimeError: the content does not have its Content-Length.
    """
    length = len(content) if head.length is None else head.length
    if wanted and length != len(content):
        raise RuntimeError(f"Content-Length is {length}, but the content has {len(content)} bytes")
    return encode_head(head, length, False, close), content if wanted else b""


async def send_file(reply: Reply, head: ResponseHead, content: FileContent, wanted: bool, close: bool) -> None:
    with content.open() as (file, size):
        await reply.send_head(encode_head(head, size, False, close))
        if wanted:
            await reply.send_file(file, size)


async def send_stream(sending: StreamSending, content: Streamed, trailers: Trailers | None) -> None:
    """Send streamed content as it is made, and its trailers."""
    async with open_content(content) as items:
        async for item in items:
            await sending.send(item)
    await sending.finish(trailers=() if trailers is None else trailers())
