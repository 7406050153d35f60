"""Connections of the load generator: blocking sockets on loopback, each with a bound on how long it waits."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

from .wire import KEYS, Wrong, check_switch, complete_length, upgrade

__all__ = ["HOST", "NOT_YET", "PATIENCE", "Address", "Replies", "Secure", "close", "connect", "open_upgraded"]

HOST = "127.0.0.1"
PATIENCE = 5  # seconds for a reply
LARGEST = 16 * 1024  # bytes of a response
KNOWN = 64  # responses that are remembered; a Date makes a new one every second
AT_ONCE = 32  # handshakes under way while many connections are opened
TIMEOUT = struct.pack("@ll", PATIENCE, 0)  # a struct timeval
RESET = struct.pack("@ii", 1, 0)  # a struct linger: close at once, so that no port is left in TIME_WAIT

# What a socket raises that does not wait.
NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
      tls: what to speak TLS with; None for plain TCP.
    """

    port: int
    tls: ssl.SSLContext | None = None


class Secure(ssl.SSLSocket):
    """A connection over TLS that can be told to wait for all it was asked for, as one without can."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data = super().recv(buflen)
        if flags & socket.MSG_WAITALL:
            while 0 < len(data) < buflen:
                more = super().recv(buflen - len(data))
                if not more:
                    break
                data += more
        return data


def connect(address: Address) -> socket.socket:
    """Connect, over TLS with its handshake.

    The kernel bounds each call by `PATIENCE`, which costs less than Python's own timeouts. TLS needs these, since
    OpenSSL begins a call again that the kernel has ended.
    """
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.connect((HOST, address.port))
        if address.tls is None:
            return sock
        sock.settimeout(PATIENCE)
        return address.tls.wrap_socket(sock, server_hostname=HOST)
    except BaseException:
        sock.close()
        raise


class Replies:
    """Receives responses and checks them; one that has been checked before is only compared."""

    def __init__(self, check: Callable[[bytes], None]) -> None:
        self._check = check
        self._known: set[bytes] = set()

    def receive(self, sock: socket.socket) -> None:
        """Receive one response, and nothing after it.

        Raises:
          Wrong: it is not what it must be.
          OSError: it did not come (BlockingIOError: in time).
        """
        response = sock.recv(LARGEST)
        if response not in self._known:
            self._receive_rest(sock, response)

    def _receive_rest(self, sock: socket.socket, response: bytes) -> None:
        while (length := complete_length(response)) is None or len(response) < length:
            data = sock.recv(LARGEST)
            if not data or len(response) > LARGEST:
                raise Wrong(f"{response[:80]!r} instead of a whole response")
            response += data
        self._check(response)
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known.add(response)


def open_upgraded(address: Address, count: int, protocol: str, target: str = "/") -> list[socket.socket]:
    """Open connections, and upgrade each.

    Raises:
      Wrong: a response is not what it must be.
      OSError: a connection failed.
    """
    request = upgrade(protocol, target)
    replies = Replies(lambda response: check_switch(response, protocol, KEYS[0]))
    opened: list[socket.socket] = []
    try:
        while len(opened) < count:
            batch = min(AT_ONCE, count - len(opened))
            for _ in range(batch):
                opened.append(connect(address))
                opened[-1].sendall(request)
            for sock in opened[-batch:]:
                replies.receive(sock)
    except BaseException:
        close(opened)
        raise
    return opened


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
