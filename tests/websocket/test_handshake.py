"""The opening handshake: RFC 6455 sections 4.1 and 4.2."""

from __future__ import annotations

import base64
import logging
import ssl
from typing import Any

import pytest
import trio
from websockets.utils import accept_key

from trio_upgrade import Request, Response, Server, websocket

from ..support.client import Connect, connect_tls, get, okay, upgrade
from ..support.websocket_client import (
    KEY,
    Peer,
    Recorder,
    close,
    echo,
    frame,
    handshake,
    open_peer,
    server_of,
    shake,
    text,
)


async def refused(connect: Connect, request: bytes, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """The answer to a handshake that is not accepted; the connection ends with it."""
    recorder = Recorder()
    client = await connect(server_of(recorder, should_upgrade=lambda request: True, **options))
    await client.send(request)
    reply = await client.reply()
    assert not recorder.opened.is_set()
    assert reply.closes
    assert await client.rest() == b""
    return reply.status, reply.headers, reply.content


async def test_the_example_of_the_rfc(connect: Connect) -> None:
    client = await connect(server_of(echo))
    await client.send(handshake())
    reply = await client.reply()
    assert reply.status == 101
    assert reply.headers == {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    await Peer(client, reply).send(close())
    assert await Peer(client, reply).close_code() == 1000


async def test_a_handshake_over_tls(connect_tls: Connect) -> None:
    peer = await open_peer(connect_tls, echo, after=text("early"))
    assert await peer.message() == "early"
    await peer.send(text("x" * 200_000))
    assert await peer.message() == "x" * 200_000
    await peer.send(close())
    assert await peer.close_code() == 1000
    assert await peer.ended()


async def test_frames_in_the_packet_of_the_handshake_are_received(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, after=text("one") + text("two") + close())
    assert await peer.close_code() == 1000
    await recorder.ended.wait()
    assert recorder.messages == ["one", "two"]
    assert isinstance(recorder.end, trio.EndOfChannel)


async def test_a_handshake_with_a_body_loses_no_frame(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, b"Content-Length: 4\r\n", after=b"body" + text("one") + close())
    assert await peer.close_code() == 1000
    await recorder.ended.wait()
    assert recorder.messages == ["one"]


async def test_a_body_that_is_cut_off_ends_the_websocket(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, b"Content-Length: 400\r\n", after=b"bo")
    await peer.client.send_eof()
    await recorder.ended.wait()
    assert (recorder.messages, recorder.code) == ([], 1006)


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        b"connection: UPGRADE\r\nupgrade: other/1\r\nUpgrade: websocket\r\n",
    ],
)
async def test_upgrade_fields_as_lenient_as_http(connect: Connect, upgrade: bytes) -> None:
    client = await connect(server_of(echo))
    await client.send(handshake(upgrade=upgrade))
    reply = await client.reply()
    assert (reply.status, reply.headers["upgrade"].lower()) == (101, "websocket")


async def test_further_fields_of_the_101(connect: Connect) -> None:
    peer = await open_peer(connect, echo, headers=[("X-Mine", "yes"), ("Set-Cookie", "a=b")])
    assert (peer.reply.headers["x-mine"], peer.reply.headers["set-cookie"]) == ("yes", "a=b")


# ---- requests that cannot become a WebSocket


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "get"])
async def test_a_handshake_is_a_get(connect: Connect, method: str) -> None:
    client = await connect(server_of(echo))
    await client.send(handshake(method=method, fields=b"Content-Length: 0\r\n"))
    reply = await client.reply("HEAD" if method == "HEAD" else "GET")
    assert (reply.status, reply.closes) == (400, True)
    assert await client.rest() == b""


