"""What must hold for the bytes of one connection, whatever they are.

Nothing fails inside the server, every connection ends, and what comes of the bytes does not depend
on the packets in which they arrive.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import h11
import trio
import trio.testing

from trio_upgrade import Limits, ProtocolError, Request, Response, Server, websocket
from trio_upgrade._exceptions import Malformed
from trio_upgrade._request_framing import framing_of
from trio_upgrade._request_head import Head, read_any, read_head, read_plain

from ..support.websocket_client import OFFER, handshake
from .tls import tls

__all__ = [
    "LIMITS",
    "TARGETS",
    "Decoded",
    "Outcome",
    "bodies",
    "heads",
    "http",
    "http_server",
    "pieces",
    "run",
    "websockets",
]

LIMITS = Limits(max_header_size=300, max_headers=12, max_body_size=1000, max_drain=1000)
DATE = re.compile(rb"\r\nDate: [^\r]*")
VIOLATIONS = (1002, 1003, 1007, 1009)
# Of two mistakes, either may be met first: a refusing response, or a close frame with a code of those.
REFUSAL = re.compile(rb"(?:HTTP/1\.1 (?:400|413|414|421|431|501|505) |\x88.\x03[\xea\xeb\xef\xf1]).*\Z", re.DOTALL)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass
class Outcome:
    """What came of a connection: what handlers saw, and what the client got."""

    seen: list[tuple[object, ...]] = field(default_factory=list)
    sent: bytes = b""


class Errors(logging.Handler):
    """Turns an error in the server's log into a failure."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


