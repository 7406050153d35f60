"""The load generator notices what a server does wrong, and reports a server that fails."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from websockets.utils import accept_key, apply_mask

from benchmarks.speed import exchanges, table
from benchmarks.speed.answers import BODY, FIELDS, MIB, block, event
from benchmarks.speed.connections import Address, open_upgraded
from benchmarks.speed.content import Content
from benchmarks.speed.event_streams import EventStreams
from benchmarks.speed.files import certificate_file, client_context
from benchmarks.speed.loads import Broadcast, Bulk, Echo, Handshake, Load, Requests, measure
from benchmarks.speed.meter import Meter, Sample
from benchmarks.speed.peers import FLOOR, OURS, PEERS, Peer
from benchmarks.speed.process import launch
from benchmarks.speed.rounds import Settings, measure_group
from benchmarks.speed.transfers import Download, Upload
from benchmarks.speed.wire import LAST_CHUNK, Wrong, check_switch, chunks, client_frame, payloads, server_frame
from benchmarks.speed.works import WORKS

pytestmark = pytest.mark.once

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SETTINGS = Settings(rounds=1, seconds=0.05, quick=True, descriptors=4096, processor=None)


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], object], tls: bool = False) -> Iterator[Address]:
    """A server that runs `handle` with each connection, in a thread; gives its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if tls:
        context.load_cert_chain(certificate_file())

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if tls:
                    with context.wrap_socket(self.request, server_side=True) as sock:
                        handle(sock)
                else:
                    handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Address(server.server_address[1], client_context() if tls else None)
        server.shutdown()


def upgraded(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    """Upgrades, then answers each message."""

    def handle(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(SWITCH)
        while data := sock.recv(1 << 16):
            sock.sendall(answer(data))

    return handle


def answering(response: bytes) -> Callable[[socket.socket], None]:
    """Answers each request."""

    def handle(sock: socket.socket) -> None:
        while sock.recv(4096):
            sock.sendall(response)

    return handle


def content(data: bytes) -> bytes:
    """A response with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


def receive_request(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request, and its body as it came; (b"", b"") at the end."""
    data = b""
    while not re.search(rb"^GET.*\r\n\r\n$|\r\n0\r\n\r\n$", data, re.DOTALL):
        found = re.search(rb"Content-Length: (\d+).*?\r\n\r\n", data, re.DOTALL)
        if found is not None and len(data) - found.end() >= int(found[1]):
            break
        more = sock.recv(1 << 20)
        if not more:
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def streaming(change: Callable[[bytes], bytes] = lambda delivery: delivery) -> Callable[[socket.socket], None]:
    """Serves one event stream; `change` is what happens to each delivery after the first."""
    followers: list[socket.socket] = []
    number = 0

    def handle(sock: socket.socket) -> None:
        nonlocal number
        while head := receive_request(sock)[0]:
            if head.startswith(b"GET"):
                followers.append(sock)
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(event(number), 18))
                continue
            number += 1
            sock.sendall(GOOD)
            for follower in followers:
                follower.sendall(change(chunks(event(number), 18)) if head.startswith(b"POST") else LAST_CHUNK)

    return handle


def run(load: Load) -> Sample:
    return measure(load, Meter(lambda: 0.0), 0.02)


# ---- what is right


def test_right_answers_are_counted() -> None:
    with serving(answering(GOOD)) as address:
        assert run(Requests(address, 2, exchanges.gets())).operations >= 2
    with serving(upgraded(lambda data: data)) as address:
        assert run(Echo(address, 2, "echo", 64)).operations >= 2
        assert run(Bulk(address, 2, "echo", 1 << 20)).operations >= 2
        assert run(Handshake(address, 2, exchanges.switches("echo"))).operations >= 2


def test_a_response_may_come_in_pieces() -> None:
    def handle(sock: socket.socket) -> None:
        while sock.recv(4096):
            for piece in (GOOD[:10], GOOD[10:40], GOOD[40:]):
                sock.sendall(piece)

    with serving(handle) as address:
        assert run(Requests(address, 1, exchanges.gets())).operations >= 1


@pytest.mark.parametrize("peer", [OURS, FLOOR])
def test_a_real_server_is_measured(peer: str) -> None:
    with launch(PEERS[peer].program) as server:
        result = measure(Echo(server.address, 4, "echo", 64), Meter(server.clock), 0.1)
        assert server.resident() > 2**20
    assert result.rate > 0
    assert 0 < result.server_busy < 1.5


@pytest.mark.parametrize("tls", [False, True])
def test_right_answers_of_a_real_server_are_counted(tls: bool) -> None:
    with launch(PEERS[OURS].program, tls=tls, content=True, size=10) as server:
        address = server.address
        for repeated in (exchanges.gets_with_fields(), exchanges.posts(1024), exchanges.posts(1024, chunked=True)):
            assert run(Requests(address, 2, repeated)).operations >= 2
        assert run(Handshake(address, 2, exchanges.switches_with_body("echo", 1024))).operations >= 2
        assert run(Echo(address, 2, "websocket", 64 << 10)).operations >= 2
        assert run(Bulk(address, 2, "echo", 1 << 20)).operations >= 2
        assert run(Broadcast(address, 3, 64)).operations >= 3
        assert run(EventStreams(address, 3)).operations >= 3
        assert run(Upload(address, 2)).operations >= 2
        assert run(Upload(address, 2, 1024)).operations >= 2
        for target in ("/download", "/stream", "/file"):
            assert run(Download(address, 10, target)).operations >= 10
        assert server.peak() >= server.resident() > 10 * MIB


# ---- what is wrong


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (GOOD.replace(b"200 OK", b"500 No"), "status 500"),
        (GOOD.replace(b"hello", b"jello"), "jello"),
        (GOOD + b"more", "more"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not a status line"),
    ],
)
def test_a_wrong_response_is_noticed(response: bytes, words: str) -> None:
    with serving(answering(response)) as address, pytest.raises(Wrong, match=words):
        run(Requests(address, 1, exchanges.gets()))


