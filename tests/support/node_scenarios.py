"""What a client sends to both servers in `tests/upgrade/test_against_node.py`, and what comes of it.

An outcome is what the client gets, in its order: the status of each response, interim ones too,
with the content of one below 400; after a 101, or the 200 of a CONNECT, the upgraded stream's bytes;
and last, who ends the connection: it is "closed" or "reset" by the server, or "open", so that it
serves one more request or echoes it, or it "stalls": neither is served nor ended.

The handlers are those of `node_handlers.py` and `node_server.js`. Content and stream are what they
saw: `/read` responds with the body, `[...]` is the body of an upgrade request, and what stands
after it is the echo of the stream. `<end>` and `<broken>` are how the stream ended for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .client import HOST, UPGRADE, chunked, get, post, upgrade

__all__ = ["EOF", "SCENARIOS", "Awaits", "Scenario", "Step"]


@dataclass(frozen=True)
class Awaits:
    """The client waits until it has got these bytes."""

    data: bytes


@dataclass(frozen=True)
class End:
    """The client ends its side."""


EOF = End()
Step: TypeAlias = bytes | Awaits | End


@dataclass(frozen=True)
class Scenario:
    """What is sent, and the outcome.

    Attributes:
      steps: what the client does, one after the other.
      outcome: here; also from Node, unless `node` says otherwise. Where it depends on the packets,
        the outcomes stand one after the other, with " | " between.
      node: the outcome from Node, where it differs.
      row: the case of the README's table of differences that says why.
      server: one of those in `node_handlers.SERVERS`.
      method: of the first request, where a response cannot be understood without it.
      cut: also in packets of one byte, and cut in two; otherwise only in one piece a step.
    """

    steps: tuple[Step, ...]
    outcome: str
    node: str
    row: str
    server: str
    method: str
    cut: bool


def case(
    *steps: Step,
    gives: str,
    node: str = "",
    row: str = "",
    server: str = "upgrading",
    method: str = "GET",
    cut: bool = True,
) -> Scenario:
    assert bool(node) == bool(row), "a difference has a reason"
    assert node != gives, "there is no difference"
    return Scenario(steps, gives, node, row, server, method, cut)


def fields(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def to(path: str, extra: bytes = b"", after: bytes = b"") -> bytes:
    """An upgrade request to `path`, and what follows its head."""
    return upgrade(extra, after, path)


def posted(path: str, extra: bytes, after: bytes = b"") -> bytes:
    """A POST to `path`, and what follows its head."""
    return get(path, extra, "POST") + after


def connect(extra: bytes = b"", after: bytes = b"", target: str = "a:1") -> bytes:
    return get(target, extra, "CONNECT") + after


LENGTH = fields(b"Content-Length: 5")
CHUNKED = fields(b"Transfer-Encoding: chunked")
EXPECT = fields(b"Expect: 100-continue")
CONTINUE = Awaits(b"HTTP/1.1 100 Continue\r\n\r\n")
SWITCHED = Awaits(b"HTTP/1.1 101 Switching Protocols\r\n")
SMUGGLED = get("/smuggled")
BIG = 200_000

# The rows of the README's table.
OLD_UPGRADE = "`Upgrade` in an HTTP/1.0 request"
NO_OFFER = "an `Upgrade` field that names no protocol"
NOT_OFFERED = "accepting a protocol that was not offered"
DECLINED = "declining in the upgrade handler"
AFTER_DECLINED = "a request after an upgrade request that is not accepted, in one packet"
STUCK_DECLINED = "what is malformed in or after an upgrade request that is not accepted"
BAD_CHUNK = "malformed chunk in an accepted request's body"
CUT_BODY = "the client ends in the middle of an accepted request's body"
BOTH = "body and stream read at once, by two tasks"
UPGRADE_EXPECT = "`Expect: 100-continue` with `Upgrade`"
IDLE_EXPECT = "`Expect: 100-continue`, and nobody reads the body, or it is on its way, or there is none"
OTHER_EXPECT = "another `Expect`"
OVERTAKEN = "an upgrade request pipelined after a request"
OVERTAKEN_ERROR = "a malformed request pipelined after a request"
HALF_READ = "a body of which the handler reads a part, and the rest is over 64 KiB"
NEVER_READ = "a body over 256 KiB that the handler does not read"
UNREAD_CHUNKS = "an unread body in chunks, whose last one has not arrived when the response begins"
SECOND_ANSWER = "a body that breaks after an early response"
HALF_CLOSED = "the client ends its side before it is answered"
NO_HANDLER = "CONNECT without a handler"
CONNECT = "CONNECT with a path for its target, or with a body"
METHODS = "a method that is not on Node's list"
VERSIONS = "HTTP/0.9, HTTP/2.0 or another protocol in the request line"
TARGETS = "`GET *`; an absolute target without a host; a fragment"
TARGET_HOST = "the Host of a request whose target is absolute"
MISDIRECTED = "an `https` target without TLS"
TWO_HOSTS = "two `Host` fields; two spaces in the request line"
BAD_HOST = "a malformed `Host`, or none with `Upgrade` or CONNECT"
BEFORE = "in front of a request: a bare LF, or more than one empty line"
FIELDS = "more than 100 fields"
CODINGS = "`Transfer-Encoding` in HTTP/1.0; codings besides `chunked`"
STATUS = "the status for another version or transfer coding, or for a request line that is too long"

UPGRADES = {
    "an upgrade": case(to("/echo"), gives="101, open"),
    "an upgrade with bytes of the new protocol after it": case(to("/echo", after=b"hello"), gives="101 hello, open"),
    "bytes of the new protocol after the 101": case(to("/echo"), SWITCHED, b"hello", gives="101 hello, open"),
    "bytes after an upgrade that look like a request": case(
        to("/echo", after=b"GET / HTTP/1.1 "), gives="101 GET / HTTP/1.1 , open"
    ),
    "a protocol whose client begins": case(to("/listen"), b"hello", gives="101 hello, open"),
    "a handler that ends the stream": case(to("/bye"), gives="101 bye, closed"),
    "a handler that ends the stream with bytes unread": case(to("/bye", after=b"hello"), gives="101 bye, closed"),
    "several protocols": case(
        get("/echo", fields(b"Connection: keep-alive, Upgrade", b"Upgrade: a/1, b")), gives="101, open"
    ),
    "names in any case": case(get("/echo", fields(b"CONNECTION: uPGRADE", b"UPGRADE: a")), gives="101, open"),
    "two Upgrade fields": case(
        get("/echo", fields(b"Connection: upgrade", b"Upgrade: a", b"Upgrade: b")), gives="101, open"
    ),
    "two Connection fields": case(
        get("/echo", fields(b"Connection: a", b"Connection: upgrade", b"Upgrade: a")), gives="101, open"
    ),
    "options with white space": case(
        get("/echo", fields(b"Connection: a,\tupgrade ,", b"Upgrade: a")), gives="101, open"
    ),
    "an upgrade that asks to close": case(
        get("/echo", fields(b"Connection: upgrade, close", b"Upgrade: a")), gives="101, open"
    ),
    "an upgrade by POST without a body": case(get("/echo", UPGRADE, "POST"), gives="101, open"),
    "an upgrade by HEAD": case(get("/echo", UPGRADE, "HEAD"), gives="101, open", method="HEAD"),
    "an upgrade of OPTIONS *": case(get("*", UPGRADE, "OPTIONS"), gives="101, open"),
    "Upgrade that Connection does not name": case(get("/a", fields(b"Upgrade: a")), gives="200 /a, open"),
    "Connection: upgrade without Upgrade": case(get("/a", fields(b"Connection: upgrade")), gives="200 /a, open"),
    "an option that only contains upgrade": case(
        get("/a", fields(b"Connection: noupgrade", b"Upgrade: a")), gives="200 /a, open"
    ),
    "an empty Upgrade": case(get("/a", fields(b"Connection: upgrade", b"Upgrade:")), gives="200 /a, open"),
    "an Upgrade of a comma": case(
        get("/a", fields(b"Connection: upgrade", b"Upgrade: ,")), gives="200 /a, open", node="101, open", row=NO_OFFER
    ),
    "an upgrade in HTTP/1.0": case(
        get("/a", UPGRADE, version="1.0"), gives="200 /a, closed", node="101, open", row=OLD_UPGRADE
    ),
    "an upgrade without Host": case(
        b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n", gives="400, closed", node="101, open", row=BAD_HOST
    ),
    "a protocol that was not offered": case(to("/other"), gives="409, open", node="101, open", row=NOT_OFFERED),
}

BODIES = {
    "a body that nobody reads": case(to("/echo", LENGTH, b"helloworld"), gives="101 world, open"),
    "a body that is read before the 101": case(to("/body", LENGTH, b"helloworld"), gives="101 [hello]world, open"),
    "a body that is read after the 101": case(
        to("/accept-body", LENGTH, b"helloworld"), gives="101 [hello]world, open"
    ),
    "a body of which a byte is read": case(to("/begun", LENGTH, b"helloworld"), gives="101 [h]world, open"),
    "a body and nothing after it": case(to("/body", LENGTH, b"hello"), gives="101 [hello], open"),
    "a body that comes after the 101": case(
        to("/accept-body", LENGTH), SWITCHED, b"hello", Awaits(b"[hello]"), b"world", gives="101 [hello]world, open"
    ),
    "a body that nobody reads and that comes after the 101": case(
        to("/echo", LENGTH), SWITCHED, b"hello", b"world", gives="101 world, open"
    ),
    "a body in front of a client that begins": case(to("/listen", LENGTH, b"helloworld"), gives="101 world, open"),
    "a body that looks like a request": case(
        to("/body", fields(b"Content-Length: 15"), b"GET / HTTP/1.1 world"), gives="101 [GET / HTTP/1.1 ]world, open"
    ),
    "a body of no bytes": case(to("/body", fields(b"Content-Length: 0"), b"world"), gives="101 []world, open"),
    "an unread body as the handler ends the stream": case(to("/bye", LENGTH, b"hello"), gives="101 bye, closed"),
    "a body that never comes as the handler ends the stream": case(to("/bye", LENGTH), gives="101 bye, closed"),
    "chunks that nobody reads": case(to("/echo", CHUNKED, chunked(b"hel", b"lo") + b"world"), gives="101 world, open"),
    "chunks that are read before the 101": case(
        to("/body", CHUNKED, chunked(b"hel", b"lo") + b"world"), gives="101 [hello]world, open"
    ),
    "chunks that are read after the 101": case(
        to("/accept-body", CHUNKED, chunked(b"hel", b"lo") + b"world"), gives="101 [hello]world, open"
    ),
    "chunks of which a byte is read": case(
        to("/begun", CHUNKED, chunked(b"hel", b"lo") + b"world"), gives="101 [h]world, open"
    ),
    "no chunk but the last": case(to("/body", CHUNKED, chunked() + b"world"), gives="101 []world, open"),
    "chunks with extensions and trailers": case(
        to("/body", CHUNKED, chunked(b"hello", extension=b';a="b;c"', trailers=b"X: y\r\n") + b"world"),
        gives="101 [hello]world, open",
    ),
    "chunk sizes with zeros and letters": case(
        to("/body", CHUNKED, b"00A\r\n0123456789\r\n000\r\n\r\nworld"), gives="101 [0123456789]world, open"
    ),
    "a large body that nobody reads": case(
        to("/echo", b"Content-Length: %d\r\n" % BIG, b"x" * BIG + b"world"), gives="101 world, open", cut=False
    ),
    "a large body of which a byte is read": case(
        to("/begun", b"Content-Length: %d\r\n" % BIG, b"x" * BIG + b"world"), gives="101 [x]world, open", cut=False
    ),
    "a large body that is read": case(
        to("/accept-body", b"Content-Length: %d\r\n" % BIG, b"x" * BIG + b"world"),
        gives=f"101 [{'x' * BIG}]world, open",
        cut=False,
    ),
    "body and stream read at once": case(
        to("/both", LENGTH),
        SWITCHED,
        b"helloworld",
        gives="101 [hello]<busy>world, open",
        node="101 world[hello], open | 101 [hello]world, open",
        row=BOTH,
        cut=False,
    ),
}

CHOICES = {
    "an upgrade that is chosen": case(to("/echo", after=b"hello"), gives="101 hello, open", server="choosing"),
    "an upgrade that is chosen on a used connection": case(
        get("/a") + to("/echo", after=b"hello"), gives="200 /a, 101 hello, open", server="choosing"
    ),
    "an upgrade that is not chosen": case(to("/a"), gives="200 /a, open", server="choosing"),
    "an upgrade that is not chosen, and then one that is": case(
        to("/a"), Awaits(b"/a"), to("/echo", after=b"hello"), gives="200 /a, 101 hello, open", server="choosing"
    ),
    "an upgrade with a body that is not chosen": case(
        to("/read", LENGTH, b"hello"), gives="200 hello, open", server="choosing"
    ),
    "an upgrade with chunks that is not chosen": case(
        to("/read", CHUNKED, chunked(b"hello")), gives="200 hello, open", server="choosing"
    ),
    "an upgrade with an unread body that is not chosen": case(
        to("/a", LENGTH, b"hello"), EOF, gives="200 /a, closed", server="choosing"
    ),
    "an upgrade that is not chosen and asks to close": case(
        get("/a", fields(b"Connection: upgrade, close", b"Upgrade: a")), gives="200 /a, closed", server="choosing"
    ),
    "an upgrade that is not chosen, from a client that has ended": case(
        to("/a"), EOF, gives="200 /a, closed", server="choosing"
    ),
    "a request right after an upgrade that is not chosen": case(
        to("/a", after=get("/b")),
        gives="200 /a, 200 /b, open",
        node="200 /a, open",
        row=AFTER_DECLINED,
        server="choosing",
        cut=False,
    ),
    "a request right after the body of an upgrade that is not chosen": case(
        to("/read", LENGTH, b"hello" + get("/b")),
        gives="200 hello, 200 /b, open",
        node="200 hello, open",
        row=AFTER_DECLINED,
        server="choosing",
        cut=False,
    ),
    "an upgrade that is chosen right after one that is not": case(
        to("/a", after=to("/echo", after=b"hello")),
        gives="200 /a, 101 hello, open",
        node="200 /a, open",
        row=AFTER_DECLINED,
        server="choosing",
        cut=False,
    ),
    "a malformed request after an upgrade that is not chosen": case(
        to("/a"),
        Awaits(b"/a"),
        b"nonsense\r\n\r\n",
        gives="200 /a, 400, closed",
        node="200 /a, stalls",
        row=STUCK_DECLINED,
        server="choosing",
    ),
    "a malformed chunk of an upgrade that is not chosen": case(
        to("/read", CHUNKED, b"x\r\nhello\r\n"),
        gives="400, closed",
        node="stalls",
        row=STUCK_DECLINED,
        server="choosing",
    ),
    "an upgrade where there is no upgrade handler": case(to("/a"), gives="200 /a, open", server="ordinary"),
    "an upgrade with a body where there is no upgrade handler": case(
        to("/read", LENGTH, b"hello"), gives="200 hello, open", server="ordinary"
    ),
    "an upgrade that is chosen while there is no upgrade handler": case(to("/a"), gives="closed", server="orphaned"),
    "an upgrade with a body that is chosen while there is no upgrade handler": case(
        to("/a", LENGTH, b"hello"), gives="closed | reset", server="orphaned"
    ),
    "an upgrade that is chosen on a used connection while there is no upgrade handler": case(
        get("/a") + to("/b"), gives="200 /a, closed", server="orphaned"
    ),
    "a request where there is no upgrade handler": case(get("/a"), gives="200 /a, open", server="orphaned"),
    "an upgrade that its handler declines": case(to("/decline"), gives="403, open", node="403, closed", row=DECLINED),
    "a request right after an upgrade that its handler declines": case(
        to("/decline", after=get("/b")), gives="403, 200 /b, open", node="403, closed", row=DECLINED
    ),
}

EXPECTATIONS = {
    "a body that waits for 100": case(
        posted("/read", EXPECT + LENGTH), CONTINUE, b"hello", gives="100, 200 hello, open"
    ),
    "chunks that wait for 100": case(
        posted("/read", EXPECT + CHUNKED), CONTINUE, chunked(b"hello"), gives="100, 200 hello, open"
    ),
    "100-continue in HTTP/1.0": case(
        get("/read", EXPECT + LENGTH, "POST", "1.0") + b"hello", gives="200 hello, closed"
    ),
    "a body that does not wait for 100": case(
        posted("/read", EXPECT + LENGTH, b"hello"),
        gives="200 hello, open | 100, 200 hello, open",
        node="100, 200 hello, open",
        row=IDLE_EXPECT,
    ),
    "100-continue without a body": case(
        get("/a", EXPECT), gives="200 /a, open", node="100, 200 /a, open", row=IDLE_EXPECT
    ),
    "a body that waits for 100 and that nobody reads": case(
        posted("/early", EXPECT + LENGTH),
        Awaits(b"/early"),
        b"hello",
        gives="200 /early, closed",
        node="100, 200 /early, open",
        row=IDLE_EXPECT,
    ),
    "another expectation": case(
        posted("/read", fields(b"Expect: tea") + LENGTH, b"hello"),
        gives="200 hello, open",
        node="417, open",
        row=OTHER_EXPECT,
    ),
    "an upgrade with a body that does not wait for 100": case(
        to("/body", EXPECT + LENGTH, b"helloworld"),
        gives="101 [hello]world, open | 100, 101 [hello]world, open",
        node="101 [hello]world, open",
        row=UPGRADE_EXPECT,
    ),
    "an upgrade with a body that waits for 100, read after the 101": case(
        to("/accept-body", EXPECT + LENGTH),
        SWITCHED,
        b"helloworld",
        gives="100, 101 [hello]world, open",
        node="101 [hello]world, open",
        row=UPGRADE_EXPECT,
    ),
    "an upgrade with a body that waits for 100 and that nobody reads": case(
        to("/echo", EXPECT + LENGTH),
        SWITCHED,
        b"helloworld",
        gives="100, 101 world, open",
        node="101 world, open",
        row=UPGRADE_EXPECT,
    ),
    "an upgrade with 100-continue without a body": case(
        to("/echo", EXPECT), gives="100, 101, open", node="101, open", row=UPGRADE_EXPECT
    ),
    "an upgrade with a body that waits for 100, declined by its handler": case(
        to("/decline", EXPECT + LENGTH), gives="403, closed"
    ),
    "an upgrade with a body that waits for 100, not chosen and read": case(
        to("/read", EXPECT + LENGTH), CONTINUE, b"hello", gives="100, 200 hello, open", server="choosing"
    ),
    "an upgrade with a body that waits for 100, not chosen and unread": case(
        to("/early", EXPECT + LENGTH),
        Awaits(b"/early"),
        EOF,
        gives="200 /early, closed",
        node="100, 200 /early, closed",
        row=IDLE_EXPECT,
        server="choosing",
    ),
}

PIPELINES = {
    "three requests": case(get("/a") + get("/b") + get("/c"), gives="200 /a, 200 /b, 200 /c, open"),
    "a slow response in front of another": case(get("/slow") + get("/b"), gives="200 slow, 200 /b, open", cut=False),
    "requests with bodies": case(
        post(b"hello", target="/read") + post(b"world", target="/read") + get("/c"),
        gives="200 hello, 200 world, 200 /c, open",
    ),
    "a request after an unread body": case(post(b"hello", target="/a") + get("/b"), gives="200 /a, 200 /b, open"),
    "a request after unread chunks": case(
        posted("/a", CHUNKED, chunked(b"hel", b"lo") + get("/b")),
        gives="200 /a, 200 /b, open | 200 /a, closed",
        node="200 /a, 200 /b, open",
        row=UNREAD_CHUNKS,
    ),
    "a request after unread chunks in one packet": case(
        posted("/a", CHUNKED, chunked(b"hel", b"lo") + get("/b")), gives="200 /a, 200 /b, open", cut=False
    ),
    "a request after a body of which a byte is read": case(
        post(b"hello", target="/begun") + get("/b"), gives="200 h, 200 /b, open"
    ),
    "a request after a large body of which a byte is read": case(
        post(b"h" * BIG, target="/begun") + get("/b"),
        gives="200 h, 200 /b, open",
        node="200 h, stalls",
        row=HALF_READ,
        cut=False,
    ),
    "a request after a large unread body": case(
        post(b"h" * BIG, target="/a") + get("/b"), gives="200 /a, 200 /b, open", cut=False
    ),
    "a request after a larger unread body": case(
        post(b"h" * 3 * BIG, target="/a") + get("/b"),
        gives="200 /a, closed",
        node="200 /a, 200 /b, open",
        row=NEVER_READ,
        cut=False,
    ),
    "an upgrade after a request": case(get("/a") + to("/echo", after=b"hello"), gives="200 /a, 101 hello, open"),
    "an upgrade with a body after a request": case(
        get("/a") + to("/body", LENGTH, b"helloworld"), gives="200 /a, 101 [hello]world, open"
    ),
    "an upgrade after an unread body": case(
        post(b"hello", target="/a") + to("/echo", after=b"hello"), gives="200 /a, 101 hello, open"
    ),
    "an upgrade after a slow response": case(
        get("/slow") + to("/bye"),
        gives="200 slow, 101 bye, closed",
        node="101 bye, closed",
        row=OVERTAKEN,
        cut=False,
    ),
    "a request after a response that closes": case(get("/close") + get("/b"), gives="200 close, closed"),
    "a request after one that asks to close": case(
        get("/a", fields(b"Connection: close")) + get("/b"), gives="200 /a, closed"
    ),
    "a request after one in HTTP/1.0": case(get("/a", version="1.0") + get("/b"), gives="200 /a, closed"),
    "a malformed request after a request": case(
        get("/a"), Awaits(b"/a"), b"nonsense\r\n\r\n" + SMUGGLED, gives="200 /a, 400, closed"
    ),
    "a malformed request right after a request": case(
        get("/a") + b"nonsense\r\n\r\n" + SMUGGLED,
        gives="200 /a, 400, closed",
        node="200 /a, closed",
        row=OVERTAKEN_ERROR,
        cut=False,
    ),
    "a malformed request after a slow response": case(
        get("/slow") + b"nonsense\r\n\r\n" + SMUGGLED,
        gives="200 slow, 400, closed",
        node="400, closed",
        row=OVERTAKEN_ERROR,
        cut=False,
    ),
    "an empty line in front of a request": case(b"\r\n" + get("/a"), gives="200 /a, open"),
    "an empty line after a body": case(
        post(b"hello", target="/read") + b"\r\n" + get("/b"), gives="200 hello, 200 /b, open"
    ),
    "two empty lines in front of a request": case(
        b"\r\n\r\n" + get("/a"), gives="400, closed", node="200 /a, open", row=BEFORE
    ),
}

HALF_CLOSES = {
    "a client that ends at once": case(EOF, gives="closed"),
    "a client that ends after an empty line": case(b"\r\n", EOF, gives="closed"),
    "a client that ends in a request line": case(b"GET /a HTT", EOF, gives="400, closed"),
    "a client that ends in a second head": case(
        get("/a") + b"GET /b HTTP/1.1\r\nHost", EOF, gives="200 /a, 400, closed"
    ),
    "a client that ends after its request": case(get("/a"), EOF, gives="200 /a, closed"),
    "a client that ends after a body": case(post(b"hello", target="/read"), EOF, gives="200 hello, closed"),
    "a client that ends while its request is handled": case(
        get("/slow"), EOF, gives="200 slow, closed", node="closed", row=HALF_CLOSED, cut=False
    ),
    "a client that ends while its first request is handled": case(
        get("/slow") + get("/b"), EOF, gives="200 slow, 200 /b, closed", node="closed", row=HALF_CLOSED, cut=False
    ),
    "a client that ends in a body": case(posted("/read", LENGTH, b"hel"), EOF, gives="400, closed"),
    "a client that ends in a chunk": case(posted("/read", CHUNKED, b"3\r\nhel"), EOF, gives="400, closed"),
    "a client that ends in a body that nobody reads": case(
        posted("/a", LENGTH, b"hel"), EOF, gives="200 /a, closed", node="200 /a, 400, closed", row=SECOND_ANSWER
    ),
    "a client that ends after its upgrade": case(to("/echo"), EOF, gives="101 <end>, closed"),
    "a client that ends its stream": case(to("/echo", after=b"hello"), EOF, gives="101 hello<end>, closed"),
    "a client that ends its stream later": case(
        to("/echo", after=b"hello"), Awaits(b"hello"), EOF, gives="101 hello<end>, closed"
    ),
    "a client that ends its stream after a body": case(
        to("/body", LENGTH, b"helloworld"), EOF, gives="101 [hello]world<end>, closed"
    ),
    "a client that ends its stream after a body that nobody reads": case(
        to("/echo", LENGTH, b"helloworld"), EOF, gives="101 world<end>, closed"
    ),
    "a client that ends before it is accepted": case(to("/listen"), EOF, gives="101 <end>, closed"),
    "a client that ends in the body of its upgrade, before the 101": case(
        to("/body", LENGTH, b"hel"), EOF, gives="400, closed", node="closed", row=CUT_BODY
    ),
    "a client that ends in the body of its upgrade": case(
        to("/accept-body", LENGTH, b"hel"), EOF, gives="101 <broken>, closed", node="101, closed", row=CUT_BODY
    ),
    "a client that ends in a chunk of its upgrade": case(
        to("/accept-body", CHUNKED, b"3\r\nhel"), EOF, gives="101 <broken>, closed", node="101, closed", row=CUT_BODY
    ),
    "a client that ends in the body of its upgrade that nobody reads": case(
        to("/echo", LENGTH, b"hel"), EOF, gives="101 <broken>, closed", node="101, closed", row=CUT_BODY
    ),
    "a client that ends its side of a tunnel": case(
        connect(after=b"hello"), EOF, gives="200 hello<end>, closed", method="CONNECT"
    ),
}

ORDINARY = {
    "HTTP/1.0": case(get("/a", version="1.0"), gives="200 /a, closed"),
    "HTTP/1.0 without Host": case(b"GET /a HTTP/1.0\r\n\r\n", gives="200 /a, closed"),
    "HTTP/1.0 with keep-alive": case(
        get("/a", fields(b"Connection: keep-alive"), version="1.0"), gives="200 /a, closed"
    ),
    "HTTP/1.0 with a body": case(get("/read", LENGTH, "POST", "1.0") + b"hello", gives="200 hello, closed"),
    "HTTP/1.0 and streamed content": case(get("/stream", version="1.0"), gives="200 one two, closed"),
    "HTTP/1.1 and streamed content": case(get("/stream"), gives="200 one two, open"),
    "a request that asks to close": case(get("/a", fields(b"Connection: close")), gives="200 /a, closed"),
    "a request that asks to close, in a list": case(get("/a", fields(b"Connection: x, Close")), gives="200 /a, closed"),
    "a request that asks to keep alive": case(get("/a", fields(b"Connection: keep-alive")), gives="200 /a, open"),
    "a response that closes": case(get("/close"), gives="200 close, closed"),
    "HEAD": case(get("/a", method="HEAD") + get("/b"), gives="200, 200 /b, open", method="HEAD"),
    "HEAD of streamed content": case(
        get("/stream", method="HEAD") + get("/b"), gives="200, 200 /b, open", method="HEAD"
    ),
    "OPTIONS *": case(get("*", method="OPTIONS"), gives="200 *, open"),
    "an absolute target": case(get("http://test/a"), gives="200 http://test/a for test, open"),
    "an absolute target of another host": case(
        get("http://other:80/a"),
        gives="200 http://other:80/a for other:80, open",
        node="200 http://other:80/a for test, open",
        row=TARGET_HOST,
    ),
    "GET with a body": case(get("/read", LENGTH) + b"hello", gives="200 hello, open"),
    "chunked in any case": case(
        posted("/read", fields(b"transfer-encoding: Chunked"), chunked(b"hello")), gives="200 hello, open"
    ),
    "Content-Length with zeros in front": case(
        posted("/read", fields(b"Content-Length: 005"), b"hello"), gives="200 hello, open"
    ),
    "an empty Host": case(b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", gives="200 /a, open"),
    "a value that is not ASCII": case(get("/a", b"X: \x80\xff\r\n"), gives="200 /a, open"),
    "a method that Node knows": case(get("/a", method="PROPFIND"), gives="200 /a, open"),
    "a method that Node does not know": case(
        get("/a", method="BREW"), gives="200 /a, open", node="400, closed", row=METHODS
    ),
    "a method in lower case": case(get("/a", method="get"), gives="200 /a, open", node="400, closed", row=METHODS),
    "PRI with Upgrade": case(get("/a", UPGRADE, method="PRI"), gives="101, open", node="400, closed", row=METHODS),
}

TUNNELS = {
    "CONNECT": case(connect(), gives="200, open", method="CONNECT"),
    "CONNECT with bytes after it": case(connect(after=b"hello"), gives="200 hello, open", method="CONNECT"),
    "CONNECT, then bytes": case(connect(), Awaits(b"\r\n\r\n"), b"hello", gives="200 hello, open", method="CONNECT"),
    "CONNECT with Upgrade": case(connect(UPGRADE, b"hello"), gives="200 hello, open", method="CONNECT"),
    "CONNECT to an IPv6 address": case(connect(target="[::1]:1"), gives="200, open", method="CONNECT"),
    "CONNECT that is declined": case(connect(target="declined:1"), gives="403, closed", method="CONNECT"),
    "CONNECT without a handler": case(
        connect(), gives="405, closed", node="closed", row=NO_HANDLER, server="ordinary", method="CONNECT"
    ),
    "CONNECT without Host": case(
        b"CONNECT a:1 HTTP/1.1\r\n\r\n", gives="400, closed", node="200, open", row=BAD_HOST, method="CONNECT"
    ),
    "CONNECT in HTTP/1.0": case(
        get("a:1", method="CONNECT", version="1.0"),
        gives="200, open",
        method="CONNECT",
    ),
    "CONNECT in HTTP/1.0 with bytes after it": case(
        get("a:1", method="CONNECT", version="1.0") + b"hello", gives="200 hello, open", method="CONNECT"
    ),
    "CONNECT to a path": case(
        connect(target="/a"), gives="400, closed", node="200, open", row=CONNECT, method="CONNECT"
    ),
    "CONNECT with Content-Length": case(
        connect(LENGTH, b"hello"), gives="400, closed", node="200 hello, open", row=CONNECT, method="CONNECT"
    ),
    "CONNECT with Transfer-Encoding": case(
        connect(CHUNKED, b"5;hello"), gives="400, closed", node="200 5;hello, open", row=CONNECT, method="CONNECT"
    ),
}

# Both refuse these, and what is after them is no request.
REFUSED_HEADS = {
    "no request line": b"nonsense\r\n\r\n",
    "no target": b"GET\r\n\r\n",
    "a tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is not ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method that is no token": b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a version without a minor part": b"GET / HTTP/3\r\nHost: a\r\n\r\n",
    "a version of three digits": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "http in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a space first": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "a nameless field": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "a name that is no token": b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: x\r\n\r\n",
    "a control character in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b\r\n\r\n",
    "DEL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "a bare CR in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "bare LFs": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare LF for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "a fold at the start": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "Content-Length twice, agreeing": posted("/read", LENGTH + LENGTH, b"hello"),
    "Content-Length twice, differing": posted("/read", LENGTH + fields(b"Content-Length: 6"), b"hello"),
    "Content-Length as a list": posted("/read", fields(b"Content-Length: 5, 5"), b"hello"),
    "Content-Length with a sign": posted("/read", fields(b"Content-Length: +5"), b"hello"),
    "Content-Length below zero": posted("/read", fields(b"Content-Length: -5"), b"hello"),
    "Content-Length in hexadecimal": posted("/read", fields(b"Content-Length: 0x5"), b"hello"),
    "Content-Length with a space in it": posted("/read", fields(b"Content-Length: 5 5"), b"hello"),
    "an empty Content-Length": posted("/read", fields(b"Content-Length:"), b"hello"),
    "an endless Content-Length": posted("/read", fields(b"Content-Length: " + b"9" * 30), b"hello"),
    "Content-Length, then Transfer-Encoding": posted("/read", LENGTH + CHUNKED, chunked()),
    "Transfer-Encoding, then Content-Length": posted("/read", CHUNKED + LENGTH, chunked()),
    "Content-Length and Transfer-Encoding of an upgrade": to("/body", LENGTH + CHUNKED, chunked()),
    "Content-Length of an upgrade that is no number": to("/body", fields(b"Content-Length: x"), b"hello"),
}

# One refuses these; here, the status is 400 unless it is said.
OTHER_HEADS: dict[str, tuple[bytes, str, str, str]] = {
    "HTTP/0.9": (b"GET /a\r\n\r\n", "400", "200 /a, closed", VERSIONS),
    "HTTP/0.9 by name": (b"GET /a HTTP/0.9\r\nHost: a\r\n\r\n", "505", "200 /a, closed", VERSIONS),
    "HTTP/2.0": (b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n", "505", "200 /a, closed", VERSIONS),
    "RTSP": (b"GET /a RTSP/1.1\r\nHost: a\r\n\r\n", "400", "200 /a, open", VERSIONS),
    "HTTP/1.2": (b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n", "505", "400, closed", STATUS),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "400, closed", STATUS),
    "two spaces before the target": (b"GET  /a HTTP/1.1\r\nHost: a\r\n\r\n", "400", "200 /a, open", TWO_HOSTS),
    "two spaces before the version": (b"GET /a  HTTP/1.1\r\nHost: a\r\n\r\n", "400", "200 /a, open", TWO_HOSTS),
    "two Hosts": (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400", "200 /a, open", TWO_HOSTS),
    "two Hosts of an upgrade": (to("/echo", HOST), "400", "101, open", TWO_HOSTS),
    "a Host with a path": (b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", "200 /a, open", BAD_HOST),
    "a Host of two": (b"GET /a HTTP/1.1\r\nHost: a,b\r\n\r\n", "400", "200 /a, open", BAD_HOST),
    "a Host with brackets around no address": (
        b"GET /a HTTP/1.1\r\nHost: [::::]\r\n\r\n",
        "400",
        "200 /a, open",
        BAD_HOST,
    ),
    "a Host with a user": (b"GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n", "400", "200 /a, open", BAD_HOST),
    "a Host with a space": (b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", "400", "200 /a, open", BAD_HOST),
    "GET *": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400", "200 *, open", TARGETS),
    "a target without a host": (
        b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
        "200 http:///a for a, open",
        TARGETS,
    ),
    "a fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400", "200 /a#b, open", TARGETS),
    "an https target": (
        b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "421",
        "200 https://a/ for a, open",
        MISDIRECTED,
    ),
    "a bare LF first": (b"\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", "400", "200 /a, open", BEFORE),
    "101 fields": (get("/a", b"X: y\r\n" * 100), "431", "200 /a, open", FIELDS),
    "Transfer-Encoding in HTTP/1.0": (
        get("/read", CHUNKED, "POST", "1.0") + chunked(b"hello"),
        "400",
        "200 hello, closed",
        CODINGS,
    ),
    "a coding in front of chunked": (
        posted("/read", fields(b"Transfer-Encoding: gzip, chunked"), chunked(b"hello")),
        "501",
        "200 hello, open",
        CODINGS,
    ),
}
UNENDED_CODINGS = {
    "another coding": fields(b"Transfer-Encoding: gzip"),
    "identity": fields(b"Transfer-Encoding: identity"),
    "a coding after chunked": fields(b"Transfer-Encoding: chunked, identity"),
    "a coding that ends like chunked": fields(b"Transfer-Encoding: xchunked"),
    "an empty Transfer-Encoding": fields(b"Transfer-Encoding:"),
}
OTHER_CODINGS = {
    "chunked twice": fields(b"Transfer-Encoding: chunked, chunked"),
    "Transfer-Encoding twice": CHUNKED + CHUNKED,
}

MALFORMED_CHUNKS = {
    "a size that is no number": b"x\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size below zero": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "an endless size": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a space in front of the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space in front of an extension": b"5 ;a\r\nhello\r\n0\r\n\r\n",
    "a bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "a control character in an extension": b"5;\x01\r\nhello\r\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhelloX\r\n0\r\n\r\n",
    "a bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "a bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a space in front of a trailer's colon": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "a bare LF after a trailer": b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    "a space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "an empty extension": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension that is no token": b"5;a(b\r\nhello\r\n0\r\n\r\n",
    "Content-Length as a trailer": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "Transfer-Encoding as a trailer": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


def malformed() -> Iterator[tuple[str, Scenario]]:
    """Malformed heads, and malformed chunks in each kind of request."""
    for name, data in REFUSED_HEADS.items():
        yield name, case(data + SMUGGLED, gives="400, closed")
    for name, (data, status, node, row) in OTHER_HEADS.items():
        yield name, case(data, gives=f"{status}, closed", node=node, row=row)
    for name, codings in UNENDED_CODINGS.items():
        yield name, case(posted("/read", codings, chunked(b"hello")), gives="400, closed")
    for name, codings in OTHER_CODINGS.items():
        data = posted("/read", codings, chunked(b"hello"))
        yield name, case(data, gives="501, closed", node="400, closed", row=STATUS)
    yield "a head that is too large", case(get("/", b"X: " + b"x" * 17_000 + b"\r\n"), gives="431, closed", cut=False)
    yield (
        "a line without an end",
        case(b"GET /" + b"x" * 17_000, gives="414, closed", node="431, closed", row=STATUS, cut=False),
    )

    for name, data in MALFORMED_CHUNKS.items():
        after = data + SMUGGLED
        yield f"{name}, in a body", case(posted("/read", CHUNKED, after), gives="400, closed")
        yield (
            f"{name}, in an unread body",
            case(
                posted("/early", CHUNKED),
                Awaits(b"/early"),
                after,
                gives="200 /early, closed",
                node="200 /early, 400, closed",
                row=SECOND_ANSWER,
            ),
        )
        yield (
            f"{name}, in an upgrade",
            case(to("/echo", CHUNKED, after), gives="101 <broken>, closed", node="101, stalls", row=BAD_CHUNK),
        )
    for path, ours, node in [
        ("/body", "400, closed", "stalls"),
        ("/accept-body", "101 <broken>, closed", "101, stalls"),
    ]:
        data = to(path, CHUNKED, b"x\r\nhello\r\n0\r\n\r\n")
        yield f"a size that is no number, in an upgrade to {path}", case(data, gives=ours, node=node, row=BAD_CHUNK)


SCENARIOS: dict[str, Scenario] = {
    **UPGRADES,
    **BODIES,
    **CHOICES,
    **EXPECTATIONS,
    **PIPELINES,
    **HALF_CLOSES,
    **ORDINARY,
    **TUNNELS,
    **dict(malformed()),
}
