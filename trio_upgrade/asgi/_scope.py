"""What an application is told of a request: its scope, by the ASGI specification for HTTP and WebSocket."""

from __future__ import annotations

import functools
import ssl
from typing import Any

from .._headers import lowered_fields, tokens
from .._request import Request, transport_of
from ._messages import Scope

__all__ = ["SHUTDOWN", "UPGRADE", "http_scope", "websocket_scope"]

UPGRADE = "trio_upgrade.upgrade"
SHUTDOWN = "trio_upgrade.shutdown"

# From HTTP 2.4 on, Starlette does not listen for the client's leaving: a quiet stream would outlive its client.
HTTP_VERSION = "2.3"
WEBSOCKET_VERSION = "2.5"

TLS_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
# RFC 4514 section 3
ATTRIBUTES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


def http_scope(request: Request, root_path: str, state: dict[str, Any]) -> Scope:
    """The scope of an ordinary request, or of one that asks for an upgrade to something other than WebSocket."""
    scope = common_scope(request, root_path, state)
    scope["type"] = "http"
    scope["asgi"] = {"version": "3.0", "spec_version": HTTP_VERSION}
    scope["method"] = request.method
    extensions = scope["extensions"]
    extensions["http.response.pathsend"] = {}
    if request.http_version == "1.1":  # RFC 9110 section 15.2, and RFC 9112 section 7.1: an older client knows neither
        extensions["http.response.early_hint"] = {}
        extensions["http.response.trailers"] = {}
    return scope


def websocket_scope(request: Request, root_path: str, state: dict[str, Any]) -> Scope:
    """The scope of a WebSocket."""
    scope = common_scope(request, root_path, state)
    scope["type"] = "websocket"
    scope["asgi"] = {"version": "3.0", "spec_version": WEBSOCKET_VERSION}
    scope["scheme"] = "wss" if request.scheme == "https" else "ws"
    scope["subprotocols"] = [
        name for value in request.headers.get_list("sec-websocket-protocol") for name in tokens(value)
    ]
    scope["extensions"]["websocket.http.response"] = {}
    return scope


def common_scope(request: Request, root_path: str, state: dict[str, Any]) -> Scope:
    extensions: dict[str, Any] = {SHUTDOWN: {"shutting_down": request.server.shutting_down}}
    if (tls := transport_of(request).tls_state) is not None:
        extensions["tls"] = tls_extension(request, tls)
    if request.method == "CONNECT":  # it has an authority in place of a path
        path, raw_path = request.target, request.target.encode("ascii")
    else:
        path, raw_path = root_path + request.path, root_path.encode() + request.raw_path
    return {
        "http_version": request.http_version,
        "scheme": request.scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": request.query.encode("ascii"),
        "root_path": root_path,
        "headers": lowered_fields(request.headers),
        "client": client_of(request),
        "server": server_of(request),
        "state": state.copy(),
        "extensions": extensions,
    }


def client_of(request: Request) -> tuple[str, int] | None:
    """The client's address and port. The port is 0 if a proxy has told the address."""
    client, peername = request.client, request.peername
    if client is None:
        return None
    return (client, peername[1] if isinstance(peername, tuple) and peername[0] == client else 0)


def server_of(request: Request) -> tuple[str, int | None] | None:
    """The address and port that the client has connected to; for a Unix socket, its path."""
    name = request.sockname
    if isinstance(name, tuple):
        return (name[0], name[1])
    return (name, None) if isinstance(name, str) and name else None


# ---- the extension "tls"


def tls_extension(request: Request, state: Any) -> dict[str, Any]:
    """What the connection's TLS has agreed on."""
    info = request.tls
    assert info is not None
    certificate = info.client_certificate
    return {
        "server_cert": None,  # `ssl` does not give it
        "client_cert_chain": [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)],
        "client_cert_name": None if certificate is None else distinguished_name(state.getpeercert()),
        "client_cert_error": None,  # a certificate with an error ends the handshake
        "tls_version": TLS_VERSIONS.get(info.version),
        "cipher_suite": cipher_suites().get(info.cipher),
    }


def distinguished_name(certificate: Any) -> str | None:
    """The subject of a certificate by RFC 4514; None if nobody has checked the certificate."""
    subject = (certificate or {}).get("subject")
    if not subject:
        return None
    parts = [
        "+".join(f"{ATTRIBUTES.get(name, name)}={escaped(value)}" for name, value in relative) for relative in subject
    ]
    return ",".join(reversed(parts))


def escaped(value: str) -> str:
    """A value by RFC 4514 section 2.4."""
    text = "".join(f"\\{char}" if char in '"+,;<>\\' else char for char in value).replace("\0", "\\00")
    if text[:1] in (" ", "#"):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text


@functools.cache
def cipher_suites() -> dict[str, int]:
    """The numbers of the cipher suites, by OpenSSL's names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
