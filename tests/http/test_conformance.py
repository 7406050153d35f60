"""What RFC 9110 and RFC 9112 ask of an origin server, where no other test shows it (docs/conformance.md)."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server

from ..support.client import Connect, chunked, get, okay, post, upgrade

# ---- requests


async def test_a_request_line_of_8000_bytes_is_taken(connect: Connect) -> None:
    target = "/" + "x" * (8_000 - len("GET / HTTP/1.1"))
    client = await connect(Server(okay))
    await client.send(get(target))
    assert (await client.reply()).content == b"okay " + target.encode() + b"\n"


@pytest.mark.parametrize("target", ['/a|b"c', "/{a}[b]", "/a?<b>^`\\", "/%", "/%zz"])
async def test_characters_that_clients_do_not_encode_are_passed_on_as_they_are(connect: Connect, target: str) -> None:
    seen: list[str] = []

    async def on_request(request: Request) -> Response:
        seen.append(request.target)
        return Response(200)

    client = await connect(Server(on_request))
    await client.send(get(target))
    assert (await client.reply()).status == 200
    assert seen == [target]


async def test_a_handler_is_not_called_before_the_head_is_whole(connect: Connect) -> None:
    called = trio.Event()

    async def on_request(request: Request) -> Response:
        called.set()
        return Response(200)

    client = await connect(Server(on_request))
    head = get(fields=b"X: y\r\n")
    for at in range(len(head) - 1):
        await client.send(head[at : at + 1], b"")
        assert not called.is_set()
    await client.send(head[-1:])
    assert (await client.reply()).status == 200


async def test_methods_are_case_sensitive_and_any_token_is_one(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(200, request.method)

    client = await connect(Server(on_request))
    for method in ("get", "Get", "QUERY", "x!#$%&'*+-.^_`|~0"):
        await client.send(get(method=method))
        assert (await client.reply()).content == method.encode()


async def test_an_absolute_target_tells_the_host(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        names = [name for name, _ in request.headers.raw]
        return Response(200, f"{request.headers.get_list('host')} {names} {request.path}")

    client = await connect(Server(on_request))
    await client.send(b"GET http://[::1]:80/a?b HTTP/1.1\r\nX: y\r\nhOsT: other\r\n\r\n")
    assert (await client.reply()).content == b"['[::1]:80'] [b'Host', b'X'] /a"


@pytest.mark.parametrize("target", ["https://test/", "HTTPS://test:443/a"])
async def test_https_is_not_to_be_had_without_tls(connect: Connect, target: str) -> None:
    client = await connect(Server(okay))
    await client.send(get(target) + get("/after"))
    reply = await client.reply()
    assert (reply.status, reply.closes) == (421, True)
    assert await client.rest() == b""


async def test_https_is_to_be_had_over_tls_and_from_a_proxy_that_is_trusted(
    connect_tls: Connect, connect_tcp: Connect
) -> None:
    for client in (await connect_tls(Server(okay)), await connect_tcp(Server(okay, trusted_proxies=["127.0.0.1"]))):
        await client.send(get("https://test/a"))
        assert (await client.reply()).content == b"okay /a\n"


async def test_trailers_are_read_and_thrown_away(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        before = request.headers.raw
        content = await request.body.read()
        assert request.headers.raw == before
        return Response(200, content)

    client = await connect(Server(on_request))
    body = chunked(b"hello", trailers=b"X-Sum: 1\r\nX-Forwarded-For: 10.0.0.1\r\n")
    await client.send(get(method="POST", fields=b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n") + body + get())
    assert (await client.reply()).content == b"hello"
    assert (await client.reply()).content == b""


async def test_an_expectation_that_is_not_known_is_ignored(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(post(b"x", b"Expect: the-unexpected\r\n") + get("/next"))
    reply = await client.reply()
    assert (reply.status, reply.interim, reply.closes) == (200, [], False)
    assert (await client.reply()).content == b"okay /next\n"


# ---- responses


async def test_a_status_without_a_reason_keeps_its_space(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(299)

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.exactly(15)) == b"HTTP/1.1 299 \r\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_response_says_http_1_1_to_every_client(connect: Connect, version: str) -> None:
    client = await connect(Server(okay))
    await client.send(get(version=version))
    assert (await client.exactly(9)) == b"HTTP/1.1 "


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
async def test_a_final_response_has_a_date_whatever_its_status(connect: Connect, status: int) -> None:
    async def on_request(request: Request) -> Response:
        return Response(status)

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).headers["date"].endswith(" GMT")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000, 414),
        (get("https://test/"), 421),
        (get(fields=b"X: " + b"y" * 20_000 + b"\r\n"), 431),
        (get(method="POST", fields=b"Transfer-Encoding: gzip, chunked\r\n"), 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (post(b"12345"), 413),
    ],
)
async def test_an_error_of_the_servers_own_has_a_date_a_length_and_a_reason_to_read(
    connect: Connect, data: bytes, status: int
) -> None:
    client = await connect(Server(okay, limits=Limits(max_body_size=4)))
    await client.send(data)
    reply = await client.reply()
    assert (reply.status, reply.closes) == (status, True)
    assert reply.headers["date"].endswith(" GMT")
    assert int(reply.headers["content-length"]) == len(reply.content) > 1
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_505_says_what_is_spoken(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(get(version="2.0"))
    reply = await client.reply()
    assert reply.status == 505
    assert b"HTTP/1.1" in reply.content


async def test_the_405_of_a_connect_says_what_is_allowed(connect: Connect) -> None:
    client = await connect(Server(okay))
    await client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["allow"]) == (405, "")


async def test_408_says_that_it_closes(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    client = await connect(Server(okay))
    await client.send(get()[:-1])
    reply = await client.reply()
    assert (reply.status, reply.closes) == (408, True)
    assert await client.rest() == b""


async def test_an_upgrade_field_is_named_in_connection(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        return Response(426, headers={"Upgrade": "echo"})

    client = await connect(Server(on_request))
    await client.send(get())
    reply = await client.reply()
    assert (reply.headers["upgrade"], reply.headers["connection"]) == ("echo", "Upgrade")


@pytest.mark.parametrize("name", ["Transfer-Encoding", "Content-Length"])
async def test_neither_101_nor_the_200_of_a_connect_says_a_length(connect: Connect, name: str) -> None:
    refused: list[str] = []

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        with pytest.raises(ValueError, match=name):
            await request.accept(headers={name: "1"})
        refused.append(request.method)
        await request.accept()

    server = Server(on_upgrade=handler, on_connect=handler)
    for data in (upgrade(), b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"):
        client = await connect(server)
        await client.send(data)
        head = (await client.rest()).lower()
        assert head.endswith(b"\r\n\r\n")
        assert name.lower().encode() not in head
    assert refused == ["GET", "CONNECT"]
