"""The Origin check: which pages may open a WebSocket (RFC 6455 sections 4.2.2 and 10.2).

Any page can open a WebSocket to any server, and the browser sends the user's cookies along. What protects the user is
that the browser tells in the Origin field where the page is from: a scheme, a host and a port (RFC 6454).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

from .._request import Request
from ._deciding_functions import check_answer, check_plain

__all__ = ["AllowedOrigins", "Origins"]

Origins: TypeAlias = Literal["same", "*"] | Iterable[str] | Callable[[Request], object]

SHOWN = 8  # entries of a list in an error
SHOWN_LENGTH = 200  # characters of an Origin in it
DEFAULT_PORTS = {"http": 80, "https": 443}
ORIGIN = re.compile(r"([a-z][-+.a-z0-9]*)://(\[[0-9a-f:.]+\]|[^][\s/?#@:\\]*)(?::([0-9]{1,5}))?")
HOST = re.compile(r"[-_a-z0-9]+(?:\.[-_a-z0-9]+)*\.?")  # of a page; what is not ASCII is "xn--..." there
SUBDOMAINS = "://*."  # in a list: the subdomains of a host, and not the host itself, as in a Content-Security-Policy


class Origin(NamedTuple):
    """Where a page is from, in one spelling.

    Attributes:
      scheme: in lower case.
      host: in lower case; an IPv6 address in its shortest form.
      port: None for the default port of a scheme that is not the web's.
    """

    scheme: str
    host: str
    port: int | None


NULL = Origin("null", "", None)  # of a page that must not be told from any other such page (RFC 6454 section 6.1)


def parse_origin(text: str) -> Origin | None:
    """Read an origin; None if it is malformed."""
    text = text.lower()
    if text == "null":
        return NULL
    if not (match := ORIGIN.fullmatch(text)):
        return None
    scheme, host, digits = match.groups()
    port = DEFAULT_PORTS.get(scheme) if digits is None else int(digits)
    if port is not None and port >= 2**16:
        return None
    try:
        if host.startswith("["):
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        return None
    return Origin(scheme, host, port)


class AllowedOrigins:
    """The option `origins`, checked: it says which pages may open a WebSocket.

    Args:
      origins: see `accept`.

    Raises:
      TypeError: it is neither "same", nor "*", nor a list of str, nor a function.
      ValueError: no page can have an origin that is in the list; or the list is empty.
    """

    __slots__ = ("_ask", "_everyone", "_exact", "_listed", "_same", "_under")

    def __init__(self, origins: Origins) -> None:
        self._everyone = origins == "*"
        self._ask = None if isinstance(origins, str) or not callable(origins) else origins
        self._listed = list_origins(origins)
        self._same = "same" in self._listed
        listed = [entry for entry in self._listed if entry != "same"]
        self._exact = {check_entry(entry) for entry in listed if SUBDOMAINS not in entry}
        self._under = {check_parent(entry) for entry in listed if SUBDOMAINS in entry}

    def refusal(self, request: Request) -> str | None:
        """Why the page that a handshake comes from may not open a WebSocket; None if it may."""
        if self._everyone:
            return None
        origins = request.headers.get_list("origin")
        if len(origins) > 1:
            return "there is more than one Origin"
        if self._allows(origins[0] if origins else None, request):
            return None
        who = f"the Origin {origins[0][:SHOWN_LENGTH]!r}" if origins else "a client without an Origin"
        only = "" if self._ask is not None else f", only {self._describe(request)}"
        return f"{who} may not open a WebSocket here{only}"

    def _allows(self, text: str | None, request: Request) -> bool:
        if self._ask is not None:
            return bool(check_answer(self._ask(request), "origins"))
        if text is None:
            return self._same  # this is not a browser
        origin = parse_origin(text)
        if origin is None:
            return False
        return origin in self._exact or self._is_under(origin) or (self._same and origin in same_origins(request))

    def _is_under(self, origin: Origin) -> bool:
        """Whether its host is a subdomain of one whose subdomains were listed."""
        return any(
            (origin.scheme, origin.port) == (parent.scheme, parent.port) and origin.host.endswith(f".{parent.host}")
            for parent in self._under
        )

    def _describe(self, request: Request) -> str:
        """What an Origin is compared with."""
        compared = [entry for entry in self._listed if entry != "same"]
        more = len(compared) - SHOWN
        if self._same:
            host = request.host[:SHOWN_LENGTH]
            compared = [f"{scheme}://{host}" for scheme in schemes_of(request)] + compared
        shown = ", ".join(map(repr, compared[: SHOWN + self._same]))
        return f"{shown} and {more} more" if more > 0 else shown


def schemes_of(request: Request) -> tuple[str, ...]:
    """The schemes of a page that may have asked for the same host.

    What came over https is not for a page that came over http: somebody on the way may have written that. A request
    that seems to have come over http may have reached a proxy over https that does not tell.
    """
    return ("https",) if request.scheme == "https" else ("https", "http")


def same_origins(request: Request) -> list[Origin]:
    """The origins of pages from the host and port that the request is for."""
    parsed = [parse_origin(f"{scheme}://{request.host}") for scheme in schemes_of(request)]
    return [origin for origin in parsed if origin is not None and origin.host]


# ---- checking the option


def list_origins(origins: object) -> list[str]:
    """The entries of the option. "same" is one; "*" and a function stand for no list."""
    if origins == "same":
        return ["same"]
    if origins == "*" or (callable(origins) and not isinstance(origins, str)):
        check_plain(origins, "origins")
        return []
    if isinstance(origins, str):
        raise TypeError(f"origins is 'same', '*', a list of str or a function, not {origins!r}: write [{origins!r}]?")
    if not isinstance(origins, Iterable):
        raise TypeError(f"origins is 'same', '*', a list of str or a function, not {origins!r}")
    listed = list(origins)
    for entry in listed:
        if not isinstance(entry, str):
            raise TypeError(f"origins is 'same', '*', a list of str or a function; {entry!r} in the list is not a str")
    if not listed:
        raise ValueError("origins is an empty list, so nobody could connect")
    return listed


def check_entry(entry: str) -> Origin:
    """Read an origin in the list.

    Raises:
      ValueError: no page has this origin.
    """
    origin = parse_origin(entry)
    if origin is not None and is_of_a_page(origin):
        return origin
    if entry == "*":
        raise ValueError("every page may connect with origins='*', not with a list")
    raise ValueError(
        "an origin is a scheme, a host and a port, such as 'https://example.com' or 'https://example.com:8443', "
        f"not {entry!r}{suggestion(entry)}"
    )


def check_parent(entry: str) -> Origin:
    """Read an entry such as 'https://*.example.com'; without the asterisk, it is an origin.

    Raises:
      ValueError: it is another.
    """
    origin = parse_origin(entry.replace(SUBDOMAINS, "://", 1))
    if origin and origin.scheme in DEFAULT_PORTS and is_of_a_page(origin) and not is_address(origin.host):
        return origin
    raise ValueError(f"all subdomains of a host are written like 'https://*.example.com', not {entry!r}")


def is_of_a_page(origin: Origin) -> bool:
    """Whether a browser may tell this origin, as far as that is known of its scheme."""
    if origin.scheme in ("ws", "wss"):
        return False  # a page is not loaded by these
    if origin.scheme not in DEFAULT_PORTS or is_address(origin.host):
        return True  # the host of an extension or an app may be anything
    last = origin.host.removesuffix(".").rpartition(".")[2]
    return bool(HOST.fullmatch(origin.host)) and not last.isdigit()  # only an address ends in a number


def is_address(host: str) -> bool:
    """Whether it is an IP address, and not a name."""
    if host.startswith("["):
        return True
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def suggestion(entry: str) -> str:
    """What may have been meant by an entry that is not an origin."""
    text = entry.strip()
    if "://" not in text:
        text = "https://" + text
    text = re.sub(r"^ws(s?)://", r"http\1://", text)
    if match := re.match(r"[-+.A-Za-z0-9]+://[^/?#\s]+", text):
        origin = parse_origin(match[0])
        if origin is not None and is_of_a_page(origin):
            return f": write {match[0]!r}?"
    return ""