@pytest.mark.parametrize(
    "version",
    [
        b"",
        b"Sec-WebSocket-Version: 8\r\n",
        b"Sec-WebSocket-Version: 14\r\n",
        b"Sec-WebSocket-Version: 013\r\n",
        b"Sec-WebSocket-Version: 13, 8\r\n",
        b"Sec-WebSocket-Version: thirteen\r\n",
        b"Sec-WebSocket-Version:\r\n",
        b"Sec-WebSocket-Version: 13\r\n" * 2,
        b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13\r\n",
    ],
)
async def test_another_version_is_told_the_right_one(connect: Connect, version: bytes) -> None:
    status, headers, _ = await refused(connect, handshake(version=version))
    assert (status, headers["sec-websocket-version"]) == (426, "13")
    assert headers["upgrade"] == "websocket"  # RFC 9110 section 15.5.22
    assert headers["connection"].lower() == "upgrade, close"  # RFC 9110 section 7.8


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"Sec-WebSocket-Key:\r\n",
        b"Sec-WebSocket-Key: %b\r\n" % base64.b64encode(bytes(15)),
        b"Sec-WebSocket-Key: %b\r\n" % base64.b64encode(bytes(17)),
        b"Sec-WebSocket-Key: %b\r\n" % base64.b64encode(bytes(18)),
        b"Sec-WebSocket-Key: %b\r\n" % base64.b64encode(bytes(16)).rstrip(b"="),
        b"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n",
        b"Sec-WebSocket-Key: AAAAAAAAAAAA AAAAAAAAA==\r\n",
        b"Sec-WebSocket-Key: \xe9AAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==, AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" * 2,
    ],
)
async def test_the_key_must_be_there_once_and_have_16_bytes(connect: Connect, key: bytes) -> None:
    status, _, content = await refused(connect, handshake(key=key))
    assert status == 400
    assert b"Sec-WebSocket-Key" in content


async def test_an_upgrade_to_something_else_is_told_what_is_here(connect: Connect) -> None:
    status, headers, _ = await refused(connect, upgrade())
    assert (status, headers["upgrade"], headers["sec-websocket-version"]) == (426, "websocket", "13")


async def test_a_websocket_over_http_1_0_is_an_ordinary_request(connect: Connect) -> None:
    client = await connect(Server(okay, on_upgrade=websocket.handler(echo)))
    await client.send(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await client.reply()).status == 200


# ---- Origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://test", "test"),
        ("https://test", "test"),
        ("HTTPS://TEST", "test"),
        ("http://test:80", "test"),
        ("http://test", "test:80"),
        ("https://test", "test:443"),
        ("http://test:8000", "test:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]"),
    ],
)
async def test_pages_of_the_same_host_may_connect(connect: Connect, origin: str, host: str) -> None:
    client = await connect(server_of(echo))
    request = handshake(f"Origin: {origin}\r\n".encode()).replace(b"Host: test", f"Host: {host}".encode())
    await client.send(request)
    assert (await client.reply()).status == 101


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil", "test"),
        ("http://test.evil", "test"),
        ("http://eviltest", "test"),
        ("http://test@evil", "test"),
        ("http://test:8001", "test:8000"),
        ("http://test:443", "test"),
        ("http://test:8000", "test"),
        ("https://test:80", "test"),
        ("http://sub.test", "test"),
        ("null", "test"),
        ("null", "null"),
        ("test", "test"),
        ("", "test"),
        ("http://", "test"),
        ("http://", ""),
        ("null", ""),
        ("", ""),
    ],
)
async def test_pages_of_other_sites_may_not(connect: Connect, origin: str, host: str) -> None:
    request = handshake(f"Origin: {origin}\r\n".encode()).replace(b"Host: test", f"Host: {host}".encode())
    assert (await refused(connect, request))[0] == 403


@pytest.mark.parametrize("origins", ["same", ["http://test"]])
async def test_two_origins_are_refused(connect: Connect, origins: Any) -> None:
    request = handshake(b"Origin: http://test\r\n" * 2)
    assert (await refused(connect, request, origins=origins))[0] == 403


async def test_every_page_may_connect_where_that_is_wanted(connect: Connect) -> None:
    await open_peer(connect, echo, b"Origin: http://evil\r\n", origins="*")
    await open_peer(connect, echo, b"Origin: null\r\n", origins="*")


async def test_listed_pages_may_connect_and_no_others(connect: Connect) -> None:
    listed = ["https://Example.com", "http://other:8000"]
    await open_peer(connect, echo, b"Origin: https://example.com\r\n", origins=listed)
    await open_peer(connect, echo, b"Origin: http://OTHER:8000\r\n", origins=listed)
    for origin in (b"Origin: http://test\r\n", b"Origin: http://example.com\r\n", b"Origin: http://other\r\n", b""):
        assert (await refused(connect, handshake(origin), origins=listed))[0] == 403


# ---- subprotocols


