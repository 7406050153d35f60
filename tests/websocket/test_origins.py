"""Which pages may open a WebSocket: the option `origins` (RFC 6454, RFC 6455 section 10.2)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from trio_upgrade import Request, Server, websocket

from ..support.client import Connect
from ..support.websocket_client import echo, handshake, server_of


async def answer(
    connect: Connect, origin: str | None, host: str = "test", fields: str = "", trusted: Any = (), **options: Any
) -> tuple[int, str]:
    """The status and the content of the answer to a page of `origin`; None is a client that is no browser."""
    server = Server(on_upgrade=websocket.handler(echo, **options), trusted_proxies=trusted)
    client = await connect(server)
    if origin is not None:
        fields += f"Origin: {origin}\r\n"
    await client.send(handshake(fields.encode()).replace(b"Host: test", f"Host: {host}".encode()))
    reply = await client.reply()
    await client.vanish()
    return reply.status, reply.content.decode()


async def status(connect: Connect, origin: str | None, host: str = "test", **options: Any) -> int:
    return (await answer(connect, origin, host, **options))[0]


# ---- "same"


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("https://test", "test", 101),
        ("https://test", "test:443", 101),
        ("https://test:443", "test", 101),
        ("https://test:8443", "test:8443", 101),
        ("http://test", "test", 403),  # whoever is on the network between may have written that page
        ("http://test", "test:443", 403),
        ("http://test:443", "test", 403),
        ("http://test:8443", "test:8443", 403),
        ("https://test:8443", "test", 403),
    ],
)
async def test_a_page_that_came_over_http_is_not_the_same_over_tls(
    connect_tls: Connect, origin: str, host: str, expected: int
) -> None:
    assert await status(connect_tls, origin, host) == expected


@pytest.mark.parametrize(
    ("proto", "origin", "expected"),
    [
        ("https", "https://test", 101),
        ("https", "http://test", 403),
        ("http", "http://test", 101),
        ("http", "https://test", 101),
    ],
)
async def test_the_scheme_is_what_a_trusted_proxy_says(
    connect_tcp: Connect, proto: str, origin: str, expected: int
) -> None:
    fields = f"X-Forwarded-Proto: {proto}\r\n"
    assert await status(connect_tcp, origin, fields=fields, trusted=["127.0.0.1"]) == expected


async def test_behind_a_proxy_that_does_not_tell_its_scheme_both_are_the_same(connect_tcp: Connect) -> None:
    for origin in ("http://test", "https://test"):
        assert await status(connect_tcp, origin) == 101


@pytest.mark.parametrize(
    ("fields", "trusted", "expected"),
    [
        ("X-Forwarded-Host: example.com\r\n", ["127.0.0.1"], 101),
        ("X-Forwarded-Host: EXAMPLE.com:443\r\n", ["127.0.0.1"], 101),
        ("X-Forwarded-Host: evil.com\r\n", ["127.0.0.1"], 403),
        ("X-Forwarded-Host: evil.com, example.com\r\n", ["127.0.0.1"], 101),
        ("X-Forwarded-Host: example.com, evil.com\r\n", ["127.0.0.1"], 403),
        ("X-Forwarded-Host: \r\n", ["127.0.0.1"], 403),
        ("X-Forwarded-Host: exa mple.com\r\n", ["127.0.0.1"], 403),
        ("X-Forwarded-Host: example.com\r\n", ["192.0.2.1"], 403),
        ("X-Forwarded-Host: example.com\r\n", [], 403),
    ],
)
async def test_the_host_is_what_a_trusted_proxy_says(
    connect_tcp: Connect, fields: str, trusted: list[str], expected: int
) -> None:
    assert (
        await status(connect_tcp, "https://example.com", "127.0.0.1:8000", fields=fields, trusted=trusted) == expected
    )


@pytest.mark.parametrize("origin", ["chrome-extension://test", "foo://test", "ws://test", "file://", "null", "://test"])
async def test_what_is_not_a_web_page_is_not_the_same(connect: Connect, origin: str) -> None:
    assert await status(connect, origin) == 403


async def test_an_address_is_the_same_in_every_spelling(connect: Connect) -> None:
    for origin in ("http://[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000", "http://[::0001]:8000"):
        assert await status(connect, origin, "[::1]:8000") == 101
    assert await status(connect, "http://[::2]:8000", "[::1]:8000") == 403
    assert await status(connect, "http://[::g]:8000", "[::1]:8000") == 403


# ---- lists


@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        (["https://example.com:443"], "https://example.com", 101),
        (["HTTPS://Example.COM"], "https://example.com", 101),
        (["http://example.com:80"], "http://example.com", 101),
        (["http://example.com"], "https://example.com", 403),
        (["https://example.com"], "https://example.com:8443", 403),
        (["https://xn--nxa.com"], "https://xn--nxa.com", 101),
        (["http://[0:0:0:0:0:0:0:1]:3000"], "http://[::1]:3000", 101),
        (["http://127.0.0.1:3000"], "http://127.0.0.1:3000", 101),
        (["http://localhost:3000", "app://-"], "app://-", 101),
        (["file://"], "file://", 101),
        (["same", "https://example.com"], "https://test", 101),
        (["same", "https://example.com"], "https://example.com", 101),
        (["same", "https://example.com"], None, 101),
        (["same", "https://example.com"], "https://evil.com", 403),
        (["https://example.com"], "https://test", 403),
        (["https://example.com"], None, 403),
        (["https://*.example.com"], "https://example.com", 403),
        (["https://*.example.com"], "https://www.example.com", 101),
        (["https://*.example.com"], "https://a.b.example.com", 101),
        (["https://*.example.com:443"], "https://www.example.com", 101),
        (["https://*.Example.com"], "https://WWW.example.com:443", 101),
        (["https://*.example.com"], "https://evilexample.com", 403),
        (["https://*.example.com"], "https://example.com.evil.com", 403),
        (["https://*.example.com"], "http://www.example.com", 403),
        (["https://*.example.com"], "https://www.example.com:8443", 403),
        (["https://*.example.com"], "https://*.example.com", 101),  # a browser has no such page
        (["https://*.example.com:8443", "http://*.localhost"], "http://a.localhost", 101),
    ],
)
async def test_pages_that_are_listed(
    connect_memory: Connect, origins: list[str], origin: str | None, expected: int
) -> None:
    assert await status(connect_memory, origin, origins=origins) == expected


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("example.com", "write 'https://example.com'?"),
        ("example.com:8000", "write 'https://example.com:8000'?"),
        ("https://example.com/", "write 'https://example.com'?"),
        ("https://example.com/chat?x#y", "write 'https://example.com'?"),
        (" https://example.com", "write 'https://example.com'?"),
        ("wss://example.com", "write 'https://example.com'?"),
        ("ws://localhost:8000", "write 'http://localhost:8000'?"),
        ("*", "origins='*'"),
        ("https://*", "scheme, a host and a port"),
        ("*.example.com", "scheme, a host and a port"),
        ("https://foo*.example.com", "scheme, a host and a port"),
        ("https://.example.com", "scheme, a host and a port"),
        ("https://exa..mple.com", "scheme, a host and a port"),
        ("https://*.*.example.com", "all subdomains of a host"),
        ("https://*.example.com/", "all subdomains of a host"),
        ("https://*.192.0.2.1", "all subdomains of a host"),
        ("https://*.[::1]", "all subdomains of a host"),
        ("chrome-extension://*.abc", "all subdomains of a host"),
        ("https://example.com:", "scheme, a host and a port"),
        ("https://example.com:65536", "scheme, a host and a port"),
        ("https://example.com:http", "scheme, a host and a port"),
        ("https://user@example.com", "scheme, a host and a port"),
        ("https://\u03b2.com", "scheme, a host and a port"),
        ("https://192.0.2", "scheme, a host and a port"),
        ("https://192.0.2.256", "scheme, a host and a port"),
        ("https://[::1", "scheme, a host and a port"),
        ("https://[::g]", "scheme, a host and a port"),
        ("https://", "scheme, a host and a port"),
        ("https:example.com", "scheme, a host and a port"),
        ("", "scheme, a host and a port"),
    ],
)
def test_what_no_page_can_have_as_its_origin_is_an_error_at_once(entry: str, words: str) -> None:
    for origins in ([entry], ["same", "https://example.com", entry]):
        with pytest.raises(ValueError, match=r"origin|subdomains") as caught:
            websocket.handler(echo, origins=origins)
        assert words in str(caught.value)
        assert words == "origins='*'" or repr(entry) in str(caught.value)


def test_a_list_that_lets_nobody_in_is_an_error() -> None:
    with pytest.raises(ValueError, match="nobody could connect"):
        websocket.handler(echo, origins=[])


# ---- a function


async def test_a_function_decides(connect: Connect) -> None:
    asked: list[Request] = []

    def decide(request: Request) -> bool:
        asked.append(request)
        return request.headers.get("origin") in (None, "https://example.com") and request.path == "/"

    for origin, expected in [("https://example.com", 101), (None, 101), ("https://test", 403), ("null", 403)]:
        assert await status(connect, origin, origins=decide) == expected
    assert len(asked) == 4
    assert await status(connect, "https://example.com\r\nOrigin: https://evil.com", origins=decide) == 403
    assert len(asked) == 4  # that is no question


async def test_a_function_may_answer_anything_that_is_true_or_false(connect_memory: Connect) -> None:
    assert await status(connect_memory, "https://example.com", origins=lambda request: "yes") == 101
    assert await status(connect_memory, "https://example.com", origins=lambda request: None) == 403


async def test_an_async_function_is_not_taken_for_a_yes(connect_memory: Connect, logged: Any) -> None:
    async def decide(request: Request) -> bool:
        return False

    with pytest.raises(TypeError, match="plain `def`"):
        websocket.handler(echo, origins=decide)
    assert await status(connect_memory, "https://evil.com", origins=lambda request: decide(request)) == 500
    assert logged() == ["ERROR TypeError"]


# ---- what is said


@pytest.mark.parametrize(
    ("origin", "options", "said"),
    [
        (
            "https://evil.com",
            {},
            "the Origin 'https://evil.com' may not open a WebSocket here, only 'https://test', 'http://test'",
        ),
        (
            "https://evil.com",
            {"origins": ["https://example.com", "https://*.example.org", "same"]},
            "the Origin 'https://evil.com' may not open a WebSocket here, "
            "only 'https://test', 'http://test', 'https://example.com', 'https://*.example.org'",
        ),
        (
            None,
            {"origins": ["https://example.com"]},
            "a client without an Origin may not open a WebSocket here, only 'https://example.com'",
        ),
        ("null", {"origins": lambda request: False}, "the Origin 'null' may not open a WebSocket here"),
        ("https://test\r\nOrigin: https://test", {}, "there is more than one Origin"),
        ("a\x85b\xa0\xe9", {"origins": lambda request: False}, r"the Origin 'a\x85b\xa0"),
    ],
)
async def test_a_refusal_names_what_was_seen_and_what_it_was_compared_with(
    connect: Connect, caplog: pytest.LogCaptureFixture, origin: str | None, options: dict[str, Any], said: str
) -> None:
    if origin is not None and not origin.isascii():
        client = await connect(server_of(echo, **options))
        await client.send(handshake(b"Origin: %b\r\n" % origin.encode("latin-1")))
        reply = await client.reply()
        told = (reply.status, reply.content.decode())
    else:
        told = await answer(connect, origin, **options)
    assert told[0] == 403
    assert said in told[1]
    (line,) = [record for record in caplog.records if record.levelno == logging.INFO]
    assert said in line.getMessage()
    assert line.name == "trio_upgrade"


async def test_a_refusal_over_tls_names_https_alone(connect_tls: Connect) -> None:
    assert "only 'https://test'\n" in (await answer(connect_tls, "http://test"))[1]


async def test_a_refusal_is_of_bounded_length(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    listed = [f"https://{number}.example.com" for number in range(1000)]
    told = await answer(connect, "x" * 10_000, origins=listed)
    assert told[0] == 403
    assert "and 992 more" in told[1]
    assert len(told[1]) < 1000
    assert max(len(record.getMessage()) for record in caplog.records) < 1000
