"""Real clients over TLS, what a request tells of it, and what a client costs that says nothing."""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_upgrade import Limits, Request, Response, Server, TLSInfo, UpgradedStream, websocket

from ..support.client import Client, Connect, connect_tls, echo, get, okay, reset, upgrade
from ..support.tls_client import AUTHORITY, make_contexts
from ..support.websocket_client import handshake, text

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
Logged = Callable[[], list[str]]

versions = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name
)


@asynccontextmanager
async def serving_tls(server: Server, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The server on a TCP port, cancelled at the end of the block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(server.serve_ssl_over_tcp, 0, context)
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def in_a_thread(
    talk: Callable[[ssl.SSLSocket], object], port: int, context: ssl.SSLContext, **more: object
) -> None:
    """Let a blocking client talk."""

    def run() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as below:
            with context.wrap_socket(below, server_hostname="test.example", **more) as client:  # type: ignore[arg-type]
                talk(client)

    await trio.to_thread.run_sync(run)


# ---- real clients


def receive(client: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(65536)
        assert part, "the end"
        data += part
    return data


@versions
async def test_a_blocking_client_talks(version: ssl.TLSVersion) -> None:
    contexts = make_contexts(version)

    def talk(client: ssl.SSLSocket) -> None:
        for _ in range(3):
            client.sendall(get())
            assert receive(client, 1).startswith(b"HTTP/1.1 200")
        client.sendall(upgrade(after=b"hello"))
        reply = b""
        while not reply.endswith(b"\r\n\r\nhello"):
            reply += client.recv(1)
        for size in (1, 1000, 100_000, 1_000_000):
            client.settimeout(20)
            sent = bytes(range(256)) * (size // 256 + 1)
            for at in range(0, len(sent), 50_000):
                client.sendall(sent[at : at + 50_000])
                assert receive(client, len(sent[at : at + 50_000])) == sent[at : at + 50_000]
        client.unwrap()

    async with serving_tls(Server(okay, on_upgrade=echo), contexts[0]) as port:
        await in_a_thread(talk, port, contexts[1])


@versions
async def test_a_client_resumes_its_session(version: ssl.TLSVersion) -> None:
    contexts = make_contexts(version)
    sessions: list[ssl.SSLSession | None] = []
    reused: list[bool | None] = []

    def talk(client: ssl.SSLSocket) -> None:
        client.sendall(get())
        receive(client, 1)
        sessions.append(client.session)
        reused.append(client.session_reused)

    async with serving_tls(Server(okay), contexts[0]) as port:
        await in_a_thread(talk, port, contexts[1])
        await in_a_thread(talk, port, contexts[1], session=sessions[0])
    assert reused == [False, True]


async def test_a_client_that_sends_and_closes_without_reading_is_heard() -> None:
    """The session tickets do not reset it."""
    contexts = make_contexts()
    heard = trio.Event()

    async def on_request(request: Request) -> Response:
        assert await request.body.read() == bytes(100_000)
        heard.set()
        return Response(200)

    def talk(client: ssl.SSLSocket) -> None:
        client.sendall(get("/", b"Content-Length: 100000\r\n", "POST") + bytes(100_000))

    async with serving_tls(Server(on_request), contexts[0]) as port:
        await in_a_thread(talk, port, contexts[1])
        with trio.fail_after(5):
            await heard.wait()


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux can acknowledge at once")
@versions
async def test_a_client_with_nagles_algorithm_does_not_wait_for_an_acknowledgement(version: ssl.TLSVersion) -> None:
    """Its first request leaves it once the end of its handshake is acknowledged, for which Linux takes 40 ms."""
    contexts = make_contexts(version)
    times: list[float] = []

    def talk(client: ssl.SSLSocket) -> None:
        begin = time.perf_counter()
        client.sendall(get())
        receive(client, 1)
        times.append(time.perf_counter() - begin)

    async with serving_tls(Server(okay), contexts[0]) as port:
        for _ in range(10):
            await in_a_thread(talk, port, contexts[1])
    assert min(times) < 0.03


@needs_openssl
@pytest.mark.parametrize(("version", "command"), [("-tls1_3", b"k\n"), ("-tls1_3", b"K\n"), ("-tls1_2", b"R\n")])
@pytest.mark.parametrize("allows", [False, True])
async def test_openssl_updates_its_keys_or_renegotiates(version: str, command: bytes, allows: bool) -> None:
    """A renegotiation is refused, unless the context allows it."""
    ended = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        try:
            await echo(request, stream)
        finally:
            ended.set()

    server = Server(on_upgrade=handler)
    async with serving_tls(server, renegotiating_context(allows)) as port, running_openssl(port, version) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        client = Client(trio.StapledStream(process.stdin, process.stdout))
        await process.stdin.send_all(upgrade())
        while not (await until_newline(client)).startswith(b"HTTP/1.1 101"):
            pass
        for number in range(3):
            await process.stdin.send_all(command)
            # A line that openssl reads together with the command would be lost.
            while await until_newline(client) not in (b"KEYUPDATE\n", b"RENEGOTIATING\n"):
                pass
            if command == b"R\n" and not allows:
                break  # openssl gives up
            await process.stdin.send_all(b"line %d\n" % number)
            while b"line %d" % number not in await until_newline(client):
                pass
        await process.stdin.aclose()
        await client.rest()
        await ended.wait()


@needs_openssl
@pytest.mark.parametrize("allows", [False, True])
async def test_a_renegotiation_while_data_is_sent_ends_the_connection(allows: bool) -> None:
    """OpenSSL's client does not take data meanwhile, whether the server refuses or not."""
    flooding, ended = trio.Event(), trio.Event()

    async def handler(request: Request, stream: UpgradedStream) -> None:
        async def send() -> None:
            while True:
                await stream.send_all(bytes(range(256)) * 4096)
                flooding.set()

        await request.accept()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await stream.receive_some()
        finally:
            ended.set()

    server, context = Server(on_upgrade=handler), renegotiating_context(allows)
    async with serving_tls(server, context) as port, running_openssl(port, "-tls1_2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(upgrade())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, process.stdout)
            await flooding.wait()
            await process.stdin.send_all(b"R\n")
            await ended.wait()


@needs_openssl
async def test_nothing_can_be_sent_between_the_messages_of_a_renegotiation() -> None:
    """The client's next message is held up on its way."""
    renegotiating, refused = trio.Event(), trio.Event()

    async def handler(request: Request, stream: UpgradedStream) -> None:
        async def send() -> None:
            await renegotiating.wait()
            with pytest.raises(trio.BrokenResourceError, match="renegotiates"):
                await stream.send_all(b"hello")
            refused.set()
            nursery.cancel_scope.cancel()

        await request.accept()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await stream.receive_some()

    async def hold_up(client: trio.SocketStream) -> None:
        """Pass everything on, until the server has answered the first bytes after `starts`."""
        async with await trio.open_tcp_stream("127.0.0.1", port) as upstream, trio.open_nursery() as nursery:

            async def back() -> None:
                async for data in upstream:
                    await client.send_all(data)
                    if passed_on:
                        renegotiating.set()

            nursery.start_soon(back)
            passed_on = False
            async for data in client:
                await upstream.send_all(data)
                if starts.is_set():
                    passed_on = True
                    await trio.sleep_forever()

    starts = trio.Event()
    async with serving_tls(Server(on_upgrade=handler), renegotiating_context(True)) as port:
        async with trio.open_nursery() as nursery:
            (proxy,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, hold_up, [proxy])
            async with running_openssl(proxy.socket.getsockname()[1], "-tls1_2") as process:
                assert process.stdin is not None
                assert process.stdout is not None
                client = Client(trio.StapledStream(process.stdin, process.stdout))
                await process.stdin.send_all(upgrade())
                while not (await until_newline(client)).startswith(b"HTTP/1.1 101"):
                    pass
                starts.set()
                await process.stdin.send_all(b"R\n")
                nursery.start_soon(drain, process.stdout)
                await refused.wait()
                nursery.cancel_scope.cancel()


async def drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass


def renegotiating_context(allows: bool) -> ssl.SSLContext:
    context = make_contexts()[0]
    if allows:
        context.options |= 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which `ssl` does not name
    return context


@asynccontextmanager
async def running_openssl(port: int, version: str) -> AsyncIterator[trio.Process]:
    """OpenSSL's client, which sends the lines that it reads. A line with an R renegotiates."""
    arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-servername", "test.example"]
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            try:
                yield process
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def until_newline(client: Client) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        data += await client.exactly(1)
    return data


# ---- handshakes


async def test_a_client_that_says_nothing_costs_no_tls_object() -> None:
    gc.collect()
    before = count_tls_objects()
    contexts = make_contexts()
    async with serving_tls(Server(okay), contexts[0]) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
        await trio.testing.wait_all_tasks_blocked()
        assert count_tls_objects() <= before
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize("ending", ["close_notify", "cut off", "noise", "reset", "in the handshake"])
async def test_the_end_of_a_connection_frees_its_tls_object(ending: str) -> None:
    """At once, and not when the garbage collector finds it."""
    contexts = make_contexts()
    server = Server(okay)
    gc.collect()
    before = count_tls_objects()
    gc.disable()
    try:
        async with serving_tls(server, contexts[0]) as port:
            below = await trio.open_tcp_stream("127.0.0.1", port)
            client = trio.SSLStream(below, contexts[1], server_hostname="test.example")
            if ending == "in the handshake":
                await below.send_all(b"\x16\x03\x01")
            else:
                await client.send_all(get())
                assert (await client.receive_some()).startswith(b"HTTP/1.1 200")
            if ending == "close_notify":
                await client.aclose()
            elif ending == "noise":
                await below.send_all(b"GET / HTTP/1.1\r\n\r\n")
            elif ending == "reset":
                reset(Client(below))
            await below.aclose()
            while server.statistics().open:
                await trio.lowlevel.checkpoint()
            assert count_tls_objects() <= before
    finally:
        gc.enable()


def count_tls_objects() -> int:
    """Those of servers."""
    return sum(type(thing) is ssl.SSLObject and thing.server_side for thing in gc.get_objects())


async def test_a_client_is_told_why_its_handshake_failed(logged: Logged) -> None:
    contexts = make_contexts(ssl.TLSVersion.TLSv1_3)
    contexts[1].maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving_tls(Server(okay), contexts[0]) as port:
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            await in_a_thread(lambda client: None, port, contexts[1])
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert logged() == ["DEBUG"]


async def test_a_handshake_that_is_cut_off_anywhere_ends_the_connection_quietly(logged: Logged) -> None:
    contexts = make_contexts()
    server = Server(okay)
    async with serving_tls(server, contexts[0]) as port:
        with trio.fail_after(40):
            for at in range(0, 560, 7):
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                state = contexts[1].wrap_bio(incoming, outgoing, server_hostname="test.example")
                with pytest.raises(ssl.SSLWantReadError):
                    state.do_handshake()
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    await stream.send_all(outgoing.read()[:at])
                    await stream.send_eof()
                    try:
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass
                while server.statistics().open:
                    await trio.lowlevel.checkpoint()
    assert set(logged()) == {"DEBUG"}


async def test_a_handshake_may_take_its_time_byte_by_byte_but_not_longer(
    connect_tls: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect_tls(Server(okay, limits=Limits(tls_handshake_timeout=4)))
    assert isinstance(client.stream, trio.SSLStream)
    below = client.stream.transport_stream
    start = trio.current_time()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await below.send_all(hello[:1])
            hello = hello[1:]
            await trio.sleep(1)
    assert 4 <= trio.current_time() - start <= 7


async def test_a_context_for_clients_is_an_error_at_once() -> None:
    with pytest.raises(ssl.SSLError, match="server"):
        await Server(okay).serve_ssl_over_tcp(0, ssl.create_default_context())


# ---- what a request tells


async def test_a_request_tells_what_its_tls_has_agreed_on(connect_tls: Connect) -> None:
    seen: list[TLSInfo | None] = []

    async def on_request(request: Request) -> Response:
        seen.append(request.tls)
        return Response(200)

    client = await connect_tls(Server(on_request))
    await client.send(get())
    await client.reply()
    assert seen == [TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, None)]


async def test_without_tls_there_is_nothing_to_tell(connect: Connect) -> None:
    async def on_request(request: Request) -> Response:
        assert request.tls is None
        return Response(200)

    client = await connect(Server(on_request))
    await client.send(get())
    assert (await client.reply()).status == 200


@pytest.mark.parametrize("way", ["ours", "a listener of trio's", "a stream of trio's"])
@versions
async def test_a_request_tells_alpn_and_the_clients_certificate(
    version: ssl.TLSVersion, way: str, nursery: trio.Nursery
) -> None:
    contexts = make_contexts(version)
    contexts[0].set_alpn_protocols(["http/1.1"])
    contexts[1].set_alpn_protocols(["h2", "http/1.1"])
    contexts[0].verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(contexts[0])
    certificate = AUTHORITY.issue_cert("somebody@test.example")
    certificate.configure_cert(contexts[1])
    seen: list[TLSInfo | None] = []

    async def on_request(request: Request) -> Response:
        seen.append(request.tls)
        tls, transport = request.tls, request.transport
        assert tls is not None
        cipher = transport.cipher()
        assert cipher is not None
        assert tls.version == transport.version()
        assert tls.cipher == cipher[0]
        assert tls.alpn_protocol == transport.selected_alpn_protocol()
        assert tls.client_certificate == transport.getpeercert(True)
        assert ("email", "somebody@test.example") in transport.getpeercert()["subjectAltName"]
        return Response(200)

    server = Server(on_request)
    if way == "ours":
        client = await connect_tls(nursery, server, contexts=contexts)
    elif way == "a stream of trio's":
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve_stream, trio.SSLStream(theirs, contexts[0], server_side=True))
        client = Client(trio.SSLStream(ours, contexts[1], server_hostname="test.example"))
    else:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, contexts[0], host="127.0.0.1")
        nursery.start_soon(server.serve_listeners, [listener])
        below = listener.transport_listener
        assert isinstance(below, trio.SocketListener)
        stream = await trio.testing.open_stream_to_socket_listener(below)
        client = Client(trio.SSLStream(stream, contexts[1], server_hostname="test.example"))
    await client.send(get())
    assert (await client.reply()).status == 200
    (tls,) = seen
    assert tls is not None
    assert tls.version == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert tls.alpn_protocol == "http/1.1"
    assert tls.client_certificate is not None
    await client.aclose()
    await server.shutdown(1)


# ---- WebSocket


async def test_a_message_over_tls_starts_no_task(connect_tls: Connect) -> None:
    tasks: list[int] = []

    async def chat(ws: websocket.WebSocket[str | bytes]) -> None:
        async for message in ws:
            await ws.send(message)
            tasks.append(len(server.nursery.child_tasks))

    server = Server(on_upgrade=websocket.handler(chat))
    client = await connect_tls(server)
    await client.send(handshake())
    assert (await client.reply()).status == 101
    for _ in range(3):
        await client.send(text("hello"))
        assert await client.exactly(7) == b"\x81\x05hello"
    assert len(set(tasks)) == 1
    assert tasks[0] <= 3


async def test_a_broadcast_reaches_a_slow_reader_over_tls_whole(connect_tls: Connect) -> None:
    everybody: set[websocket.WebSocket[str | bytes]] = set()
    message = bytes(range(256)) * 256

    async def chat(ws: websocket.WebSocket[str | bytes]) -> None:
        everybody.add(ws)
        await ws.receive()
        for _ in range(100):
            websocket.broadcast(everybody, message)
        await trio.sleep_forever()

    client = await connect_tls(Server(on_upgrade=websocket.handler(chat, send_buffer=2**26)))
    await client.send(handshake())
    assert (await client.reply()).status == 101
    await client.send(text("go"))
    await trio.testing.wait_all_tasks_blocked(0.05)
    for _ in range(100):
        assert await client.exactly(10) == b"\x82\x7f" + len(message).to_bytes(8, "big")
        assert await client.exactly(len(message)) == message
