"""TLS 1.3 records of a client's own making: what `ssl` never sends, after a handshake that `ssl` has done.

RFC 8446 sections 5.2 (records), 7.2 and 7.3 (keys).
"""

from __future__ import annotations

import contextlib
import ssl
import struct
from pathlib import Path

import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

__all__ = ["ALERT", "CLOSE_NOTIFY", "DATA", "HANDSHAKE", "RecordClient", "Records"]

ALERT, HANDSHAKE, DATA = 21, 22, 23
CLOSE_NOTIFY = b"\1\0"


class Records:
    """What a client sends after its handshake.

    Args:
      secret: the client's traffic secret.
      cipher: the cipher's name in TLS 1.3.
    """

    def __init__(self, secret: bytes, cipher: str) -> None:
        self._hash: HashAlgorithm = SHA384() if cipher.endswith("SHA384") else SHA256()
        self._key_size = 32 if "256_GCM" in cipher else 16
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(self._expand(b"key", self._key_size))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", size, len(label)) + label + b"\0"
        return HKDFExpand(self._hash, size, info).derive(self._secret)

    def record(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """The next record."""
        inner = content + bytes([kind]) + bytes(padding)
        head = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, inner, head)

    def data(self, content: bytes) -> bytes:
        """A record of data."""
        return self.record(DATA, content)

    def alert(self, content: bytes = CLOSE_NOTIFY) -> bytes:
        """A record of an alert: its level and its description."""
        return self.record(ALERT, content)

    def key_update(self, wants: bool = False) -> bytes:
        """A record that announces new keys, for the records that follow.

        Args:
          wants: the peer must announce new keys of its own, too.
        """
        record = self.record(HANDSHAKE, b"\x18\0\0\1" + bytes([wants]))
        self._use(self._expand(b"traffic upd", self._hash.digest_size))
        return record


class RecordClient:
    """A client's side of a connection: bytes in and out, without a transport.

    Args:
      context: the client's. For `records`, it must have a `keylog_filename` that nobody else uses meanwhile.
      session: to resume.

    Attributes:
      state: of TLS.
      has_ended: the server has sent close_notify.
    """

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._log = context.keylog_filename
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.state = context.wrap_bio(self._incoming, self._outgoing, server_hostname="test.example", session=session)
        self.has_ended = False

    def handshake(self, received: bytes = b"") -> tuple[bool, bytes]:
        """Go on with the handshake; returns whether it is done, and what is to be sent."""
        self._incoming.write(received)
        try:
            self.state.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def records(self) -> Records:
        """What makes the records that follow the handshake."""
        cipher = self.state.cipher()
        assert cipher is not None
        lines = Path(self._log).read_text().splitlines()
        secrets = [line.split()[2] for line in lines if line.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
        return Records(bytes.fromhex(secrets[-1]), cipher[0])

    def encrypt(self, data: bytes) -> bytes:
        """Records of data, made by `ssl`."""
        self.state.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        """close_notify, made by `ssl`."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.state.unwrap()
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        """The data in what was received."""
        self._incoming.write(received)
        data = b""
        try:
            while more := self.state.read(65536):
                data += more
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        return data

    async def connect(self, stream: trio.abc.Stream) -> None:
        """Do the handshake over a stream."""
        done, sent = self.handshake()
        while True:
            if sent:
                await stream.send_all(sent)
            if done:
                return
            done, sent = self.handshake(bytes(await stream.receive_some()))
