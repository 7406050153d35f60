"""The opening handshake (RFC 6455 section 4.2): whether a request can become a WebSocket, and what is agreed on."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import NamedTuple

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.headers import build_extension, parse_extension, parse_subprotocol
from websockets.typing import ExtensionHeader
from websockets.utils import accept_key

from .._headers import Headers
from .._request import Request, transport_of
from ._deflate import Deflate
from ._deflate_offer import agree
from ._errors import HandshakeError
from ._options import Compression, Options
from ._origin import is_allowed

__all__ = ["Agreement", "is_handshake", "negotiate"]

VERSION = "13"


class Agreement(NamedTuple):
    """What a handshake has led to.

    Attributes:
      headers: fields of the 101, as pairs of str.
      subprotocol: the one that both sides speak, or None.
      deflate: what compresses messages, or None.
    """

    headers: list[tuple[str, str]]
    subprotocol: str | None
    deflate: Deflate | None


def is_handshake(request: Request) -> bool:
    """Return whether a request offers to become a WebSocket. Pass it to `Server` as `should_upgrade`.

    It looks for `websocket` in the Upgrade field, and no further: a handshake with a mistake in it is for `accept` to
    answer. A request that offers only something else, as Java's HTTP client offers h2c, gets its ordinary response.
    """
    return "websocket" in [protocol.lower() for protocol in request.upgrade]


def negotiate(request: Request, options: Options) -> Agreement:
    """Check a client's handshake, and choose from what it offers.

    Raises:
      HandshakeError: it cannot be accepted.
    """
    headers = request.headers
    if not is_handshake(request):
        raise upgrade_required(
            request, "there is a WebSocket here, and the request does not offer `Upgrade: websocket`"
        )
    if request.method != "GET":
        raise handshake_error(request, f"a WebSocket handshake is a GET, not {request.method}")
    if headers.get_list("sec-websocket-version") != [VERSION]:
        raise upgrade_required(request, f"Sec-WebSocket-Version must be {VERSION}")
    keys = headers.get_list("sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise handshake_error(request, "there must be one Sec-WebSocket-Key, with 16 bytes in base64")
    if not is_allowed(headers, options.allowed_origins):
        raise handshake_error(request, "this Origin may not open a WebSocket here", status=403)
    answer = [("Sec-WebSocket-Accept", accept_key(keys[0]))]
    try:
        deflate, extensions = choose_compression(headers, options.compression)
        subprotocol = choose_subprotocol(headers, tuple(options.subprotocols))
    except (InvalidHeaderFormat, NegotiationError) as exc:
        raise handshake_error(request, str(exc)) from exc
    if extensions:
        answer.append(("Sec-WebSocket-Extensions", extensions))
    if subprotocol is not None:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    return Agreement(answer, subprotocol, deflate)


def handshake_error(request: Request, why: str, status: int = 400) -> HandshakeError:
    return HandshakeError(why, transport_of(request), status=status)


def upgrade_required(request: Request, why: str) -> HandshakeError:
    """Make a 426: it must have an Upgrade field (RFC 9110 section 15.5.22) and the version (RFC 6455 section 4.4)."""
    error = handshake_error(request, why, 426)
    error.headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION))
    return error


def is_key(key: str) -> bool:
    """Whether `key` is the base64 of 16 bytes (section 4.1)."""
    try:
        return len(key) == 24 and len(binascii.a2b_base64(key.encode(), strict_mode=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


def choose_compression(headers: Headers, compression: Compression) -> tuple[Deflate | None, str]:
    """Choose the client's first offer of permessage-deflate that can be met (RFC 7692 section 5.1), and answer it.

    A malformed offer is refused even if compression is off (RFC 6455 section 9.1).

    Raises:
      InvalidHeaderFormat: an offer is malformed.
    """
    offers: list[ExtensionHeader] = []
    for value in headers.get_list("sec-websocket-extensions"):
        offers += parse_extension(value)
    if compression is None:
        return None, ""
    for name, offer in offers:
        if name == "permessage-deflate" and (agreement := agree(offer, compression == "deflate-takeover")):
            agreed, answer = agreement
            return Deflate(agreed), build_extension([(name, answer)])
    return None, ""


def choose_subprotocol(headers: Headers, subprotocols: Iterable[str]) -> str | None:
    """Choose the first of the server's subprotocols that the client offers.

    Raises:
      InvalidHeaderFormat: the offer is malformed.
      NegotiationError: the client offers none of them.
    """
    offered: set[str] = set()
    for value in headers.get_list("sec-websocket-protocol"):
        offered.update(parse_subprotocol(value))
    if not subprotocols:
        return None
    for subprotocol in subprotocols:
        if subprotocol in offered:
            return subprotocol
    raise NegotiationError(f"Sec-WebSocket-Protocol must offer one of {', '.join(subprotocols)}")
