"""What an application is told of a request."""

from __future__ import annotations

import pathlib
import ssl
from functools import partial

import pytest
import trio
import trustme

from trio_upgrade import asgi

from ..support.applications import respond, scopes_of
from ..support.client import Client, Connect, connect_tls, get
from ..support.websocket_client import handshake


async def scope_of(connect: Connect, data: bytes, **options: object) -> asgi.Scope:
    scopes: list[asgi.Scope] = []
    async with asgi.server(scopes_of(scopes), **options) as server:  # type: ignore[arg-type]
        client = await connect(server)
        await client.send(data)
        await client.reply()
        await client.aclose()
    return scopes[0]


async def test_a_scope_tells_the_request(connect: Connect) -> None:
    scope = await scope_of(connect, get("/a%20b%2Fc?x=%20&y", b"X-A: 1\r\nx-a: 2 \r\n"))
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("1.1", "GET", "http")
    assert (scope["path"], scope["raw_path"]) == ("/a b/c", b"/a%20b%2Fc")
    assert (scope["query_string"], scope["root_path"]) == (b"x=%20&y", "")
    assert list(scope["headers"]) == [(b"host", b"test"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert scope["state"] == {}
    assert set(scope["extensions"]) == {
        "http.response.early_hint",
        "http.response.pathsend",
        "http.response.trailers",
        "trio_upgrade.shutdown",
    }


async def test_an_older_client_gets_neither_hints_nor_trailers(connect: Connect) -> None:
    scope = await scope_of(connect, get(version="1.0"))
    assert set(scope["extensions"]) == {"http.response.pathsend", "trio_upgrade.shutdown"}
    assert scope["http_version"] == "1.0"


@pytest.mark.parametrize(
    ("method", "target", "path"),
    [
        ("GET", "http://other/a?b", "/a"),
        ("GET", "http://other?b", "/"),
        ("OPTIONS", "*", "*"),
        ("CONNECT", "other:80", "other:80"),
    ],
)
async def test_the_path_of_other_targets(connect: Connect, method: str, target: str, path: str) -> None:
    scope = await scope_of(connect, get(target, method=method))
    assert (scope["path"], scope["raw_path"]) == (path, path.encode())


async def test_the_root_path_comes_before_the_path(connect: Connect) -> None:
    scope = await scope_of(connect, get("/a%20b"), root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/a b", b"/api/a%20b")


@pytest.mark.parametrize("root_path", ["api", "/api/", "/"])
async def test_an_invalid_root_path_is_refused(root_path: str) -> None:
    with pytest.raises(ValueError, match="slash"):
        async with asgi.server(scopes_of([]), root_path=root_path):
            pass


async def test_the_addresses_of_both_sides(connect_tcp: Connect, connect_memory: Connect) -> None:
    scope = await scope_of(connect_tcp, get())
    assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
    assert 0 < scope["client"][1] != scope["server"][1] > 0
    scope = await scope_of(connect_memory, get())
    assert scope["client"] is scope["server"] is None


async def test_the_addresses_through_a_proxy(connect_tcp: Connect) -> None:
    fields = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
    scope = await scope_of(connect_tcp, get("/", fields), trusted_proxies=["127.0.0.0/8"])
    assert (scope["client"], scope["scheme"]) == (("192.0.2.1", 0), "https")


async def test_the_addresses_of_a_unix_socket(nursery: trio.Nursery, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "socket")

    async def connect(server: object) -> Client:
        await nursery.start(server.serve_unix, path)  # type: ignore[attr-defined]
        return Client(await trio.open_unix_socket(path))

    scope = await scope_of(connect, get())
    assert (scope["client"], scope["server"]) == (None, (path, None))


async def test_a_websockets_scope(connect: Connect) -> None:
    scopes: list[asgi.Scope] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "websocket":
            scopes.append(scope)
            await send({"type": "websocket.close"})

    async with asgi.server(app, root_path="/api") as server:
        client = await connect(server)
        await client.send(handshake(target="/ws?a=b"))
        await client.reply()
    (scope,) = scopes
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["scheme"], scope["path"], scope["query_string"]) == ("ws", "/api/ws", b"a=b")
    assert scope["subprotocols"] == []
    assert "method" not in scope
    assert set(scope["extensions"]) == {"trio_upgrade.shutdown", "websocket.http.response"}


async def test_the_tls_of_a_connection(
    nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    scope = await scope_of(partial(connect_tls, nursery, contexts=tls_contexts), get())
    assert scope["scheme"] == "https"
    tls = scope["extensions"]["tls"]
    assert tls["tls_version"] == 0x0304
    assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert (tls["client_cert_chain"], tls["client_cert_name"], tls["client_cert_error"]) == ([], None, None)


async def test_the_certificate_of_a_client(nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("test.example").configure_cert(server_context)
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    authority.issue_cert("me@test.example", common_name="Me, myself", organization_name="We").configure_cert(
        client_context
    )
    scope = await scope_of(partial(connect_tls, nursery, contexts=(server_context, client_context)), get())
    tls = scope["extensions"]["tls"]
    assert tls["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
    assert "CN=Me\\, myself" in tls["client_cert_name"]
    assert "O=We" in tls["client_cert_name"]


async def test_an_application_may_change_its_scope(connect: Connect) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            seen = len(scope["extensions"])
            scope["extensions"].clear()
            scope["asgi"].clear()
            await respond(send, b"%d" % seen)

    async with asgi.server(app) as server:
        client = await connect(server)
        for _ in range(2):
            await client.send(get())
            assert (await client.reply()).content == b"4"
