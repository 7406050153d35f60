"""Lines of text over a byte stream, when the other end cannot be trusted."""

from collections.abc import Awaitable, Callable

import trio

__all__ = ["BadLine", "LineReader", "printable"]


class BadLine(ValueError):
    """A line that cannot be taken. The next one can: go on reading."""


class LineReader:
    """Reads UTF-8 lines, of bounded length and in bounded memory.

    A line ends with LF or CRLF; the last one may end with the stream instead. Cancelling a read
    loses nothing.

    Args:
      receive: gives the next bytes, b"" at the end: `stream.receive_some` of any trio stream.
      limit: how many bytes a line may have, its end not counted. What is held in memory is that
        and what one `receive` gives.
    """

    def __init__(self, receive: Callable[[], Awaitable[bytes | bytearray]], limit: int = 4096) -> None:
        self._receive = receive
        self._limit = limit
        self._buffer = bytearray()
        self._skipping = False  # the line has been too long for a while

    async def read(self) -> str | None:
        """The next line without its end, or None at the end of the stream.

        Raises:
          BadLine: it is too long, or not UTF-8. It has been skipped.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if len(self._buffer) > self._limit + 1:  # one more, for the CR of a CRLF
                self._skipping = True
                self._buffer.clear()
            searched = len(self._buffer)
            data = await self._receive()
            if not data:
                if not self._buffer and not self._skipping:
                    return None
                data = b"\n"
            self._buffer += data
        await trio.lowlevel.checkpoint()  # so that many lines in one piece do not keep others from running
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        skipped, self._skipping = self._skipping, False
        if skipped or len(line) > self._limit:
            raise BadLine(f"that line is too long: {self._limit} bytes is the limit")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise BadLine("that line is not UTF-8") from None


def printable(text: str) -> str:
    """`text` as one line that cannot do anything to a terminal but show characters.

    Control characters, escape sequences' ESC among them, and invisible format characters, such as
    those that turn the direction of writing, are left out; unusual spaces become plain ones.
    """
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
