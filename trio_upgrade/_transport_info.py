"""The connection below HTTP, as a handler may know it: socket options and the state of TLS, not its bytes."""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from typing import Any

import trio

from ._tls_info import TlsState

__all__ = ["TransportInfo"]


class TransportInfo:
    """What carries a request's connection; `Request.transport` gives it.

    It cannot read or write: that would interfere with HTTP. The upgraded stream is for that.
    """

    __slots__ = ("_stream", "_tls")

    def __init__(self, stream: trio.abc.Stream, tls: TlsState | None) -> None:
        self._stream = stream
        self._tls = tls

    @property
    def socket(self) -> stdlib_socket.socket | trio.socket.SocketType | None:
        """The socket, also below TLS; None for a stream in memory, or another one without a socket."""
        stream: Any = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        found: stdlib_socket.socket | trio.socket.SocketType | None = getattr(stream, "socket", None)
        return found

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option of the socket; see `socket.socket.setsockopt`.

        Raises:
          OSError: the system refuses it, or there is no socket (`errno.ENOTSOCK`).
        """
        self._a_socket().setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """Get an option of the socket; see `socket.socket.getsockopt`.

        Raises:
          OSError: the system refuses it, or there is no socket (`errno.ENOTSOCK`).
        """
        socket = self._a_socket()
        return socket.getsockopt(level, option, buffersize) if buffersize else socket.getsockopt(level, option)

    def _a_socket(self) -> stdlib_socket.socket | trio.socket.SocketType:
        socket = self.socket
        if socket is None:
            raise OSError(errno.ENOTSOCK, f"{os.strerror(errno.ENOTSOCK)}: {type(self._stream).__name__}")
        return socket

    # TLS, by the names that `ssl.SSLObject` and `trio.SSLStream` have for it.

    def version(self) -> str | None:
        """The version of TLS, such as "TLSv1.3"; None without TLS."""
        return self._tls.version() if self._tls else None

    def cipher(self) -> tuple[str, str, int] | None:
        """The name of the cipher, the version of TLS that defines it, and the bits of its key; None without TLS."""
        return self._tls.cipher() if self._tls else None

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that ALPN has agreed on; None without TLS, or if it has agreed on nothing."""
        return self._tls.selected_alpn_protocol() if self._tls else None

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The client's certificate, as `ssl.SSLSocket.getpeercert` gives it; None without TLS, or if it sent none."""
        return self._tls.getpeercert(binary_form) if self._tls else None
