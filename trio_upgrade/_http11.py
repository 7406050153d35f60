"""What has arrived on a connection and was not read yet, and the next request's head in it.

Exactly one head is taken out at a time. So the bytes of its body, and whatever follows that, are
simply what is still in the buffer.

This module knows nothing of bodies, handlers, responses or upgrades.
"""

from __future__ import annotations

from ._exceptions import Malformed, ProtocolError
from ._limits import Limits
from ._request_head import Head, read_head
from ._transport import Transport

__all__ = ["Http11"]


class Http11:
    """The receiving side of one connection.

    Attributes:
      buffer: the bytes that have arrived and were not taken.
    """

    __slots__ = ("_limits", "_searched", "_skipped_blank_line", "_transport", "buffer")

    def __init__(self, transport: Transport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._searched = 0  # so many bytes of the buffer do not hold the end of the head
        self._skipped_blank_line = False
        self.buffer = bytearray()

    async def fill(self) -> bool:
        """Wait for more bytes of a head.

        Returns:
          False at the peer's end of data.

        Raises:
          trio.WouldBlock: the transport was interrupted, and no byte had arrived.
        """
        data = await self._transport.receive_interruptibly()
        self.buffer += data
        return bool(data)

    def take(self, size: int) -> bytes:
        """Take at most so many bytes out of the buffer."""
        data = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        return data

    def next_head(self) -> Head | None:
        """Take the next request's head out of the buffer; None if it is not complete yet.

        Raises:
          ProtocolError: it is malformed, too large, or not one of HTTP/1.0 or 1.1.
        """
        try:
            data = self._take_head()
            return None if data is None else read_head(data, self._limits.max_headers)
        except Malformed as exc:
            raise ProtocolError(str(exc), self._transport, status=exc.status) from None

    def _take_head(self) -> bytes | None:
        buffer, limit = self.buffer, self._limits.max_header_size
        # RFC 9112 section 2.2: an empty line before the request line is to be ignored.
        if not self._skipped_blank_line and buffer[:1] == b"\r":
            if len(buffer) == 1:
                return None
            if buffer[1:2] == b"\n":
                del buffer[:2]
                self._skipped_blank_line = True
        if not buffer:
            return None
        if buffer[0] <= 0x20 or buffer[0] >= 0x7F:  # TLS on a plain port, say: do not wait for a blank line
            raise Malformed("this is not an HTTP request")
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
        size = end if end > 3 else len(buffer)
        if size > limit:
            raise self._too_large(limit)
        if end == 3:
            self._check_lines(size)
            self._searched = size
            return None
        self._searched = 0
        self._skipped_blank_line = False
        return self.take(size)

    def _check_lines(self, size: int) -> None:
        """Refuse bare LFs before the end: it may never come (RFC 9112 section 2.2, and a way to smuggle)."""
        lines = self.buffer.count(b"\r\n", max(0, self._searched - 1), size)
        if self.buffer.count(b"\n", self._searched, size) != lines:
            raise Malformed("a line of the request's head does not end with CRLF")

    def _too_large(self, limit: int) -> Malformed:
        if self.buffer.find(b"\r\n", 0, limit) < 0:  # RFC 9112 section 3: it is the target that is too long
            return Malformed(f"the request line is longer than {limit} bytes", 414)
        return Malformed(f"the request's head is larger than {limit} bytes", 431)
