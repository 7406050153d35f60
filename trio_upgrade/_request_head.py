"""The head of a request, and the trailer section of a chunked body: which bytes are valid there.

Nearly every head takes one pass of a strict regular expression, which takes nothing that h11 would
refuse, or read in another way. h11 reads all other heads, and finds the error in a malformed one. Some
heads that h11 accepts are refused here.

This module sees whole sections only, and knows nothing of connections.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

import h11

from ._exceptions import Malformed
from ._headers import TOKEN, Headers, headers_of, join_fields

__all__ = ["LONGEST", "Head", "check_trailers", "is_authority", "read_any", "read_head", "read_plain"]

LONGEST = 2**63 - 1  # a longer chunk or body is one that another recipient may take for a short one

# RFC 9112 sections 2.1, 3 and 5: a request of HTTP/1, for a path, and its fields, on lines of their own
FIELD_LINES = rf"(?:{TOKEN}:[\t\x20-\x7e\x80-\xff]*+\r\n)*+"
PLAIN = re.compile(rf"({TOKEN}) (/[\x21\x22\x24-\x7e]*+) HTTP/(1\.[01])(\r\n{FIELD_LINES})\r\n".encode("latin-1"))
PLAIN_TRAILERS = re.compile(rf"{FIELD_LINES}\r\n".encode("latin-1"))
# The fields that a server has to look at, whatever is asked; and the values of theirs that are simple
SERVER_FIELD = re.compile(rb"\r\n(host|content-length|transfer-encoding|expect):[\t ]*+([^\r]*)", re.IGNORECASE)
PLAIN_LENGTH = re.compile(rb"[0-9]{1,18}")  # which is below LONGEST

# RFC 3986 section 3.2.2, but no comma: that is what two Host fields look like once they are joined
HOSTNAME = r"(?:\[[0-9A-Fa-f:.]+\]|(?:[-A-Za-z0-9._~!$&'()*+;=]++|%[0-9A-Fa-f]{2})++)"
# RFC 9110 sections 7.2, 4.2.1 and 4.2.4: Host = uri-host [ ":" port ]; with a port, there is a host; no user
AUTHORITY = HOSTNAME + r"(?::[0-9]*)?"
HOST = re.compile(f"(?:{AUTHORITY})?")
# RFC 9112 section 3.2: origin-form and absolute-form, neither with a fragment; CONNECT's authority-form
TARGET = re.compile(rb"/[^#]*")
ABSOLUTE_TARGET = re.compile(rf"[A-Za-z][-+.A-Za-z0-9]*://({AUTHORITY})(?:[/?][^#]*)?".encode())
CONNECT_TARGET = re.compile(rf"({HOSTNAME}):0*([1-9][0-9]{{0,4}})".encode())
# RFC 9110 section 5.5: no field has them, though some recipients look away
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# A length that h11 would take for one of several that agree (RFC 9112 section 6.3, rule 5)
LISTED_LENGTH = re.compile(rb"\r\ncontent-length:[^\r]*,", re.IGNORECASE)
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)")
# RFC 9110 section 6.5.1: what frames or routes a message is never in its trailers
NO_TRAILER = re.compile(rb"\r\n(?:content-length|transfer-encoding|host):", re.IGNORECASE)


class Head(NamedTuple):
    """The head of a request.

    Attributes:
      headers: its fields.
      length: of the body, in bytes; 0 if it is chunked, or there is none.
      chunked: the body is chunked.
      expects_continue: the client waits for a 100 (Continue) before it sends the body.
    """

    method: bytes
    target: bytes
    http_version: bytes
    headers: Headers
    length: int = 0
    chunked: bool = False
    expects_continue: bool = False


def read_head(data: bytes, max_fields: int) -> Head:
    """Read a head, from the request line to the empty line.

    Raises:
      Malformed: it is malformed, not one of HTTP/1.0 or 1.1, or has over `max_fields` fields.
    """
    return read_plain(data, max_fields) or read_any(data, max_fields)


def read_plain(data: bytes, max_fields: int) -> Head | None:
    """Read a head that asks for a path, and frames its body in a simple way; None for another, or malformed, one."""
    match = PLAIN.fullmatch(data)
    if match is None:
        return None
    method, target, version, section = match.groups()
    if method == b"CONNECT" or section.count(b"\n") - 1 > max_fields:
        return None
    found = SERVER_FIELD.findall(section)
    fields = {name.lower(): value.rstrip(b" \t") for name, value in found}
    host = fields.pop(b"host", None)
    if len(fields) + (host is not None) < len(found):
        return None  # one of them is given twice
    if host is None:
        if version == b"1.1":
            return None
    elif not is_authority(host.decode("latin-1")):
        return None
    if not fields:
        return Head(method, target, version, headers_of(section))
    framing = _plain_framing(fields, version)
    return framing and Head(method, target, version, headers_of(section), *framing)


def _plain_framing(fields: dict[bytes, bytes], version: bytes) -> tuple[int, bool, bool] | None:
    """The length of the body, whether it is chunked, and whether the client waits; None if that is not simple."""
    if version == b"1.0":
        return None
    length, coding, expectation = map(fields.get, (b"content-length", b"transfer-encoding", b"expect"))
    if expectation not in (None, b"100-continue") or coding not in (None, b"chunked"):
        return None
    if length is not None and (coding is not None or not PLAIN_LENGTH.fullmatch(length)):
        return None
    return int(length or 0), coding is not None, expectation is not None


def read_any(data: bytes, max_fields: int) -> Head:
    """Read any head, with h11; see `read_head`."""
    _check_section(data, "the request's head", max_fields)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(data))
    parser.receive_data(data)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError as exc:
        status = exc.error_status_hint
        if status == 501 and not _ends_chunked(data):
            status = 400
        # After a colon, h11 quotes the malformed bytes. They must not get into logs.
        raise Malformed(str(exc).partition(":")[0], status) from None
    assert isinstance(request, h11.Request)
    if request.http_version not in (b"1.0", b"1.1"):
        raise Malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    _check_target(request)
    headers = headers_of(join_fields(request.headers.raw_items()))
    if not all(map(is_authority, headers.get_list("host"))):
        raise Malformed("the Host field is malformed")
    length, chunked = _framing(request, data)
    expects_continue = parser.they_are_waiting_for_100_continue
    return Head(request.method, request.target, request.http_version, headers, length, chunked, expects_continue)


def is_authority(value: str) -> bool:
    """Whether `value` is a host, with or without a port, or empty."""
    if not HOST.fullmatch(value):
        return False
    if value.startswith("["):
        try:
            ipaddress.IPv6Address(value[1 : value.index("]")])
        except ValueError:
            return False
    return True


def _check_target(request: h11.Request) -> None:
    method, target = request.method, request.target
    if method == b"CONNECT":
        authority = CONNECT_TARGET.fullmatch(target)
        fine = authority is not None and int(authority[2]) < 2**16 and is_authority(authority[1].decode())
    elif absolute := ABSOLUTE_TARGET.fullmatch(target):
        fine = is_authority(absolute[1].decode())
    else:
        fine = TARGET.fullmatch(target) is not None or (method == b"OPTIONS" and target == b"*")
    if not fine:
        raise Malformed("the request target is malformed")


def _framing(request: h11.Request, data: bytes) -> tuple[int, bool]:
    """The length of the body, and whether it is chunked instead (RFC 9112 section 6.3)."""
    fields = dict(request.headers)
    chunked = b"transfer-encoding" in fields
    length = fields.get(b"content-length")
    if length is not None and (data.lower().count(b"\r\ncontent-length:") > 1 or LISTED_LENGTH.search(data)):
        raise Malformed("Content-Length is given more than once")
    if length is not None and int(length) > LONGEST:
        raise Malformed("Content-Length is larger than any body")
    if chunked and (length is not None or request.http_version == b"1.0"):
        # RFC 9112 section 6.1: both ought to be handled as an error
        raise Malformed("Transfer-Encoding with Content-Length, or in HTTP/1.0")
    if request.method == b"CONNECT" and (chunked or length is not None):
        raise Malformed("a CONNECT request has no body")
    return int(length or 0), chunked


def _ends_chunked(data: bytes) -> bool:
    """The last transfer coding is chunked, so that only those in front of it are not understood.

    Otherwise nobody knows where the body ends, and that is another error (RFC 9112 section 6.3, rule 4).
    """
    codings = b",".join(TRANSFER_ENCODING.findall(data.lower())).split(b",")
    return [coding for coding in map(bytes.strip, codings) if coding][-1:] == [b"chunked"]


def check_trailers(section: bytes, max_fields: int) -> None:
    """Check what follows the last chunk, up to and with the empty line.

    Raises:
      Malformed: it is malformed, has over `max_fields` fields, or one that belongs in the head.
    """
    _check_section(b"\r\n" + section, "the trailer section", max_fields)
    if NO_TRAILER.search(b"\r\n" + section):
        raise Malformed("the trailer section has a field that belongs in the head")
    if not PLAIN_TRAILERS.fullmatch(section):
        raise Malformed("illegal header line")


def _check_section(section: bytes, what: str, max_fields: int) -> None:
    """Refuse what h11 accepts in a section of fields, with the line before it and the empty line after it."""
    lines = section.count(b"\r\n")
    if lines != section.count(b"\r") or lines != section.count(b"\n"):
        raise Malformed(f"{what} has a bare CR or LF")
    if CONTROL.search(section):
        raise Malformed(f"{what} has a control character")
    if b"\r\n " in section or b"\r\n\t" in section:
        raise Malformed(f"{what} has a folded line")  # RFC 9112 section 5.2
    if lines - 2 > max_fields:
        raise Malformed(f"{what} has more than {max_fields} fields", 431)