@pytest.mark.parametrize(
    ("offered", "spoken", "agreed"),
    [
        (b"Sec-WebSocket-Protocol: a\r\n", ["a"], "a"),
        (b"Sec-WebSocket-Protocol: a, b\r\n", ["b", "a"], "b"),
        (b"Sec-WebSocket-Protocol: a,b ,c\r\n", ("x", "c"), "c"),
        (b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", ["b"], "b"),
        (b"Sec-WebSocket-Protocol: a\r\n", [], None),
        (b"", [], None),
    ],
)
async def test_the_subprotocol_that_the_server_likes_best(
    connect: Connect, offered: bytes, spoken: Any, agreed: str | None
) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, offered, subprotocols=spoken)
    await recorder.opened.wait()
    assert recorder.ws.subprotocol == agreed
    assert peer.reply.headers.get("sec-websocket-protocol") == agreed


@pytest.mark.parametrize("offered", [b"", b"Sec-WebSocket-Protocol: c\r\n", b"Sec-WebSocket-Protocol: A\r\n"])
async def test_a_client_that_offers_no_subprotocol_of_ours_is_refused(connect: Connect, offered: bytes) -> None:
    assert (await refused(connect, handshake(offered), subprotocols=["a", "b"]))[0] == 400


@pytest.mark.parametrize("offered", [b"a b", b"a;b", b'"a"', b"a,,{"])
async def test_malformed_subprotocols(connect: Connect, offered: bytes) -> None:
    request = handshake(b"Sec-WebSocket-Protocol: %b\r\n" % offered)
    assert (await refused(connect, request, subprotocols=["a"]))[0] == 400
    assert (await refused(connect, request))[0] == 400


@pytest.mark.parametrize("offered", [b"", b" ", b",", b" , ,"])
@pytest.mark.parametrize("field", [b"Protocol", b"Extensions"])
async def test_an_empty_offer_is_none(connect: Connect, field: bytes, offered: bytes) -> None:
    """RFC 9110 section 5.6.1."""
    fields = b"Sec-WebSocket-%b: %b\r\n" % (field, offered)
    await open_peer(connect, echo, fields)
    await open_peer(connect, echo, fields, compression="deflate", subprotocols=["a", None])
    again = fields + b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    peer = await open_peer(connect, echo, again, compression="deflate", subprotocols=["a"])
    assert peer.reply.headers["sec-websocket-protocol"] == "a"
    assert peer.reply.headers["sec-websocket-extensions"] == "permessage-deflate"
    if field == b"Protocol":
        assert (await refused(connect, handshake(fields), subprotocols=["a"]))[0] == 400


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(b"", None), (b"Sec-WebSocket-Protocol: c\r\n", None), (b"Sec-WebSocket-Protocol: c, b, a\r\n", "a")],
)
@pytest.mark.parametrize("spoken", [["a", "b", None], [None, "a", "b"]])
async def test_subprotocols_may_be_optional(
    connect: Connect, offered: bytes, agreed: str | None, spoken: list[str | None]
) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, offered, subprotocols=spoken)
    await recorder.opened.wait()
    assert recorder.ws.subprotocol == agreed
    assert peer.reply.headers.get("sec-websocket-protocol") == agreed


async def test_a_function_may_choose_the_subprotocol(connect: Connect) -> None:
    seen: list[list[str]] = []

    def newest(offered: list[str]) -> str | None:
        seen.append(offered)
        return max((name for name in offered if name.startswith("v")), default=None)

    for fields, agreed in [
        (b"Sec-WebSocket-Protocol: v1, v3\r\nSec-WebSocket-Protocol: v2, x\r\n", "v3"),
        (b"Sec-WebSocket-Protocol: x\r\n", None),
        (b"", None),
    ]:
        recorder = Recorder()
        peer = await open_peer(connect, recorder, fields, subprotocols=newest)
        await recorder.opened.wait()
        assert recorder.ws.subprotocol == agreed
        assert peer.reply.headers.get("sec-websocket-protocol") == agreed
    assert seen == [["v1", "v3", "v2", "x"], ["x"], []]


@pytest.mark.parametrize(
    ("choice", "error"),
    [("b", ValueError), ("", ValueError), (True, TypeError), (b"a", TypeError), (["a"], TypeError)],
)
async def test_a_function_may_choose_only_what_is_offered(
    connect_memory: Connect, logged: Any, choice: Any, error: type[Exception]
) -> None:
    request = handshake(b"Sec-WebSocket-Protocol: a\r\n")
    assert (await refused(connect_memory, request, subprotocols=lambda offered: choice))[0] == 500
    assert logged() == [f"ERROR {error.__name__}"]


