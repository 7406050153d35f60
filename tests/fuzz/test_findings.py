"""What fuzzing starts from, and what it has found, holds; so do conversations of any shape."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ..support.client import chunked, get, upgrade
from .targets import TARGETS, http_server, pieces, run

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_the_packets_make_no_difference(file: Path) -> None:
    data = file.read_bytes()
    for size in range(data[0] % 2 or 2, 16, 2):  # odd or even as the first byte is, which means something
        TARGETS[file.parent.name](bytes([size]) + data[1:])


class Conversation(RuleBasedStateMachine):
    """A client's side of a connection, in any order, and beside it what must come of it.

    The model: each request is seen once, whole and in order, and answered in order; nothing is seen
    after the one that ends the connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.segments = [b""]
        self.sizes = [1]
        self.seen: list[tuple[object, ...]] = []
        self.statuses: list[int] = []
        self.open = True  # further requests are taken
        self.upgraded = False  # what comes goes to the stream
        self.blank = False

    @initialize(sizes=st.lists(st.integers(1, 60) | st.just(1000), min_size=1, max_size=5))
    def cut(self, sizes: list[int]) -> None:
        self.sizes = sizes

    @rule()
    def pause(self) -> None:
        """Until the server has done what it can."""
        self.segments.append(b"")

    def send(self, data: bytes) -> None:
        self.segments[-1] += data

    @property
    def packets(self) -> list[bytes]:
        """The segments, in packets of these sizes, over and over."""
        packets = []
        sizes = itertools.cycle(self.sizes)
        for segment in self.segments:
            while segment:
                size = next(sizes)
                packets.append(segment[:size])
                segment = segment[size:]
        return packets

    bodies = st.binary(max_size=150)

    def framed(self, body: bytes, chunk: int) -> tuple[bytes, bytes]:
        """The fields and the coding of a body: with a length, or in chunks of a size."""
        if chunk == 0:
            return b"Content-Length: %d\r\n" % len(body), body
        return b"Transfer-Encoding: chunked\r\n", chunked(*pieces(body, chunk))

    @precondition(lambda self: not self.upgraded)
    @rule(
        path=st.sampled_from(["/read", "/unread"]),
        body=bodies,
        chunk=st.integers(0, 70),
        last=st.integers(0, 9).map(lambda drawn: drawn == 0),
    )
    def request(self, path: str, body: bytes, chunk: int, last: bool) -> None:
        fields, coded = self.framed(body, chunk)
        # Whether a connection is kept after chunks that nobody reads depends on the packets.
        last = last or (path == "/unread" and chunk > 0)
        fields += b"Connection: close\r\n" if last else b""
        self.send(get(path, fields, "POST") + coded)
        if self.open:
            self.seen.append(("POST", path, (), *([body] if path == "/read" else [])))
            self.statuses.append(200)
            self.open = not last

    @precondition(lambda self: not self.upgraded and not self.blank)
    @rule()
    def blank_line(self) -> None:
        """One is ignored in front of a request (RFC 9112 section 2.2)."""
        self.blank = True
        self.send(b"\r\n")

    @precondition(lambda self: not self.upgraded)
    @rule(body=bodies, chunk=st.integers(0, 70), read=st.booleans())
    def upgrade(self, body: bytes, chunk: int, read: bool) -> None:
        path = "/body" if read else "/up"
        fields, coded = self.framed(body, chunk)
        self.send(upgrade(fields, coded, path))
        self.upgraded = True
        self.stream = b""
        if self.open:
            self.statuses.append(101)
            self.ends_with = ("GET", path, ("echo",), body if read else b"")

    @precondition(lambda self: not self.upgraded)
    @rule()
    def decline(self) -> None:
        self.send(upgrade(target="/decline"))
        if self.open:
            self.seen.append(("GET", "/decline", ("echo",), "declined"))
            self.statuses.append(403)

    @precondition(lambda self: self.upgraded)
    @rule(data=st.binary(max_size=100))
    def data(self, data: bytes) -> None:
        self.send(data)
        self.stream += data

    @precondition(lambda self: not self.upgraded and self.open)
    @rule(garbage=st.sampled_from([b"\0", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x: y\n\n"]))
    def garbage(self, garbage: bytes) -> None:
        self.send(garbage)
        self.statuses.append(0)
        self.open = False

    def teardown(self) -> None:
        outcome = run(http_server, self.packets)
        expected = list(self.seen)
        if self.upgraded and self.open:
            expected.append((*self.ends_with, self.stream))
        assert outcome.seen == expected
        assert [int(status or 0) for status in STATUS.findall(outcome.sent)] == self.statuses


STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) |refused")
TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=12, deadline=None, derandomize=True)
