"""Sending a response: its head, and its content of whichever kind."""

from __future__ import annotations

from ._headers import FieldsArgument
from ._response import Response, Trailers, parts_of, trailers_of
from ._response_content import FileContent, Streamed, StreamEncoder, close_content, open_content
from ._response_head import ResponseHead, encode_head, has_content
from ._sending_state import Reply

__all__ = ["StreamSending", "send_bytes", "send_file", "send_response"]


class StreamSending:
    """Sends a response piece by piece, never ahead of what the peer takes. The head goes with the first piece.

    Args:
      method, http_version: of the request.
      close: the connection is closed after it.

    Attributes:
      wanted: content follows the head. If not, `send` must not be called.
    """

    __slots__ = ("_encoder", "_head", "_reply", "wanted")

    def __init__(self, reply: Reply, head: ResponseHead, method: str, http_version: str, close: bool) -> None:
        self._reply = reply
        self._encoder = encoder = StreamEncoder(head.length, http_version)
        self._head = encode_head(head, encoder.length, encoder.chunked, close)  # b"" once it was sent
        self.wanted = has_content(head, method)

    async def send(self, item: object) -> None:
        """Send one piece. An empty one sends the head, if that was not sent.

        Raises:
          TypeError: it is not bytes.
          RuntimeError: it makes the content longer than its Content-Length.
          ConnectionBroken: the peer does not take it.
        """
        await self._send(self._encoder.encode(item))

    async def finish(self, item: object = b"", trailers: FieldsArgument = ()) -> None:
        """Send the last piece and the end of the content. Trailers are dropped where no chunks tell the end.

        Raises:
          RuntimeError: the content does not have its Content-Length.
          TypeError, ValueError: a trailer cannot be sent.
          ConnectionBroken: the peer does not take it.
        """
        if self.wanted:
            await self._send(self._encoder.encode(item) + self._encoder.encode_end(trailers))
        else:
            await self._send(b"")

    async def _send(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            await self._reply.send_head(head, data)
        elif data:
            await self._reply.send(data)


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
            await send_stream(StreamSending(reply, head, method, http_version, close), content, trailers_of(response))
        finally:
            await close_content(content)
    reply.complete()


async def send_bytes(reply: Reply, head: ResponseHead, content: bytes, wanted: bool, close: bool) -> None:
    """Send a response whose content is all there, in one write if it is small."""
    length = len(content) if head.length is None else head.length
    if wanted and length != len(content):
        raise RuntimeError(f"Content-Length is {length}, but the content has {len(content)} bytes")
    await reply.send_head(encode_head(head, length, False, close), content if wanted else b"")


async def send_file(reply: Reply, head: ResponseHead, content: FileContent, wanted: bool, close: bool) -> None:
    """Send a response whose content is a file."""
    with content.open() as (file, size):
        await reply.send_head(encode_head(head, size, False, close))
        if wanted:
            await reply.send_file(file, size)


async def send_stream(sending: StreamSending, content: Streamed, trailers: Trailers | None) -> None:
    """Send streamed content as it is made, and its trailers."""
    if not sending.wanted:
        return await sending.finish()
    async with open_content(content) as items:
        async for item in items:
            await sending.send(item)
    await sending.finish(trailers=() if trailers is None else trailers())
