"""Who the client is, seen through proxies."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Client, Connect, get
from ..support.longest_step import longest_step


async def who(request: Request) -> Response:
    return Response(200, f"{request.client} {request.scheme}")


async def where(request: Request) -> Response:
    return Response(200, request.host)


async def seen(connect: Connect, trusted: list[str], *fields: str) -> str:
    client = await connect(Server(who, trusted_proxies=trusted))
    await client.send(get(fields="".join(f"{field}\r\n" for field in fields).encode()))
    return (await client.reply()).content.decode()


LOCAL = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], "127.0.0.1 http"),
        (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"], "192.0.2.1 https"),
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.1"], "192.0.2.1 http"),
        (["X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.1"], "192.0.2.1 http"),
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1,10.0.0.1"], "192.0.2.1 http"),
        (["X-Forwarded-For: 10.0.0.2, 10.0.0.1"], "10.0.0.2 http"),
        (["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1 http"),
        (["X-Forwarded-For: [2001:DB8:1::1]:80, 2001:db8::2"], "2001:db8:1::1 http"),
        (["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1 http"),
        (["X-Forwarded-For: fe80::1%eth0"], "fe80::1 http"),
        (["X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1 http"),
        (["X-Forwarded-For: unknown"], "127.0.0.1 http"),
        (["X-Forwarded-For: "], "127.0.0.1 http"),
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: https, http"], "192.0.2.1 https"),
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: wss"], "192.0.2.1 https"),
        (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: gopher"], "192.0.2.1 http"),
        (["X-Forwarded-Proto: https"], "127.0.0.1 https"),
    ],
)
async def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy(
    connect_tcp: Connect, fields: list[str], expected: str
) -> None:
    assert await seen(connect_tcp, LOCAL, *fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], "test"),
        (["X-Forwarded-Host: example.com:8000"], "example.com:8000"),
        (["X-Forwarded-Host: [2001:db8::1]"], "[2001:db8::1]"),
        (["X-Forwarded-Host: claimed, example.com"], "example.com"),
        (["X-Forwarded-Host: claimed", "X-Forwarded-Host: example.com"], "example.com"),
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Host: example.com, inner"], "example.com"),
        (["X-Forwarded-For: 203.0.113.9, 192.0.2.1", "X-Forwarded-Host: claimed, example.com"], "example.com"),
        (["X-Forwarded-Host: "], "test"),
        (["X-Forwarded-Host: ,"], "test"),
        (["X-Forwarded-Host: user@example.com"], "test"),
        (["X-Forwarded-Host: https://example.com"], "test"),
        (["X-Forwarded-Host: example.com/path"], "test"),
        (["X-Forwarded-Host: [2001:db8::g]"], "test"),
    ],
)
async def test_the_host_is_the_one_that_the_client_has_asked_for(
    connect_tcp: Connect, fields: list[str], expected: str
) -> None:
    client = await connect_tcp(Server(where, trusted_proxies=LOCAL))
    await client.send(get(fields="".join(f"{field}\r\n" for field in fields).encode()))
    assert (await client.reply()).content.decode() == expected


async def test_the_host_of_a_request_that_comes_from_nobodys_proxy(connect: Connect) -> None:
    client = await connect(Server(where))
    await client.send(get(fields=b"X-Forwarded-Host: example.com\r\n"))
    assert (await client.reply()).content == b"test"
    await client.send(b"GET http://absolute:80/ HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (await client.reply()).content == b"absolute:80"
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await client.reply()).content == b""


@pytest.mark.parametrize(
    ("hops", "expected"), [(31, "192.0.2.1 https"), (32, "10.0.0.1 http"), (1000, "10.0.0.1 http")]
)
@pytest.mark.parametrize("separator", [", ", "\r\nX-Forwarded-For: "])
async def test_a_chain_of_proxies_is_of_bounded_length(
    connect_tcp: Connect, hops: int, expected: str, separator: str
) -> None:
    if separator != ", " and hops > 90:
        hops = 90  # there may be no more fields
    addresses = separator.join(["192.0.2.1", *["10.0.0.1"] * hops])
    schemes = ", ".join(["https", *["http"] * hops])
    fields = [f"X-Forwarded-For: {addresses}", f"X-Forwarded-Proto: {schemes}"]
    assert await seen(connect_tcp, LOCAL, *fields) == expected


@pytest.mark.parametrize("member", ["10.0.0.1", "unknown", "", "[::1]:80"])
async def test_thousands_of_proxies_hold_nobody_up(connect_tcp: Connect, member: str) -> None:
    client = await connect_tcp(Server(who, trusted_proxies=LOCAL, limits=Limits(max_header_size=2**17)))
    values = ",".join([member] * (60_000 // (len(member) + 1)))
    fields = f"X-Forwarded-For: {values}\r\nX-Forwarded-Host: {values}\r\n"
    with longest_step() as longest:
        for _ in range(5):
            await client.send(get(fields=fields.encode()))
            assert (await client.reply()).status == 200
    assert longest.seconds < 0.01


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"], ["unix"]])
async def test_a_peer_that_is_not_trusted_is_the_client(connect_tcp: Connect, trusted: list[str]) -> None:
    fields = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]
    assert await seen(connect_tcp, trusted, *fields) == "127.0.0.1 http"


@pytest.mark.parametrize(("trusted", "expected"), [(["unix"], b"192.0.2.1 https"), (["127.0.0.1"], b"None http")])
async def test_a_proxy_on_a_unix_socket(tmp_path: Path, trusted: list[str], expected: bytes) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(who, trusted_proxies=trusted).serve_unix, tmp_path / "socket")
        async with await trio.open_unix_socket(tmp_path / "socket") as stream:
            client = Client(stream)
            await client.send(get(fields=b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"))
            assert (await client.reply()).content == expected
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("network", ["127.0.0.0/8", "127.0.0.1", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
async def test_an_ipv4_peer_of_an_ipv6_socket_has_its_ipv4_address(network: str) -> None:
    seen: list[str] = []

    async def on_request(request: Request) -> Response:
        seen.append(repr(request))
        return await who(request)

    socket = trio.socket.socket(trio.socket.AF_INET6)
    socket.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 0)
    await socket.bind(("::", 0))
    socket.listen()
    server = Server(on_request, trusted_proxies=[network])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_listeners, [trio.SocketListener(socket)])
        async with await trio.open_tcp_stream("127.0.0.1", socket.getsockname()[1]) as stream:
            client = Client(stream)
            await client.send(get())
            assert (await client.reply()).content == b"127.0.0.1 http"
            await client.send(get(fields=b"X-Forwarded-For: ::ffff:192.0.2.1\r\n"))
            assert (await client.reply()).content == b"192.0.2.1 http"
        nursery.cancel_scope.cancel()
    assert seen == ["<Request GET / from 127.0.0.1>", "<Request GET / from 192.0.2.1>"]


async def test_a_stream_in_memory_is_nobodys_proxy(connect_memory: Connect) -> None:
    assert await seen(connect_memory, [*LOCAL, "unix"], "X-Forwarded-For: 192.0.2.1") == "None http"


@pytest.mark.parametrize("trusted", [["10.0.0.1/8"], ["localhost"], ["Unix"]])
def test_a_proxy_that_is_no_network_is_an_error(trusted: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Server(trusted_proxies=trusted)


@pytest.mark.parametrize("trusted", ["unix", [10], 5])
def test_proxies_of_the_wrong_type_are_an_error(trusted: list[str]) -> None:
    with pytest.raises(TypeError, match=r"."):
        Server(trusted_proxies=trusted)


async def test_the_proxies_may_be_replaced(connect_tcp: Connect) -> None:
    server = Server(who, trusted_proxies=["192.0.2.0/24"])
    assert server.trusted_proxies == ("192.0.2.0/24",)
    server.trusted_proxies = LOCAL
    assert server.trusted_proxies == tuple(LOCAL)
    with pytest.raises(ValueError, match="nonsense"):
        server.trusted_proxies = ["nonsense"]
    client = await connect_tcp(server)
    await client.send(get(fields=b"X-Forwarded-For: 203.0.113.9\r\n"))
    assert (await client.reply()).content == b"203.0.113.9 http"
