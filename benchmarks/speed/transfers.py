"""The loads of large bodies, one after another on one connection; an operation is a MiB."""

from __future__ import annotations

from .answers import MIB, block
from .connections import Address, Replies, connect
from .content import Content
from .loads import Sockets
from .wire import LAST_CHUNK, Wrong, check_body, chunks, get, request

__all__ = ["Download", "Upload"]

BUFFER = 256 * 1024  # bytes that are received at a time


class Upload(Sockets):
    """A large body is sent; the response tells its length.

    Args:
      count: how many MiB it has.
      chunk: how many bytes of it are in a chunk; None sends a Content-Length.
    """

    def __init__(self, address: Address, count: int, chunk: int | None = None) -> None:
        super().__init__([connect(address)])
        length, data = count * MIB, block()
        fields = f"Content-Length: {length}\r\n" if chunk is None else "Transfer-Encoding: chunked\r\n"
        self._head = request("POST", "/upload", fields)
        self._part = data if chunk is None else chunks(data, chunk)
        self._end = b"" if chunk is None else LAST_CHUNK
        self._count = count
        self._replies = Replies(lambda response: check_body(response, b"%d" % length))

    def turn(self) -> int:
        (sock,) = self.sockets
        sock.sendall(self._head)
        for _ in range(self._count):
            sock.sendall(self._part)
        sock.sendall(self._end)
        self._replies.receive(sock)
        return self._count


class Download(Sockets):
    """A large response is received.

    Args:
      count: how many MiB it has.
    """

    def __init__(self, address: Address, count: int, target: str) -> None:
        super().__init__([connect(address)])
        self._count = count
        self._request = get(target)
        self._buffer = memoryview(bytearray(BUFFER))

    def turn(self) -> int:
        (sock,) = self.sockets
        sock.sendall(self._request)
        content = Content(self._count * MIB)
        while not content.is_complete:
            count = sock.recv_into(self._buffer)
            if count == 0:
                raise Wrong("the server closed a connection")
            content.feed(self._buffer[:count])
        return self._count
