"""The load of event streams: an event goes to all that follow."""

from __future__ import annotations

import re
import socket

from .answers import event
from .connections import Address, Replies, connect
from .loads import Sockets, difference
from .wire import LAST_CHUNK, Wrong, check_body, chunks, get, request

__all__ = ["EventStreams"]

TARGET = "/events"
LONGEST = 16 * 1024  # bytes of a head with the first event
BEGINNING = re.compile(rb"HTTP/1\.1 200 .*\r\n\r\n12\r\ndata: (\d{10})\n\n\r\n", re.DOTALL)


class EventStreams(Sockets):
    """Each event that is asked for on one connection comes on all others; an operation is one delivery.

    The server numbers the events. A stream begins with the number of the last one: so it is known when it follows.
    """

    def __init__(self, address: Address, connections: int) -> None:
        super().__init__([])
        try:
            for _ in range(connections):
                self.sockets.append(connect(address))
                self.sockets[-1].sendall(get(TARGET))
            numbers = {receive_beginning(sock) for sock in self.sockets}
            self._streams = list(self.sockets)
            self._control = connect(address)
            self.sockets.append(self._control)
            if len(numbers) > 1:
                raise Wrong("streams begin with different events, and nobody has asked for one")
        except BaseException:
            self.abort()
            raise
        (self._number,) = numbers
        self._replies = Replies(check_body)

    def turn(self) -> int:
        self._ask("POST")
        self._number += 1
        self._expect(delivery(self._number))
        return len(self._streams)

    def end(self) -> None:
        """The server ends every stream."""
        self._ask("DELETE")
        self._expect(LAST_CHUNK)
        super().end()

    def _ask(self, method: str) -> None:
        self._control.sendall(request(method, TARGET, "Content-Length: 0\r\n"))
        self._replies.receive(self._control)

    def _expect(self, expected: bytes) -> None:
        """Receive this on every stream."""
        length, whole = len(expected), socket.MSG_WAITALL
        for sock in self._streams:
            if (data := sock.recv(length, whole)) != expected:
                raise difference(data, expected)


def delivery(number: int) -> bytes:
    """An event as it comes, in a chunk of its own."""
    data = event(number)
    return chunks(data, len(data))


def receive_beginning(sock: socket.socket) -> int:
    """Receive the head of a stream and its first event; returns the event's number.

    Raises:
      Wrong: it is not what it must be.
    """
    data = b""
    while (found := BEGINNING.fullmatch(data)) is None:
        if len(data) > LONGEST or data.endswith(b"\n\n\r\n") or not (more := sock.recv(LONGEST)):
            raise Wrong(f"{data[-80:]!r} instead of the beginning of a stream")
        data += more
    return int(found[1])
