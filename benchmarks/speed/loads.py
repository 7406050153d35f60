"""The loads of small exchanges and of messages: what is repeated on some connections, and checked.

Each begins an operation on every connection, and begins the next there when it is done; a broadcast, and a round of
large messages, only when all have it. It takes the connections in turn, waiting for one while the
others' replies queue up: that costs the generator less than asking which of them is ready (`Bulk` has to ask, since
its messages are larger than what the kernel holds).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Protocol

from .connections import NOT_YET, PATIENCE, Address, Replies, close, connect, open_upgraded
from .exchanges import Exchange
from .meter import Meter, Sample
from .wire import VARIETY, Wrong, client_frame, payloads, server_frame

__all__ = ["Broadcast", "Bulk", "Echo", "Handshake", "Load", "Requests", "Sockets", "difference", "measure"]

MOST = 5_000_000  # operations of one measurement
SETTLE = 0.5  # seconds until a server knows everybody it has sent a 101


class Load(Protocol):
    """Something to repeat."""

    def turn(self) -> int:
        """Do it once on each connection, and check the replies.

        Returns:
          How many operations that were.

        Raises:
          Wrong: a reply is not what it must be.
          OSError: a connection failed.
        """

    def end(self) -> None:
        """Take what is still under way, and close the connections."""

    def abort(self) -> None:
        """Close the connections."""


def measure(load: Load, meter: Meter, seconds: float) -> Sample:
    """Repeat a load for some seconds.

    It has been going for two turns when the meter starts, so that as much is under way at the start as at the end.
    """
    try:
        with no_collection():
            load.turn()
            load.turn()
            meter.start()
            until = time.perf_counter() + seconds
            operations = load.turn()
            while operations < MOST and time.perf_counter() < until:
                operations += load.turn()
            sample = meter.stop(operations)
        load.end()
    finally:
        load.abort()
    return sample


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """The generator makes no garbage that would need collecting."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Sockets:
    """What the loads have in common."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets

    def end(self) -> None:
        """Nothing may be left once every reply has been taken."""
        for sock in self.sockets:
            sock.setblocking(False)
            try:
                data = sock.recv(80)
            except NOT_YET:
                continue
            raise Wrong(f"{data!r} after the last reply" if data else "the server closed a connection")

    def abort(self) -> None:
        close(self.sockets)


class Requests(Sockets):
    """Requests on kept connections, one after another; an operation is a request."""

    def __init__(self, address: Address, connections: int, exchanges: list[Exchange]) -> None:
        super().__init__([connect(address) for _ in range(connections)])
        self._exchanges = itertools.cycle(exchanges)
        self._request, self._replies = next(self._exchanges)
        for sock in self.sockets:
            sock.sendall(self._request)

    def turn(self) -> int:
        receive = self._replies.receive
        request, self._replies = next(self._exchanges)
        for sock in self.sockets:
            receive(sock)
            sock.sendall(request)
        return len(self.sockets)

    def end(self) -> None:
        for sock in self.sockets:
            self._replies.receive(sock)
        super().end()


class Handshake(Sockets):
    """Connect, send a request, take its response, reset; an operation is all of that."""

    def __init__(self, address: Address, connections: int, exchanges: list[Exchange]) -> None:
        super().__init__([])
        self._address = address
        self._exchanges = itertools.cycle(exchanges)
        self._under_way: list[Replies] = []
        for _ in range(connections):
            sock, replies = self._begin()
            self.sockets.append(sock)
            self._under_way.append(replies)

    def turn(self) -> int:
        for number, (sock, replies) in enumerate(zip(self.sockets, self._under_way, strict=True)):
            replies.receive(sock)
            sock.close()
            self.sockets[number], self._under_way[number] = self._begin()
        return len(self.sockets)

    def end(self) -> None:
        for sock, replies in zip(self.sockets, self._under_way, strict=True):
            replies.receive(sock)
        super().end()

    def _begin(self) -> tuple[socket.socket, Replies]:
        request, replies = next(self._exchanges)
        sock = connect(self._address)
        sock.sendall(request)
        return sock, replies


class Echo(Sockets):
    """Messages that come back; an operation is one message, there and back.

    Args:
      protocol: `websocket` has each message in a binary frame; on any other they are bare.
    """

    def __init__(self, address: Address, connections: int, protocol: str, size: int) -> None:
        super().__init__(open_upgraded(address, connections, protocol))
        messages, replies = payloads(size), payloads(size)
        if protocol == "websocket":
            messages, replies = [client_frame(m) for m in messages], [server_frame(m) for m in replies]
        self._length = len(replies[0])
        self._turn = 0
        self._calls = [(sock.recv, sock.sendall) for sock in self.sockets]
        spread = [[(turn + number) % VARIETY for number in range(connections)] for turn in range(VARIETY)]
        self._messages = [[messages[which] for which in turn] for turn in spread]
        self._replies = [[replies[which] for which in turn] for turn in spread]
        for sock, message in zip(self.sockets, self._messages[0], strict=True):
            sock.sendall(message)

    def turn(self) -> int:
        replies = self._replies[self._turn]
        self._turn = (self._turn + 1) % VARIETY
        length, whole = self._length, socket.MSG_WAITALL
        messages = self._messages[self._turn]
        for (recv, sendall), reply, message in zip(self._calls, replies, messages, strict=True):
            if (data := recv(length, whole)) != reply:
                raise difference(data, reply)
            sendall(message)
        return len(self.sockets)

    def end(self) -> None:
        for sock, reply in zip(self.sockets, self._replies[self._turn], strict=True):
            if (data := sock.recv(self._length, socket.MSG_WAITALL)) != reply:
                raise difference(data, reply)
        super().end()


class Broadcast(Sockets):
    """A WebSocket message of the first connection goes to all; an operation is one delivery."""

    def __init__(self, address: Address, connections: int, size: int) -> None:
        super().__init__(open_upgraded(address, connections, "websocket", "/broadcast"))
        time.sleep(SETTLE)
        self._receives = [sock.recv for sock in self.sockets]
        self._frames = itertools.cycle([(client_frame(message), server_frame(message)) for message in payloads(size)])

    def turn(self) -> int:
        message, delivery = next(self._frames)
        self.sockets[0].sendall(message)
        length, whole = len(delivery), socket.MSG_WAITALL
        for receive in self._receives:
            if (data := receive(length, whole)) != delivery:
                raise difference(data, delivery)
        return len(self.sockets)


class Bulk(Sockets):
    """Large bare messages that come back while they are being sent; an operation is one message, there and back."""

    def __init__(self, address: Address, connections: int, protocol: str, size: int) -> None:
        super().__init__(open_upgraded(address, connections, protocol))
        for sock in self.sockets:
            sock.setblocking(False)
        self._messages = itertools.cycle(payloads(size))
        self._buffers = [bytearray(size) for _ in self.sockets]

    def turn(self) -> int:
        message = next(self._messages)
        with selectors.DefaultSelector() as selector:
            for sock, buffer in zip(self.sockets, self._buffers, strict=True):
                passing = _Passing(sock, message, memoryview(buffer))
                selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, passing)
            while selector.get_map():
                ready = selector.select(PATIENCE)
                if not ready:
                    raise Wrong(f"nothing came back for {PATIENCE} seconds")
                for key, events in ready:
                    key.data.go_on(selector, events)
        for buffer in self._buffers:
            if buffer != message:
                raise Wrong("a byte is not what was sent")
        return len(self.sockets)


class _Passing:
    """A message under way, both ways at once."""

    def __init__(self, sock: socket.socket, message: bytes, buffer: memoryview) -> None:
        self._sock = sock
        self._unsent = memoryview(message)
        self._missing = buffer

    def go_on(self, selector: selectors.BaseSelector, events: int) -> None:
        """Send and receive what is possible at once; forget the socket when all has come."""
        with contextlib.suppress(*NOT_YET):  # over TLS there may be a part of a record
            if events & selectors.EVENT_READ and self._receive():
                selector.unregister(self._sock)
                return
        with contextlib.suppress(*NOT_YET):
            if events & selectors.EVENT_WRITE and self._send():
                selector.modify(self._sock, selectors.EVENT_READ, self)

    def _receive(self) -> bool:
        """Returns whether that was all."""
        count = self._sock.recv_into(self._missing)
        if count == 0:
            raise Wrong("the server closed a connection")
        self._missing = self._missing[count:]
        return not self._missing

    def _send(self) -> bool:
        """Returns whether that was all."""
        self._unsent = self._unsent[self._sock.send(self._unsent) :]
        return not self._unsent


def difference(data: bytes, expected: bytes) -> Wrong:
    """Why what came is wrong."""
    if not data:
        return Wrong("the server closed a connection")
    if expected.startswith(data):
        return Wrong(f"{len(data)} bytes instead of {len(expected)}, and no more for {PATIENCE} seconds")
    return Wrong(f"{data[:40]!r} instead of {expected[:40]!r}")