async def converse(server: Server, parts: Iterable[bytes], outcome: Outcome) -> None:
    """Send the parts, each when the server has done what it can with the last; end; read to the end."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def receive() -> None:
        received = bytearray()
        async for data in ours:
            received += data
        outcome.sent = REFUSAL.sub(b"refused", DATE.sub(b"", bytes(received)).replace(CONTINUE, b""))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        nursery.start_soon(receive)
        for part in parts:
            await ours.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        await ours.send_eof()


def run(make: Callable[[Outcome], Server], parts: list[bytes]) -> Outcome:
    """Run one connection in a Trio of its own, in which no time passes."""
    outcome = Outcome()
    errors = Errors()
    logger = logging.getLogger("trio_upgrade")
    logger.addHandler(errors)
    try:
        trio.run(partial(converse, make(outcome), parts, outcome), clock=trio.testing.MockClock())
    except* ProtocolError:
        pass  # of the handler's, passed on by serve_stream
    except* websocket.ConnectionClosed:
        pass
    except* trio.BrokenResourceError:
        pass
    finally:
        logger.removeHandler(errors)
    assert not errors.messages, errors.messages
    return outcome


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def check(make: Callable[[Outcome], Server], data: bytes, first: bytes = b"") -> Outcome:
    """`data`, without its first byte, arrives whole, and in packets of a size that the first byte says."""
    size, data = max(1, data[0]) if data else 1, data[1:]
    whole = run(make, [first + data])
    cut = run(make, [first, *pieces(data, size)] if first else pieces(data, size))
    # Whether a client still waits for a 100 does depend on what has arrived.
    assert whole == cut or b"expect" in data.lower(), (data, whole, cut)
    return whole


def heads(data: bytes) -> None:
    """A head: what is read the short way is what h11 reads."""
    plain = read_plain(data, LIMITS.max_headers)
    if plain is not None:
        thorough = read_any(data, LIMITS.max_headers)
        assert plain[:3] == thorough[:3], data
        assert plain.headers.raw == thorough.headers.raw, data
        assert plain[4:] == thorough[4:], data  # how the body is framed, and whether the client waits


@dataclass
class Decoded:
    """What a decoder makes of a body and what follows it."""

    content: bytes = b""
    ended: bool = False
    refused: bool = False
    rest: bytes = b""  # what follows a body that has ended


def by_h11(head: bytes, wire: bytes) -> Decoded:
    decoded = Decoded()
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    parser.receive_data(head + wire)
    try:
        while (event := parser.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                decoded.content += event.data
            elif isinstance(event, h11.EndOfMessage):
                decoded.ended, decoded.rest = True, parser.trailing_data[0]
                break
    except h11.RemoteProtocolError:
        decoded.refused = True
    return decoded


def by_us(head: Head, packets: Iterable[bytes], max_bytes: int) -> Decoded:
    decoded = Decoded()
    framing = framing_of(head, LIMITS.max_header_size, LIMITS.max_headers)
    buffer = bytearray()
    try:
        for packet in packets:
            arrived: bytes | bytearray = packet
            if buffer:
                buffer += packet
                arrived = buffer
            else:
                buffer += packet
            while not framing.has_ended:
                content, used = framing.decode(arrived, max_bytes)
                assert len(content) <= min(max_bytes, used)
                decoded.content += content
                del buffer[:used]
                arrived = buffer
                if not content:
                    break
    except Malformed:
        decoded.refused = True
    else:
        decoded.ended = framing.has_ended
        decoded.rest = bytes(buffer) if decoded.ended else b""
    return decoded


def bodies(data: bytes, packets: list[bytes], max_bytes: int = 2**16) -> Decoded | None:
    """What follows a head, in packets: what is taken of it is what h11 takes. None if there is no body."""
    try:
        head = read_head(data, LIMITS.max_headers)
    except Malformed:
        return None
    if not head.length and not head.chunked:
        return None
    wire = b"".join(packets)
    ours, theirs = by_us(head, packets, max_bytes), by_h11(data, wire)
    if ours.refused:  # as much as we are strict
        assert theirs.content.startswith(ours.content), (data, packets)
    else:
        assert ours == theirs, (data, packets)
    assert ours == by_us(head, [wire], 2**16), (data, packets)  # the packets make no difference
    return ours


def http(data: bytes) -> Outcome:
    """A connection of requests, upgrades and CONNECTs."""
    size = max(1, data[0]) if data else 1
    parts = data[1:].split(b"\r\n\r\n")
    ends = accumulate(len(part) + 4 for part in parts)
    for part, end in zip(parts, ends, strict=True):
        head = part + b"\r\n\r\n"
        heads(head)
        bodies(head, pieces(data[1 + end :], size), size)
    return check(partial(http_server), data)


def http_server(outcome: Outcome) -> Server:
    def see(request: Request, *more: object) -> None:
        outcome.seen.append((request.method, request.target, request.upgrade, *more))

    async def on_request(request: Request) -> Response:
        if request.path == "/unread":
            see(request)
        else:
            see(request, await read(request.body))
        return Response(200, "okay")

    async def on_upgrade(request: Request, stream: trio.abc.Stream) -> Response | None:
        if request.path == "/decline":
            see(request, "declined")
            return Response(403)
        body = await read(request.body) if request.path == "/body" else b""
        await request.accept()
        see(request, body, await read(stream))
        return None

    return Server(on_request, on_upgrade=on_upgrade, on_connect=on_upgrade, limits=LIMITS)


async def read(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    async for data in stream:
        received += data
    return bytes(received)


def websockets(data: bytes) -> Outcome:
    """The frames of a WebSocket; an even first byte means with compression."""
    compression = "deflate-takeover" if data[:1] and data[0] % 2 == 0 else None
    return check(partial(websocket_server, compression), data, handshake(OFFER))


def websocket_server(compression: Any, outcome: Outcome) -> Server:
    async def chat(ws: websocket.WebSocket[str | bytes]) -> None:
        try:
            async for message in ws:
                outcome.seen.append((message,))
                await ws.send(message)
        finally:
            outcome.seen.append(("refused",) if ws.close_code in VIOLATIONS else (ws.close_code, ws.close_reason))

    return Server(on_upgrade=websocket.handler(chat, compression=compression, max_message_size=500))


TARGETS: dict[str, Callable[[bytes], object]] = {"http": http, "tls": tls, "websocket": websockets}
