"""A body's framing is decoded by code of ours, and by h11: they agree on every byte that is taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_upgrade._exceptions import Malformed
from trio_upgrade._headers import Headers
from trio_upgrade._request_framing import Framing, framing_of
from trio_upgrade._request_head import Head

from ..fuzz.targets import Decoded, bodies
from ..support.client import chunked, cuts, get, post_head
from ..support.smuggling import ACCEPTED, REFUSED_BODIES

CHUNKED = get("/", b"Transfer-Encoding: chunked\r\n", "POST")
NEXT = get("/next")

SIZES = st.sampled_from(["%x", "%X", "000%x"])
EXTENSIONS = st.sampled_from(["", "", "", ";a", ';a="b; c\\""', "; a = b ;c", ";a=\x80"]).map(
    lambda text: text if '"' in text or "\x80" not in text else ""
)
CHUNK = st.tuples(SIZES, EXTENSIONS, st.binary(min_size=1, max_size=30)).map(
    lambda chunk: (chunk[0] % len(chunk[2]) + chunk[1]).encode() + b"\r\n" + chunk[2] + b"\r\n"
)
TRAILERS = st.sampled_from([b"", b"", b"X: y\r\n", b"a:\r\nB: \x80 c\t\r\n"])
LAST = st.sampled_from([b"0\r\n", b"0\r\n", b"000;a=b\r\n"])
BODY = st.tuples(st.lists(CHUNK, max_size=8).map(b"".join), LAST, TRAILERS).map(lambda parts: b"".join(parts) + b"\r\n")
FRAGMENTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b";",
    b" ",
    b"\t",
    b"0",
    b"1",
    b"g",
    b'"',
    b"\\",
    b":",
    b"=",
    b"-",
    b"\0",
]
FRAGMENTS += [
    b"\x80",
    b"0\r\n\r\n",
    b"1\r\nx\r\n",
    b"X: y\r\n",
    b" X: y\r\n",
    b"X : y\r\n",
    b"Host: a\r\n",
    b"\x7f",
    b"f" * 16,
]
MUTATION = st.tuples(st.integers(0, 200), st.integers(0, 3), st.sampled_from(FRAGMENTS))
CUTS = st.lists(st.integers(1, 40), max_size=12)


def mutated(data: bytes, mutations: list[tuple[int, int, bytes]]) -> bytes:
    """Replace as many bytes, at a place, by something else."""
    for at, size, fragment in mutations:
        at %= len(data) + 1
        data = data[:at] + fragment + data[at + size :]
    return data


def packets(data: bytes, sizes: list[int]) -> list[bytes]:
    result = []
    for size in sizes:
        result.append(data[:size])
        data = data[size:]
    return [*result, data]


@given(BODY, st.binary(max_size=20), CUTS, st.integers(1, 40))
def test_a_chunked_body_is_decoded_however_it_is_cut(
    body: bytes, rest: bytes, sizes: list[int], max_bytes: int
) -> None:
    decoded = bodies(CHUNKED, packets(body + rest, sizes), max_bytes)
    assert decoded is not None
    assert decoded.ended
    assert decoded.rest == rest


@settings(max_examples=1000)
@given(BODY, st.lists(MUTATION, min_size=1, max_size=3), CUTS, st.integers(1, 40))
def test_what_h11_refuses_in_a_chunked_body_is_refused(
    body: bytes, mutations: list[tuple[int, int, bytes]], sizes: list[int], max_bytes: int
) -> None:
    bodies(CHUNKED, packets(mutated(body, mutations) + NEXT, sizes), max_bytes)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join), CUTS, st.integers(1, 40))
def test_nor_is_anything_else_taken_that_h11_refuses(soup: bytes, sizes: list[int], max_bytes: int) -> None:
    bodies(CHUNKED, packets(soup, sizes), max_bytes)


@given(st.binary(max_size=60), st.integers(1, 60), CUTS, st.integers(1, 40))
def test_a_body_with_a_length_ends_after_it(wire: bytes, length: int, sizes: list[int], max_bytes: int) -> None:
    decoded = bodies(post_head(length), packets(wire, sizes), max_bytes)
    if len(wire) < length:
        assert decoded == Decoded(wire)
    else:
        assert decoded == Decoded(wire[:length], ended=True, rest=wire[length:])


def test_what_recipients_may_read_differently_is_refused_or_read_as_h11_does() -> None:
    requests = [(request, True) for request, _ in REFUSED_BODIES.values() if len(request) < 1000]
    requests += [(accepted.data, False) for accepted in ACCEPTED.values()]
    for request, refused in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        for parts in [[body + NEXT], [bytes([byte]) for byte in body + NEXT], *map(list, cuts(body + NEXT))]:
            decoded = bodies(head + b"\r\n\r\n", parts)
            assert decoded is None or decoded.refused is refused


# ---- what the differential cannot tell


def chunks(max_size: int = 100, max_trailers: int = 5) -> Framing:
    return framing_of(Head(b"POST", b"/", b"1.1", Headers(), chunked=True), max_size, max_trailers)


def test_many_chunks_are_decoded_in_one_go() -> None:
    coded = chunked(*[b"x" * size for size in range(1, 50)])
    framing = chunks()
    assert framing.decode(coded + b"next", 10_000) == (b"x" * sum(range(50)), len(coded))
    assert framing.has_ended


def test_what_comes_before_a_mistake_is_given_first() -> None:
    framing = chunks()
    assert framing.decode(b"1\r\na\r\n1\r\nb\r\n!\r\n", 10) == (b"ab", 12)
    for _ in range(2):
        with pytest.raises(Malformed, match="size or extension"):
            framing.decode(b"!\r\n", 10)


def test_data_that_is_all_content_is_given_as_it_is() -> None:
    framing = framing_of(Head(b"POST", b"/", b"1.1", Headers(), 10), 100, 5)
    data = b"123456"
    assert framing.decode(data, 6)[0] is data
    assert framing.decode(b"7890next", 6) == (b"7890", 4)
    assert framing.has_ended


@pytest.mark.parametrize("extension", [b";" + b"a" * 96, b";" + b"a" * 97])
def test_a_chunks_line_may_be_as_long_as_the_limit(extension: bytes) -> None:
    line = b"1" + extension + b"\r\n"
    if len(line) <= 100:
        assert chunks().decode(line + b"x", 10) == (b"x", 101)
        assert chunks().decode(line[:-1], 10) == (b"", 0)
    else:
        for arrived in (line, line[:-1], line[:100]):
            with pytest.raises(Malformed, match="too long"):
                chunks().decode(arrived, 10)


@pytest.mark.parametrize("size", [100, 101])
def test_the_trailer_section_may_be_as_long_as_the_limit(size: int) -> None:
    section = b"X: " + b"y" * (size - 7) + b"\r\n\r\n"
    framing = chunks()
    assert framing.decode(b"0\r\n", 10) == (b"", 3)
    if size == 100:
        assert framing.decode(section[:-1], 10) == (b"", 0)
        assert framing.decode(section, 10) == (b"", 100)
        assert framing.has_ended
    else:
        with pytest.raises(Malformed, match="too long") as caught:
            framing.decode(section, 10)
        assert caught.value.status == 431


def test_trailers_may_be_as_many_as_the_limit() -> None:
    assert chunks().decode(b"0\r\n" + b"a:b\r\n" * 5 + b"\r\n", 10) == (b"", 30)
    with pytest.raises(Malformed, match="more than 5") as caught:
        chunks().decode(b"0\r\n" + b"a:b\r\n" * 6 + b"\r\n", 10)
    assert caught.value.status == 431


@pytest.mark.parametrize("body", [b"1\r\nxX", b"1\r\nx\rX", b"1\r\nx\n", b"1\n", b"0\r\nX: y\n"])
def test_a_mistake_is_refused_as_soon_as_it_is_seen(body: bytes) -> None:
    framing = chunks()
    with pytest.raises(Malformed):
        for _ in range(3):
            body = body[framing.decode(body, 10)[1] :]