def test_a_later_response_is_checked_like_the_first() -> None:
    def handle(sock: socket.socket) -> None:
        for response in (GOOD, GOOD, GOOD.replace(b"hello", b"jello")):
            sock.recv(4096)
            sock.sendall(response)

    with serving(handle) as address, pytest.raises(Wrong, match="jello"):
        run(Requests(address, 1, exchanges.gets()))


def test_a_connection_that_ends_is_noticed() -> None:
    with serving(lambda sock: sock.recv(4096)) as address, pytest.raises((Wrong, OSError)):
        run(Requests(address, 1, exchanges.gets()))


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_a_wrong_byte_is_noticed(size: int) -> None:
    with serving(upgraded(lambda data: data[:-1] + b"!")) as address, pytest.raises(Wrong):
        run(Echo(address, 1, "echo", size) if size == 64 else Bulk(address, 1, "echo", size))


def test_an_old_reply_is_noticed() -> None:
    first: list[bytes] = []

    def answer(data: bytes) -> bytes:
        first.append(data)
        return first[0]

    with serving(upgraded(answer)) as address, pytest.raises(Wrong, match="instead of"):
        run(Echo(address, 1, "echo", 64))


def test_bytes_after_the_last_reply_are_noticed() -> None:
    with serving(upgraded(lambda data: data + b"x")) as address, pytest.raises(Wrong):
        run(Echo(address, 1, "echo", 64))


def test_a_wrong_accept_is_noticed() -> None:
    good = b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert accept_key(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    check_switch(good + accept_key(key).encode() + b"\r\n\r\n", "websocket", key)
    with pytest.raises(Wrong, match="Sec-WebSocket-Accept"):
        check_switch(good + accept_key("other").encode() + b"\r\n\r\n", "websocket", key)


def test_a_server_that_does_not_switch_is_noticed() -> None:
    with serving(answering(GOOD)) as address, pytest.raises(Wrong, match="status 200 instead of 101"):
        open_upgraded(address, 1, "echo")


def test_a_wrong_delivery_is_noticed() -> None:
    def handle(sock: socket.socket) -> None:
        sock.recv(4096)
        accept = accept_key("AAAAAAAAAAAAAAAAAAAAAA==").encode()
        sock.sendall(SWITCH.replace(b"echo", b"websocket\r\nSec-WebSocket-Accept: " + accept))
        sock.recv(4096)
        sock.sendall(server_frame(b"else" * 16))

    with serving(handle) as address, pytest.raises(Wrong, match="else"):
        run(Broadcast(address, 1, 64))


@pytest.mark.parametrize("wrong", [b"x-field-19: the value of field number 18\r\n", b""])
def test_a_wrong_field_is_noticed(wrong: bytes) -> None:
    fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in FIELDS)
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%b\r\nhello"
    with serving(answering(response % fields)) as address:
        assert run(Requests(address, 1, exchanges.gets_with_fields())).operations >= 1
    head, _, _ = fields.rpartition(b"x-field-19")
    with serving(answering(response % (head + wrong))) as address, pytest.raises(Wrong, match="x-field-19"):
        run(Requests(address, 1, exchanges.gets_with_fields()))


