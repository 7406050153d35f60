"""The opening handshake (RFC 6455 section 4.2): whether a request can become a WebSocket, and what is agreed on."""

from __future__ import annotations

import binascii
import logging
from typing import NamedTuple

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.headers import build_extension, parse_extension, parse_subprotocol
from websockets.typing import ExtensionHeader
from websockets.utils import accept_key

from .._headers import Headers
from .._request import Request, transport_of
from ._deciding_functions import check_answer
from ._deflate import Deflate
from ._deflate_offer import agree
from ._errors import HandshakeError
from ._options import Compression, Options, Subprotocols
from ._origin import Origins

__all__ = ["Agreement", "check_handshake", "is_handshake", "negotiate"]

logger = logging.getLogger("trio_upgrade")

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


def check_handshake(request: Request, *, origins: Origins = "same") -> None:
    """Check the handshake of a WebSocket without accepting it.

    Args:
      request: of an upgrade handler, or any other one.
      origins: which web pages may connect, as for `accept`.

    Raises:
      HandshakeError: `accept` would raise it, too, but for the subprotocols that it is given.
      TypeError, ValueError: `origins` is invalid.
    """
    negotiate(request, Options(origins=origins))


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
    if why := options.allowed_origins.refusal(request):
        logger.info("%r: %s", request, why)  # the server's own page may be concerned, and its author look for the cause
        raise handshake_error(request, why, status=403)
    answer = [("Sec-WebSocket-Accept", accept_key(keys[0]))]
    try:
        deflate, extensions = choose_compression(headers, options.compression)
        subprotocol = choose_subprotocol(headers, options.subprotocols)
    except (InvalidHeaderFormat, NegotiationError) as exc:
        raise handshake_error(request, str(exc)) from None  # whose text is the client's
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
        if not is_empty(value):
            offers += parse_extension(value)
    if compression is None:
        return None, ""
    for name, offer in offers:
        if name == "permessage-deflate" and (agreement := agree(offer, compression == "deflate-takeover")):
            agreed, answer = agreement
            return Deflate(agreed), build_extension([(name, answer)])
    return None, ""


def choose_subprotocol(headers: Headers, subprotocols: Subprotocols) -> str | None:
    """Choose the first of the server's subprotocols that the client offers, or what the server's function chooses.

    Raises:
      InvalidHeaderFormat: the offer is malformed.
      NegotiationError: the client offers none of them.
      ValueError, TypeError: the function chose something that the client does not offer.
    """
    offered: list[str] = []
    for value in headers.get_list("sec-websocket-protocol"):
        if not is_empty(value):
            offered += parse_subprotocol(value)
    if callable(subprotocols):
        return check_choice(check_answer(subprotocols(offered), "subprotocols"), offered)
    spoken = tuple(subprotocols)
    for subprotocol in spoken:
        if subprotocol in offered:
            return subprotocol
    if spoken and None not in spoken:
        raise NegotiationError(f"Sec-WebSocket-Protocol must offer one of {', '.join(filter(None, spoken))}")
    return None


def check_choice(chosen: object, offered: list[str]) -> str | None:
    """Check what the server's function has chosen (RFC 6455 section 4.2.2)."""
    if chosen is None:
        return None
    if not isinstance(chosen, str):
        raise TypeError(f"the function that is given as subprotocols returned {chosen!r}, neither a str nor None")
    if chosen not in offered:
        raise ValueError(
            f"the function that is given as subprotocols chose {chosen!r}, which the client does not offer"
        )
    return chosen


def is_empty(value: str) -> bool:
    """Whether a list has no member (RFC 9110 section 5.6.1): then the client offers nothing."""
    return not value.strip(" \t,")
