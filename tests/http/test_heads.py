"""A head is read in one of two ways, and it makes no difference in which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_upgrade._request_head import read_plain

from ..fuzz.targets import heads
from ..support.client import get, upgrade
from ..support.smuggling import ACCEPTED, REFUSED_BODIES, REFUSED_HEADS
from ..support.websocket_client import handshake

FRAGMENTS = [
    *[b"GET", b"POST", b"OPTIONS", b"CONNECT", b"G(T", b"get", b""],
    *[b"/", b"/a?b", b"/a#b", b"*", b"a:1", b"http://a/b", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"],
    *[b" ", b"  ", b"\t", b":", b": ", b",", b";", b"\r\n", b"\r\n ", b"\n", b"\r", b"\0", b"\x0b", b"\x0c", b"\x7f"],
    *[b"\x85", b"\xa0", b"\xff", b"=", b"@", b"/", b"a", b"1", b'"', b"[::1]", b"%41"],
    *[
        b"Host",
        b"host: a\r\n",
        b"Host:\r\n",
        b"Host: a:80\r\n",
        b"Host: a@b\r\n",
        b"X: y\r\n",
        b"X-Y:  z \t\r\n",
        b"X:\r\n",
    ],
    *[
        b"Connection: Upgrade\r\n",
        b"Upgrade: a, b\r\n",
        b"Content-Length: 1\r\n",
        b"Content-Length",
        b"Expect: 100-continue\r\n",
    ],
    *[b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding"],
]
REQUEST_LINE = st.sampled_from([b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\n"])
SOUP = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)


@given(st.tuples(REQUEST_LINE | SOUP, SOUP).map(b"".join))
def test_the_short_way_takes_what_h11_takes_and_to_the_same_effect(start: bytes) -> None:
    heads(start + b"\r\n\r\n")
    heads(start + b"\r\n")


NAMES = st.from_regex(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,9}", fullmatch=True).filter(
    lambda name: name.lower() not in ("host", "content-length", "transfer-encoding", "expect")
)
VALUES = st.from_regex(r"[\t\x20-\x7e\x80-\xff]{0,9}", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(": ".join), max_size=10)


@given(
    st.sampled_from(["GET", "post", "M-SEARCH"]),
    st.from_regex(r"/[\x21\x22\x24-\x7e]{0,9}", fullmatch=True),
    st.sampled_from(["Host: a", "host:[::1]:80", "HOST:", "Host: a.b:  "]),
    FIELDS,
    FIELDS,
)
def test_what_is_well_formed_is_read_the_short_way(
    method: str, target: str, host: str, before: list[str], after: list[str]
) -> None:
    data = "\r\n".join([f"{method} {target} HTTP/1.1", *before, host, *after, "", ""]).encode("latin-1")
    assert read_plain(data, 100) is not None
    heads(data)


def test_nor_does_it_where_recipients_differ() -> None:
    requests = [request for corpus in (REFUSED_HEADS, REFUSED_BODIES) for request, _ in corpus.values()]
    requests += [accepted.data for accepted in ACCEPTED.values()]
    for request in requests:
        heads(request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


USUAL_FRAMING = [
    b"Content-Length: 1\r\n",
    b"content-length:0001\r\n",
    b"Content-Length: 5 \t\r\nExpect: 100-continue\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\nTransfer-Encoding:chunked\r\n",
]
UNUSUAL_FRAMING = [
    b"Content-Length: 1, 1\r\n",
    b"Content-Length: 1\r\nContent-Length: 1\r\n",
    b"Content-Length: +1\r\n",
    b"Content-Length: " + b"0" * 18 + b"1\r\n",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: Chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Expect: 100-continue, 100-continue\r\n",
]


def test_the_usual_heads_are_read_the_short_way() -> None:
    requests = [get("/"), get("/a?b", b"X: y\r\n", version="1.0"), upgrade(b"", b"", "/chat"), handshake()]
    requests += [get("/", fields, "POST") for fields in USUAL_FRAMING]
    for request in requests:
        assert read_plain(request, 100) is not None
        heads(request)


def test_h11_reads_framing_that_is_not_simple() -> None:
    requests = [get("/", fields, "POST") for fields in UNUSUAL_FRAMING]
    requests += [get("/", fields, "POST", "1.0") for fields in USUAL_FRAMING]
    for request in requests:
        assert read_plain(request, 100) is None


FRAMING_NAMES = [
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "content-length",
    "TRANSFER-ENCODING",
    "Content_Length",
]
FRAMING_VALUES = [
    "0",
    "1",
    "007",
    "9" * 18,
    "9" * 19,
    "1, 1",
    "+1",
    "1_0",
    "\xb2",
    "",
    "chunked",
    "Chunked",
    "chunked ",
]
FRAMING_VALUES += ["gzip, chunked", "chunked,", "x", "100-continue", "100-Continue", "100-continue, x", "\t1\t", "1 1"]
FRAMING = st.lists(
    st.tuples(st.sampled_from(FRAMING_NAMES), st.sampled_from([":", ": ", " :"]), st.sampled_from(FRAMING_VALUES)).map(
        "".join
    ),
    max_size=3,
)


@given(st.sampled_from(["GET", "POST", "CONNECT"]), st.sampled_from(["1.1", "1.1", "1.0"]), FRAMING, FIELDS)
def test_a_body_is_framed_as_h11_would(method: str, version: str, framing: list[str], fields: list[str]) -> None:
    lines = [f"{method} / HTTP/{version}", "Host: a", *framing[1:], *fields, *framing[:1], "", ""]
    heads("\r\n".join(lines).encode("latin-1"))
