"""What is known of a connection's TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TypeAlias

import trio

__all__ = ["TLSInfo", "TlsState", "tls_info"]


# Either tells what TLS has agreed on, by methods of the same names.
TlsState: TypeAlias = "ssl.SSLObject | trio.SSLStream[trio.abc.Stream]"


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What a request's connection has agreed on in its TLS handshake; `Request.tls` gives it.

    Attributes:
      version: the version of TLS, such as "TLSv1.3".
      cipher: the name of the cipher, such as "TLS_AES_256_GCM_SHA384".
      alpn_protocol: the protocol that ALPN has agreed on; None if it has agreed on nothing.
      client_certificate: the client's certificate, as DER; None if it sent none. Clients send one only if
        the `verify_mode` of the `ssl.SSLContext` asks for it, and then it was verified.
        `Request.transport.getpeercert()` gives its fields.
    """

    version: str
    cipher: str
    alpn_protocol: str | None
    client_certificate: bytes | None


def tls_info(state: TlsState) -> TLSInfo:
    """What `state` tells once the handshake is done."""
    cipher = state.cipher()
    return TLSInfo(
        version=state.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn_protocol=state.selected_alpn_protocol(),
        client_certificate=state.getpeercert(True),
    )
