"""Text is UTF-8, and what is not fails as early as that can be known: RFC 6455 section 8.1."""

from __future__ import annotations

import pytest
import trio.testing

from trio_upgrade.websocket import WebSocket

from ..support.client import Connect, cuts
from ..support.websocket_client import (
    BINARY,
    CONTINUATION,
    OFFER,
    PING,
    PONG,
    TEXT,
    Frame,
    Recorder,
    check_failure,
    close,
    echo,
    frame,
    open_peer,
    text,
)

VALID = [
    "",
    "hello",
    "κόσμε",
    "\0",
    "\x7f\x80",
    "\u07ff\u0800",
    "\ud7ff\ue000",  # around the surrogates
    "\ufffd\ufffe\uffff",
    "\U00010000\U0010ffff",
    "\ufeffmark",
    "🦄" * 100,
]

# The last byte of each is the first at which it is known to be invalid (the table of RFC 3629 section 4).
INVALID = {
    "a continuation byte alone": b"\x80",
    "two continuation bytes": b"a\xbf",
    "a lead byte that must not be": b"\xc0",
    "another": b"\xc1",
    "a lead byte beyond U+10FFFF": b"\xf5",
    "a byte of 0xFE": b"\xfe",
    "a byte of 0xFF": b"\xff",
    "a lead byte after a lead byte": b"\xc3\xc3",
    "ASCII after a lead byte": b"\xc3a",
    "an overlong sequence of three": b"\xe0\x9f",
    "an overlong sequence of four": b"\xf0\x8f",
    "a high surrogate": b"\xed\xa0",
    "a low surrogate": b"\xed\xbf",
    "U+110000": b"\xf4\x90",
    "ASCII in a sequence of three": b"\xe2\x82a",
    "a lead byte in a sequence of four": b"\xf0\x9f\xa6\xc3",
    "valid, then not": "κόσμε".encode() + b"\xed\xa0",
}
CUT_OFF = [b"\xc3", b"\xe2\x82", b"\xe2", b"\xf0\x9f\xa6", b"\xf0\x9f", b"\xf0", "κόσμε".encode() + b"\xce"]

invalid = pytest.mark.parametrize("data", INVALID.values(), ids=[name.replace(" ", "_") for name in INVALID])


@pytest.mark.parametrize("message", VALID)
async def test_every_code_point_comes_and_goes(connect: Connect, message: str) -> None:
    peer = await open_peer(connect, echo)
    await peer.send(text(message))
    assert await peer.message() == message


@pytest.mark.parametrize("message", [message for message in VALID if 1 < len(message.encode()) < 20])
async def test_a_code_point_may_be_cut_by_fragments(connect: Connect, message: str) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    expected = 0
    for one, other in cuts(message.encode()):
        await peer.send(frame(TEXT, one, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION, other))
        expected += 1
    octets = message.encode()
    await peer.send(frame(TEXT, octets[:1], fin=False))
    for octet in octets[1:]:
        await peer.send(frame(CONTINUATION, bytes([octet]), fin=False))
    await peer.send(frame(CONTINUATION) + close())
    await recorder.ended.wait()
    assert recorder.messages == [message] * (expected + 1)


