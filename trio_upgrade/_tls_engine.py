"""TLS without I/O: what arrives goes in and the data inside comes out, and the other way round.

It knows nothing of sockets, tasks or time.
"""

from __future__ import annotations

import contextlib
import ssl

from ._transport import Buffer

__all__ = ["TlsEngine", "check_context"]

RECORD = 16 * 1024  # a record has at most so many bytes of data (RFC 8446 section 5.1)

# OpenSSL's buffers never shrink, so they are not given more than two whole records at a time. That also bounds
# how long one call takes: a peer may fill its records with updates of its keys, which cost more than data.
SLICE = 33 * 1024


class TlsEngine:
    """The server's side of one TLS connection.

    If the peer breaks TLS or sends a fatal alert, the methods raise `ssl.SSLError`. After that, only `take` is of
    use: it gives the alert that tells the peer, if there is one.

    Args:
      context: has the server's certificate.

    Attributes:
      state: tells the version of TLS and the like, once the handshake is done.
      is_holding: `decrypt` may give data without another `feed`. If it is False, `decrypt` gives None.
    """

    __slots__ = ("_arrived", "_decrypted", "_error", "_incoming", "_outgoing", "_tickets", "is_holding", "state")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.state = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._arrived = b""  # what OpenSSL was not given yet
        self._decrypted = b""  # data that OpenSSL has given, and nobody has asked for
        self._error: ssl.SSLError | None = None  # it comes after the data that was decrypted before
        self._tickets = b""
        self.is_holding = False

    # ---- what arrives

    def feed(self, data: bytes) -> None:
        """Take what has arrived. Call it only while `is_holding` is False.

        Args:
          data: b"" at the end of the connection.
        """
        if data:
            self._arrived = data
            self._feed_slice()
        else:
            self._incoming.write_eof()

    def _feed_slice(self) -> int:
        if len(self._arrived) <= SLICE:
            data, self._arrived = self._arrived, b""
        else:
            data, self._arrived = self._arrived[:SLICE], self._arrived[SLICE:]
        return self._incoming.write(data)

    def handshake(self) -> bool:
        """Go on with the handshake; returns whether it is done. If it is not, send what `take` gives."""
        while True:
            try:
                self.state.do_handshake()
            except ssl.SSLWantReadError:
                if not self._arrived:
                    return False
                self._feed_slice()
            else:
                break
        self.is_holding = bool(self._incoming.pending or self._arrived)  # the client's first data came along
        if self.state.version() == "TLSv1.3":
            # What is left to send are session tickets. A client that only sends, and then closes, does not read them,
            # and its kernel would answer them with a reset. So they go out with our first data.
            self._tickets = self._outgoing.read()
        return True

    def decrypt(self, max_bytes: int) -> bytes | None:
        """The data in what has arrived.

        Returns:
          b"" at the peer's close_notify. None if there is no data; if it `is_holding` something still,
          call it again, once other connections have had their turn.
        """
        if self._decrypted:
            data, self._decrypted = self._decrypted[:max_bytes], self._decrypted[max_bytes:]
            return data
        if self._error is not None:
            raise type(self._error)(*self._error.args)
        parts: list[bytes] = []
        size = 0
        given = self._incoming.pending
        self.is_holding = True
        while size < max_bytes:
            data_or_none = self._read(min(max_bytes - size, RECORD), not parts)
            if data_or_none:
                parts.append(data_or_none)
                size += len(data_or_none)
                if self._incoming.pending:
                    continue
            elif data_or_none is not None:
                return b"".join(parts)
            if not self._arrived:
                self.is_holding = size == max_bytes and self.state.pending() > 0
                break
            if 2 * size < given:
                break  # this peer's records are costly
            given += self._feed_slice()
        return b"".join(parts) if parts else None

    def _read(self, max_bytes: int, is_first: bool) -> bytes | None:
        """The data of one record; b"" if there will be no more, None if there is no more yet."""
        try:
            return self.state.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as exc:
            # OpenSSL does not say it twice. The exception itself has a traceback that leads back here, so it is
            # not kept: the cycle would keep the TLS object until a garbage collection.
            self._error = type(exc)(*exc.args)
            if is_first:
                raise
            return b""

    # ---- what is to be sent

    @property
    def pending(self) -> int:
        """How many bytes TLS itself wants to send: its handshake, an alert, an answer to a key update."""
        return self._outgoing.pending

    def take(self) -> bytes:
        """What is to be sent."""
        if not self._tickets:
            return self._outgoing.read()
        tickets, self._tickets = self._tickets, b""
        return tickets + self._outgoing.read()

    def encrypt(self, data: Buffer) -> bytes:
        """Encrypt data, which must not be empty; returns what is to be sent."""
        try:
            if len(data) <= SLICE:
                self.state.write(data)
                return self.take()
            parts = []
            with memoryview(data) as view:
                for start in range(0, len(view), 2 * RECORD):
                    with view[start : start + 2 * RECORD] as part:
                        self.state.write(part)
                    parts.append(self.take())
            return b"".join(parts)
        except ssl.SSLWantReadError:
            # Only TLS 1.2 can, and OpenSSL 3 refuses it unless the context allows it. OpenSSL's own clients break the
            # connection, too, if data comes meanwhile.
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the peer renegotiates, and nothing can be sent meanwhile") from None

    def encrypt_close_notify(self) -> None:
        """Let `take` give close_notify. From now on nothing can be encrypted, but what arrives can be decrypted."""
        # OpenSSL then looks for the peer's close_notify, and destroys the data that it finds on its way. So it is
        # given nothing until that is over.
        if size := self.state.pending():
            self._decrypted += self.state.read(size)
        self._arrived = self._incoming.read() + self._arrived
        with contextlib.suppress(ssl.SSLWantReadError):
            self.state.unwrap()
        self.is_holding = self.is_holding or bool(self._decrypted or self._arrived)


def check_context(context: ssl.SSLContext) -> None:
    """Raise an `ssl.SSLError` if a server cannot use this context at all: it may have been made for clients."""
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
