"""The opening handshake of a server (RFC 6455 section 4.2), and what is negotiated in it."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import NamedTuple

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension, parse_subprotocol
from websockets.typing import ExtensionHeader
from websockets.utils import accept_key

from .._exceptions import ProtocolError
from .._headers import Headers
from .._request import Request, transport_of
from ._deflate import WINDOW_BITS, Deflate
from ._options import Compression, Options

__all__ = ["Agreement", "HandshakeError", "is_handshake", "negotiate"]

VERSION = "13"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

FACTORIES = {
    "deflate": ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
    ),
    "deflate-takeover": ServerPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
    ),
}


class HandshakeError(ProtocolError):
    """A request that cannot become a WebSocket, or may not.

    Left unhandled, it is answered with its `status`, and logged at DEBUG only: it is the client's
    fault. A handler that catches it may return a response of its own.

    Attributes:
      status: 400, 403 (a refused Origin), or 426 (no WebSocket of version 13 is asked for).
    """


class Agreement(NamedTuple):
    """What a handshake has led to."""

    headers: list[tuple[str, str]]
    subprotocol: str | None
    deflate: Deflate | None


def is_handshake(request: Request) -> bool:
    """Whether a request offers `websocket`; for `should_upgrade`.

    Nothing stricter: a handshake with mistakes is for `accept` to answer. Requests that offer
    something else only, as Java's HTTP client offers h2c, get their ordinary response.
    """
    return any(protocol.lower() == "websocket" for protocol in request.upgrade)


def negotiate(request: Request, options: Options) -> Agreement:
    """Check a client's handshake, and choose from what it offers.

    Raises:
      HandshakeError: it is not one that can be accepted.
    """
    headers = request.headers
    if not is_handshake(request):
        raise upgrade_required(request, "this is a WebSocket, and the request does not offer `Upgrade: websocket`")
    if request.method != "GET":
        raise refusal(request, f"a WebSocket handshake is a GET, not {request.method}")
    if headers.get_list("sec-websocket-version") != [VERSION]:
        raise upgrade_required(request, f"Sec-WebSocket-Version must be {VERSION}")
    keys = headers.get_list("sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise refusal(request, "Sec-WebSocket-Key must be there once, 16 bytes in base64")
    check_origin(request, options)
    answer = [("Sec-WebSocket-Accept", accept_key(keys[0]))]
    try:
        deflate, extensions = choose_compression(headers, options.compression)
        subprotocol = choose_subprotocol(headers, tuple(options.subprotocols))
    except (InvalidHeaderFormat, NegotiationError) as exc:
        raise refusal(request, str(exc)) from exc
    if extensions:
        answer.append(("Sec-WebSocket-Extensions", extensions))
    if subprotocol is not None:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    return Agreement(answer, subprotocol, deflate)


def refusal(request: Request, why: str, status: int = 400) -> HandshakeError:
    return HandshakeError(why, transport_of(request), status=status)


def upgrade_required(request: Request, why: str) -> HandshakeError:
    """RFC 9110 section 15.5.22 wants an Upgrade field, RFC 6455 section 4.4 the version."""
    error = refusal(request, why, 426)
    error.headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION))
    return error


def is_key(key: str) -> bool:
    """Whether `key` is the base64 of 16 bytes (section 4.1)."""
    try:
        return len(key) == 24 and len(binascii.a2b_base64(key.encode(), strict_mode=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


def check_origin(request: Request, options: Options) -> None:
    """Refuse pages of other sites (section 10.2): browsers say where a page is from."""
    allowed = options.origins
    if allowed == "*":
        return
    origins = request.headers.get_list("origin")
    if not origins and allowed == "same":
        return
    if len(origins) == 1:
        origin = origins[0].lower()
        if allowed != "same":
            if origin in allowed:
                return
        elif is_same(origin, request.headers["host"].lower()):
            return
    raise refusal(request, "this Origin may not open a WebSocket here", status=403)


def is_same(origin: str, host: str) -> bool:
    """Whether a page of `origin` came from `host`, whichever of them names the default port."""
    scheme, _, authority = origin.partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    return bool(authority) and authority.removesuffix(port) == host.removesuffix(port)


def choose_compression(headers: Headers, compression: Compression) -> tuple[Deflate | None, str]:
    """The first offer of permessage-deflate that can be met (RFC 7692 section 5.1), and the answer.

    Malformed offers are refused even where compression is off (RFC 6455 section 9.1).
    """
    offers: list[ExtensionHeader] = []
    for value in headers.get_list("sec-websocket-extensions"):
        offers += parse_extension(value)
    if compression is None:
        return None, ""
    factory = FACTORIES[compression]
    for name, parameters in offers:
        if name == factory.name:
            try:
                answer, extension = factory.process_request_params(parameters, [])
            except NegotiationError:
                continue
            assert isinstance(extension, PerMessageDeflate)
            return Deflate(extension), build_extension([(factory.name, answer)])
    return None, ""


def choose_subprotocol(headers: Headers, subprotocols: Iterable[str]) -> str | None:
    """The first of the server's subprotocols that the client offers."""
    offered: set[str] = set()
    for value in headers.get_list("sec-websocket-protocol"):
        offered.update(parse_subprotocol(value))
    if not subprotocols:
        return None
    for subprotocol in subprotocols:
        if subprotocol in offered:
            return subprotocol
    raise NegotiationError(f"Sec-WebSocket-Protocol must offer one of {', '.join(subprotocols)}")