async def test_an_async_function_chooses_no_subprotocol(connect_memory: Connect, logged: Any) -> None:
    async def choose(offered: list[str]) -> str:
        return offered[0]

    with pytest.raises(TypeError, match="plain `def`"):
        websocket.handler(echo, subprotocols=choose)  # type: ignore[arg-type]
    request = handshake(b"Sec-WebSocket-Protocol: a\r\n")
    assert (await refused(connect_memory, request, subprotocols=lambda offered: choose(offered)))[0] == 500
    assert logged() == ["ERROR TypeError"]


@pytest.mark.parametrize("compression", [None, "deflate", "deflate-takeover"])
@pytest.mark.parametrize("extensions", [b"=", b"a b", b"permessage-deflate;", b"a;b=", b'a;b="', b";"])
async def test_malformed_extensions(connect: Connect, extensions: bytes, compression: Any) -> None:
    request = handshake(b"Sec-WebSocket-Extensions: %b\r\n" % extensions)
    assert (await refused(connect, request, compression=compression))[0] == 400


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_unknown_extensions_are_passed_over(connect: Connect, compression: Any) -> None:
    offer = b'Sec-WebSocket-Extensions: x-webkit-deflate-frame, mux; a=1; b="2"\r\n'
    peer = await open_peer(connect, echo, offer, compression=compression)
    assert "sec-websocket-extensions" not in peer.reply.headers


# ---- in a handler


async def test_requests_for_other_protocols_get_the_page(connect: Connect) -> None:
    """Java's HTTP client offers h2c with every request."""
    client = await connect(Server(okay, on_upgrade=websocket.handler(echo), should_upgrade=websocket.is_handshake))
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n"
    )
    await client.send(get("/page", offer))
    reply = await client.reply()
    assert (reply.status, reply.content) == (200, b"okay /page\n")
    await client.send(get("/page"))
    assert (await client.reply()).status == 200
    peer = await shake(client)
    await peer.send(text("hello"))
    assert await peer.message() == "hello"