async def test_a_code_point_may_be_cut_by_packets(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    message = "🦄κ€"
    for one, other in cuts(text(message)):
        await peer.send(one, other)
    await peer.send(close())
    await recorder.ended.wait()
    assert recorder.messages == [message] * (len(text(message)) - 1)


async def test_binary_messages_need_not_be_utf_8(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    expected = []
    for data in [*INVALID.values(), *CUT_OFF]:
        await peer.send(frame(BINARY, data) + frame(BINARY, data, fin=False) + frame(CONTINUATION, data))
        expected += [data, data * 2]
    await peer.send(close())
    await recorder.ended.wait()
    assert recorder.messages == expected


@invalid
async def test_invalid_text_is_1007(connect: Connect, data: bytes) -> None:
    await check_failure(connect, frame(TEXT, data), 1007)
    await check_failure(connect, frame(TEXT, data + b"more" * 100), 1007)


@pytest.mark.parametrize("data", CUT_OFF)
async def test_text_that_ends_inside_a_code_point_is_1007(connect: Connect, data: bytes) -> None:
    await check_failure(connect, frame(TEXT, data), 1007)
    await check_failure(connect, frame(TEXT, data, fin=False) + frame(CONTINUATION), 1007)
    await check_failure(connect, frame(TEXT, fin=False) + frame(CONTINUATION, data), 1007)
    await check_failure(connect, frame(TEXT, data), 1007, cut=True)


@invalid
async def test_invalid_text_fails_in_the_first_fragment(connect: Connect, data: bytes) -> None:
    """The final fragment never comes."""
    await check_failure(connect, frame(TEXT, data, fin=False), 1007)


@invalid
async def test_invalid_text_fails_in_a_later_fragment(connect: Connect, data: bytes) -> None:
    begin = frame(TEXT, "é".encode(), fin=False) + frame(PING) + frame(CONTINUATION, fin=False)
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(begin + frame(CONTINUATION, data, fin=False))
    assert await peer.frame() == Frame(PONG, b"")
    assert await peer.close_code() == 1007
    assert await peer.ended()
    await recorder.ended.wait()
    assert (recorder.messages, recorder.code) == ([], 1007)


@invalid
async def test_invalid_text_across_fragments(connect: Connect, data: bytes) -> None:
    octets = [bytes([octet]) for octet in data]
    frames = frame(TEXT, octets[0], fin=False) + b"".join(frame(CONTINUATION, octet, fin=False) for octet in octets[1:])
    await check_failure(connect, frames, 1007)


@invalid
@pytest.mark.parametrize("rest", [1, 1000, 100_000])
async def test_invalid_text_fails_while_the_rest_of_its_frame_is_missing(
    connect: Connect, data: bytes, rest: int
) -> None:
    whole = frame(TEXT, data + b"x" * rest)
    await check_failure(connect, whole[: len(whole) - rest], 1007)
    begun = frame(TEXT, b"begun", fin=False)
    whole = frame(CONTINUATION, data + b"x" * rest, fin=False)
    await check_failure(connect, begun + whole[: len(whole) - rest], 1007)


@invalid
async def test_invalid_text_fails_at_the_byte_that_makes_it_so(connect: Connect, data: bytes) -> None:
    """And not before: all in front of that byte could still become valid."""
    whole = frame(TEXT, data + b"x" * 300)
    head = len(whole) - 300 - len(data)
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(whole[:head], *[whole[at : at + 1] for at in range(head, head + len(data) - 1)])
    await trio.testing.wait_all_tasks_blocked()
    assert not recorder.ended.is_set()
    await peer.send(whole[head + len(data) - 1 : head + len(data)])
    assert await peer.close_code() == 1007
    await recorder.ended.wait()
    assert recorder.code == 1007


@invalid
async def test_invalid_text_ends_a_websocket_that_compresses(connect: Connect, data: bytes) -> None:
    await check_failure(connect, frame(TEXT, data), 1007, fields=OFFER, compression="deflate")
    await check_failure(connect, frame(TEXT, data, fin=False), 1007, fields=OFFER, compression="deflate-takeover")


async def test_what_is_sent_must_be_text(connect: Connect) -> None:
    """A str that has a lone surrogate cannot be sent, and the WebSocket goes on."""

    async def handler(ws: WebSocket[str | bytes]) -> None:
        with pytest.raises(UnicodeEncodeError):
            await ws.send("\ud800")
        with pytest.raises(TypeError):
            await ws.send(1)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            ws.send_nowait(None)  # type: ignore[arg-type]
        await ws.send("fine")

    peer = await open_peer(connect, handler)
    assert await peer.message() == "fine"
    assert await peer.close_code() == 1000


@pytest.mark.parametrize("reason", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"a\x80"])
async def test_a_close_reason_is_text_too(connect: Connect, reason: bytes) -> None:
    await check_failure(connect, frame(8, b"\3\xe8" + reason), 1007)
