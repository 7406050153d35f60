"""`Headers`: what it can be made from, and what it gives."""

from __future__ import annotations

from typing import Any

import pytest

from trio_upgrade import Headers, Response


def test_headers_are_made_from_pairs_a_mapping_or_nothing() -> None:
    assert Headers() == {}
    assert Headers().raw == ()
    assert Headers({"X-One": "1", "X-Two": "2"}) == {"x-one": "1", "x-two": "2"}
    pairs = Headers([("Set-Cookie", "a=1"), ("X", "y"), (b"set-cookie", b"b=2")])
    assert pairs["SET-COOKIE"] == "a=1, b=2"
    assert pairs.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert pairs.raw == ((b"Set-Cookie", b"a=1"), (b"X", b"y"), (b"set-cookie", b"b=2"))
    assert list(pairs) == ["set-cookie", "x"]
    assert ("X" in pairs, "y" in pairs, len(pairs)) == (True, False, 2)


def test_headers_of_headers_keep_every_field() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert Headers(headers).raw == headers.raw
    assert Response(200, b"", headers).headers.raw == headers.raw


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"X": 1}, TypeError),
        ({1: "x"}, TypeError),
        ([("X", None)], TypeError),
        ({"X Y": "z"}, ValueError),
        ({"": "z"}, ValueError),
        ({"X": "a\r\nY: b"}, ValueError),
        ({"X": " a"}, ValueError),
        ({"X": "\u20ac"}, ValueError),
    ],
)
def test_fields_that_no_message_may_have_are_refused(fields: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Headers(fields)


def test_the_values_do_not_get_into_logs() -> None:
    assert repr(Headers({"Cookie": "secret", "X": "y"})) == "<Headers cookie, x>"


@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding"])
def test_a_field_that_the_server_sets_is_refused_in_a_response_only(name: str) -> None:
    assert Headers({name: "chunked"})[name] == "chunked"
    with pytest.raises(ValueError, match="set by the server"):
        Response(200, b"", {name: "chunked"})