async def test_a_bad_handshake_is_logged_at_debug_only(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    assert (await refused(connect, handshake(key=b"")))[0] == 400
    assert [record.levelno for record in caplog.records if record.name == "trio_upgrade"] == [logging.DEBUG]


async def test_a_bad_handshake_in_an_exception_group(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with websocket.accept(request, stream):
                raise AssertionError

    client = await connect(Server(on_upgrade=on_upgrade))
    await client.send(handshake(version=b""))
    reply = await client.reply()
    assert (reply.status, reply.headers["sec-websocket-version"]) == (426, "13")
    assert [record.levelno for record in caplog.records if record.name == "trio_upgrade"] == [logging.DEBUG]


async def test_a_handler_may_answer_a_bad_handshake_itself(connect: Connect) -> None:
    statuses = []

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> Response | None:
        try:
            async with websocket.accept(request, stream) as ws:
                await ws.send("welcome")
        except websocket.HandshakeError as exc:
            statuses.append(exc.status)
            return Response(418, str(exc))
        return None

    client = await connect(Server(on_upgrade=on_upgrade))
    await client.send(handshake(b"Origin: http://evil\r\n"))
    reply = await client.reply()
    assert (reply.status, b"Origin" in reply.content, statuses) == (418, True, [403])
    peer = await shake(client)  # the connection goes on as after any request
    assert await peer.message() == "welcome"


async def test_the_raw_stream_is_taken_over(connect: Connect) -> None:
    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        async with websocket.accept(request, stream) as ws:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
            await stream.aclose()
            await ws.send(await ws.receive())
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    client = await connect(Server(on_upgrade=on_upgrade))
    peer = await shake(client, after=text("hello"))
    assert await peer.message() == "hello"
    assert await peer.close_code() == 1000


async def test_a_stream_of_another_kind_may_be_taken(connect: Connect) -> None:
    """Such as one that counts bytes: it ends what it wraps."""

    class Wrapped(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self.stream = stream

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await self.stream.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self.stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self.stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self.stream.aclose()

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> None:
        async with websocket.accept(request, Wrapped(stream)) as ws:
            await echo(ws)

    peer = await shake(await connect(Server(on_upgrade=on_upgrade)))
    await peer.send(text("hello"), close())
    assert await peer.message() == "hello"
    assert await peer.close_code() == 1000
    assert await peer.ended()


async def test_the_request_of_a_websocket(connect_memory: Connect) -> None:
    recorder = Recorder()
    await shake(await connect_memory(server_of(recorder)), target="/room?name=x")
    await recorder.opened.wait()
    assert (recorder.ws.request.path, recorder.ws.request.query) == ("/room", "name=x")
    assert "open" in repr(recorder.ws)
    assert recorder.ws.close_code is None
    assert recorder.ws.close_reason == ""


# ---- options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"message_type": int}, TypeError),
        ({"compression": "brotli"}, ValueError),
        ({"max_message_size": "1"}, TypeError),
        ({"max_message_size": True}, TypeError),
        ({"max_message_size": 0}, ValueError),
        ({"receive_buffer": 0}, ValueError),
        ({"receive_buffer": 1.5}, TypeError),
        ({"send_buffer": -1}, ValueError),
        ({"send_buffer": None}, TypeError),
        ({"ping_interval": 0}, ValueError),
        ({"ping_interval": "1"}, TypeError),
        ({"ping_timeout": -1}, ValueError),
        ({"ping_timeout": float("nan")}, ValueError),
        ({"close_timeout": None}, TypeError),
        ({"close_timeout": 0}, ValueError),
        ({"close_timeout": True}, TypeError),
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": [1]}, TypeError),
        ({"origins": "https://example.com"}, TypeError),
        ({"origins": [None]}, TypeError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"subprotocols": ["a", None, ""]}, ValueError),
        ({"headers": [("X", "a\r\nb")]}, ValueError),
        ({"headers": [("Connection", "close")]}, ValueError),
        ({"headers": {"Upgrade": "websocket"}}, ValueError),
        ({"headers": {"Content-Length": "0"}}, ValueError),
        ({"headers": {"transfer-encoding": "chunked"}}, ValueError),
        ({"headers": [("Sec-WebSocket-Accept", "x")]}, ValueError),
        ({"headers": [("sec-websocket-protocol", "chat")], "subprotocols": ["chat"]}, ValueError),
        ({"headers": [(b"SEC-WEBSOCKET-EXTENSIONS", b"permessage-deflate")]}, ValueError),
        ({"headers": {"Sec-WebSocket-Version": "13"}}, ValueError),
        ({"headers": {"Sec-WebSocket-Key": "x"}}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_options_that_are_none(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        websocket.handler(echo, **options)


async def test_options_that_can_be_read_once_serve_every_connection(connect: Connect) -> None:
    server = server_of(
        echo,
        subprotocols=iter(["a"]),
        origins=iter(["http://test"]),
        headers=iter([("X-Mine", "yes")]),
    )
    for _ in range(2):
        peer = await shake(await connect(server), b"Origin: http://test\r\nSec-WebSocket-Protocol: a\r\n")
        assert peer.reply.headers["sec-websocket-protocol"] == "a"
        assert peer.reply.headers["x-mine"] == "yes"


def test_a_handler_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="async function"):
        websocket.handler(None)  # type: ignore[call-overload]


async def test_a_handshake_in_two_packets_everywhere_over_tls(
    nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    client = await connect_tls(nursery, server_of(echo), contexts=tls_contexts)
    data = handshake() + frame(1, b"hello")
    for at in range(0, len(data), 40):
        await client.send(data[at : at + 40])
    assert (await client.reply()).status == 101
    assert await client.exactly(7) == b"\x81\x05hello"
    await client.aclose()


# ---- a check without accepting


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (handshake(), 200),
        (handshake(method="POST"), 400),
        (handshake(key=b""), 400),
        (handshake(version=b""), 426),
        (handshake(b"Origin: https://elsewhere.example\r\n"), 403),
        (handshake(b"Sec-WebSocket-Extensions: ;\r\n"), 400),
        (get("/"), 426),
    ],
)
async def test_a_handshake_is_checked_without_accepting_it(connect_memory: Connect, data: bytes, status: int) -> None:
    async def on_request(request: Request) -> Response:
        websocket.check_handshake(request)
        return Response(200)

    client = await connect_memory(Server(on_request))
    await client.send(data)
    assert (await client.reply()).status == status