@pytest.mark.parametrize("repeated", [exchanges.posts(1024), exchanges.posts(1024, chunked=True)])
def test_a_body_of_another_length_is_noticed(repeated: list[exchanges.Exchange]) -> None:
    def handle(sock: socket.socket) -> None:
        while receive_request(sock)[0]:
            sock.sendall(content(b"1024"))  # right the first time

    with serving(handle) as address, pytest.raises(Wrong, match=r"1024.* instead of .*1023"):
        run(Requests(address, 1, repeated))


def test_the_body_of_an_upgrade_that_is_not_read_is_noticed() -> None:
    wrong = SWITCH[:-2] + b"Body-Length: 0\r\n\r\n"
    with serving(answering(wrong)) as address, pytest.raises(Wrong, match="body-length 0 instead of"):
        run(Handshake(address, 1, exchanges.switches_with_body("echo", 1024)))


@pytest.mark.parametrize("chunk", [None, 1024])
def test_an_upload_that_lacks_a_byte_is_noticed(chunk: int | None) -> None:
    def handle(sock: socket.socket, lacks: int) -> None:
        while True:
            head, body = receive_request(sock)
            if not head:
                break
            assert len(body) == (MIB if chunk is None else len(chunks(block(), 1024) + LAST_CHUNK))
            sock.sendall(content(b"%d" % (MIB - lacks)))

    with serving(partial(handle, lacks=0)) as address:
        assert run(Upload(address, 1, chunk)).operations >= 1
    with serving(partial(handle, lacks=1)) as address, pytest.raises(Wrong, match=f"{MIB - 1}.*instead of"):
        run(Upload(address, 1, chunk))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DATA = block()[:3000]


@pytest.mark.parametrize("response", [HEAD + DATA, CHUNKED + chunks(DATA, 1000) + LAST_CHUNK])
@pytest.mark.parametrize("size", [1, 7, 5000])
def test_content_may_come_in_pieces(response: bytes, size: int) -> None:
    received = Content(3000)
    for start in range(0, len(response), size):
        assert not received.is_complete
        received.feed(memoryview(response)[start : start + size])
    assert received.is_complete


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (HEAD.replace(b"200", b"404"), "status 404"),
        (HEAD.replace(b"3000", b"2999"), "2999 instead of 3000"),
        (HEAD + DATA[:-1] + b"!", "a byte of the content"),
        (HEAD + DATA[1000:2000], "a byte of the content"),
        (HEAD + DATA + b"more", "after the content"),
        (CHUNKED + chunks(DATA[:-1], 1000) + LAST_CHUNK, "2999 bytes of content instead of 3000"),
        (CHUNKED + chunks(DATA, 1000) + b"1\r\nx\r\n", "more content"),
        (CHUNKED + b"5\r\n" + DATA[:6] + b"\r\n", "end of a chunk"),
        (CHUNKED + b"five\r\n", "not the size of a chunk"),
        (CHUNKED + chunks(DATA, 1000) + b"0\r\nfield: value\r\n\r\n", "end of a chunk"),
        (CHUNKED + chunks(DATA, 1000) + LAST_CHUNK + b"more", "after the content"),
        (b"x" * 40_000, "has no end"),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_wrong_content_is_noticed(response: bytes, words: str, size: int) -> None:
    received = Content(3000)
    with pytest.raises(Wrong, match=words):
        for start in range(0, len(response), size):
            received.feed(memoryview(response)[start : start + size])


