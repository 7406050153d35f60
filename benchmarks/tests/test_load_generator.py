"""The load generator notices what a server does wrong, and reports a server that fails."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from websockets.utils import accept_key, apply_mask

from benchmarks.speed import table
from benchmarks.speed.connections import open_upgraded
from benchmarks.speed.loads import Broadcast, Bulk, Echo, Get, Handshake, Load, measure
from benchmarks.speed.meter import Meter, Sample
from benchmarks.speed.peers import FLOOR, OURS, PEERS, Peer
from benchmarks.speed.process import launch
from benchmarks.speed.rounds import Settings, measure_group
from benchmarks.speed.wire import Wrong, check_switch, client_frame, payloads, server_frame
from benchmarks.speed.works import WORKS

pytestmark = pytest.mark.once

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SETTINGS = Settings(rounds=1, seconds=0.05, quick=True, descriptors=4096, processor=None)


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that runs `handle` with each connection, in a thread; gives its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
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


def run(load: Load) -> Sample:
    return measure(load, Meter(lambda: 0.0), 0.02)


# ---- what is right


def test_right_answers_are_counted() -> None:
    with serving(answering(GOOD)) as port:
        assert run(Get(port, 2)).operations >= 2
    with serving(upgraded(lambda data: data)) as port:
        assert run(Echo(port, 2, "echo", 64)).operations >= 2
        assert run(Bulk(port, 2, "echo", 1 << 20)).operations >= 2
        assert run(Handshake(port, 2, "echo")).operations >= 2


def test_a_response_may_come_in_pieces() -> None:
    def handle(sock: socket.socket) -> None:
        while sock.recv(4096):
            for piece in (GOOD[:10], GOOD[10:40], GOOD[40:]):
                sock.sendall(piece)

    with serving(handle) as port:
        assert run(Get(port, 1)).operations >= 1


@pytest.mark.parametrize("peer", [OURS, FLOOR])
def test_a_real_server_is_measured(peer: str) -> None:
    with launch(PEERS[peer].program) as server:
        result = measure(Echo(server.port, 4, "echo", 64), Meter(server.clock), 0.1)
        assert server.resident() > 2**20
    assert result.rate > 0
    assert 0 < result.server_busy < 1.5


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
    with serving(answering(response)) as port, pytest.raises(Wrong, match=words):
        run(Get(port, 1))


def test_a_later_response_is_checked_like_the_first() -> None:
    def handle(sock: socket.socket) -> None:
        for response in (GOOD, GOOD, GOOD.replace(b"hello", b"jello")):
            sock.recv(4096)
            sock.sendall(response)

    with serving(handle) as port, pytest.raises(Wrong, match="jello"):
        run(Get(port, 1))


def test_a_connection_that_ends_is_noticed() -> None:
    with serving(lambda sock: sock.recv(4096)) as port, pytest.raises((Wrong, OSError)):
        run(Get(port, 1))


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_a_wrong_byte_is_noticed(size: int) -> None:
    with serving(upgraded(lambda data: data[:-1] + b"!")) as port, pytest.raises(Wrong):
        run(Echo(port, 1, "echo", size) if size == 64 else Bulk(port, 1, "echo", size))


def test_an_old_reply_is_noticed() -> None:
    first: list[bytes] = []

    def answer(data: bytes) -> bytes:
        first.append(data)
        return first[0]

    with serving(upgraded(answer)) as port, pytest.raises(Wrong, match="instead of"):
        run(Echo(port, 1, "echo", 64))


def test_bytes_after_the_last_reply_are_noticed() -> None:
    with serving(upgraded(lambda data: data + b"x")) as port, pytest.raises(Wrong):
        run(Echo(port, 1, "echo", 64))


def test_a_wrong_accept_is_noticed() -> None:
    good = b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert accept_key(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    check_switch(good + accept_key(key).encode() + b"\r\n\r\n", "websocket", key)
    with pytest.raises(Wrong, match="Sec-WebSocket-Accept"):
        check_switch(good + accept_key("other").encode() + b"\r\n\r\n", "websocket", key)


def test_a_server_that_does_not_switch_is_noticed() -> None:
    with serving(answering(GOOD)) as port, pytest.raises(Wrong, match="status 200 instead of 101"):
        open_upgraded(port, 1, "echo")


def test_a_wrong_delivery_is_noticed() -> None:
    def handle(sock: socket.socket) -> None:
        sock.recv(4096)
        accept = accept_key("AAAAAAAAAAAAAAAAAAAAAA==").encode()
        sock.sendall(SWITCH.replace(b"echo", b"websocket\r\nSec-WebSocket-Accept: " + accept))
        sock.recv(4096)
        sock.sendall(server_frame(b"else" * 16))

    with serving(handle) as port, pytest.raises(Wrong, match="else"):
        run(Broadcast(port, 1, 64))


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
        (sock,) = open_upgraded(server.port, 1, "echo")
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