def test_a_download_that_is_cut_off_is_noticed() -> None:
    response = HEAD.replace(b"3000", b"%d" % MIB) + DATA

    def handle(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(response)

    with serving(handle) as address, pytest.raises(Wrong, match="the server closed a connection"):
        run(Download(address, 1, "/download"))


def test_right_events_are_counted() -> None:
    with serving(streaming()) as address:
        assert run(EventStreams(address, 2)).operations >= 2


@pytest.mark.parametrize(
    "change",
    [
        lambda delivery: delivery.replace(b"1", b"2"),
        lambda delivery: chunks(event(0), 18),
        lambda delivery: delivery + delivery,
    ],
)
def test_a_wrong_event_is_noticed(change: Callable[[bytes], bytes]) -> None:
    with serving(streaming(change)) as address, pytest.raises(Wrong, match="instead of"):
        run(EventStreams(address, 2))


def test_a_stream_that_begins_wrong_is_noticed() -> None:
    with serving(answering(GOOD + b"\n\n\r\n")) as address, pytest.raises(Wrong, match="the beginning of a stream"):
        run(EventStreams(address, 1))


# ---- over TLS


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_a_wrong_byte_over_tls_is_noticed(size: int) -> None:
    def load(address: Address) -> Load:
        return Echo(address, 1, "echo", size) if size == 64 else Bulk(address, 1, "echo", size)

    with serving(upgraded(lambda data: data), tls=True) as address:
        assert run(load(address)).operations >= 1
    with serving(upgraded(lambda data: data[:-1] + b"!"), tls=True) as address, pytest.raises(Wrong):
        run(load(address))


def test_bytes_after_the_last_reply_over_tls_are_noticed() -> None:
    with serving(upgraded(lambda data: data + b"x"), tls=True) as address, pytest.raises(Wrong):
        run(Echo(address, 1, "echo", 64))


def test_a_message_over_tls_may_come_in_records() -> None:
    def handle(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(SWITCH)
        while data := sock.recv(64):
            for start in range(0, len(data), 10):
                sock.sendall(data[start : start + 10])

    with serving(handle, tls=True) as address:
        assert run(Echo(address, 1, "echo", 64)).operations >= 1


def test_another_servers_certificate_is_noticed() -> None:
    with serving(answering(content(BODY)), tls=True) as address:
        other = Address(address.port, ssl.create_default_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            run(Requests(other, 1, exchanges.gets()))


def test_frames_are_those_of_the_rfc() -> None:
    assert server_frame(b"Hello") == b"\x82\x05Hello"  # section 5.7
    frame = client_frame(b"Hello")
    assert frame[:2] == b"\x82\x85"
    assert apply_mask(frame[6:], frame[2:6]) == b"Hello"


def test_messages_that_follow_one_another_differ() -> None:
    assert len({message[:1] for message in payloads(64)}) > 1


# ---- servers that fail


def test_a_server_that_does_not_start_is_reported_with_what_it_said() -> None:
    with pytest.raises(Wrong, match=r"(?s)ended by itself.*No module named"), launch(["no_such_server"]):
        pass


def test_a_server_that_hangs_is_killed() -> None:
    with launch(PEERS[FLOOR].program) as server:
        (sock,) = open_upgraded(server.address, 1, "echo")
        with sock, server.killed_after(0.1):
            assert sock.recv(1) == b""


def test_there_is_one_round_when_time_is_up() -> None:
    (result,) = measure_group([WORKS["get"]], [PEERS[FLOOR]], replace(SETTINGS, rounds=9, until=0))
    assert len(result.figures) == 1


def test_a_failure_of_one_leaves_the_others() -> None:
    broken = Peer("broken", "does not start", frozenset({"http"}), ("no_such_server",))
    results = measure_group([WORKS["get"]], [broken, PEERS[FLOOR]], SETTINGS)
    assert [(result.peer, result.failure is None, len(result.figures)) for result in results] == [
        ("broken", False, 0),
        (FLOOR, True, 1),
    ]
    assert "broken            failed: the server ended" in table.table(results, OURS)
