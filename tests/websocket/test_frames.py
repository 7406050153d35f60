"""Frames: RFC 6455 section 5."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame as TheirFrame
from websockets.protocol import Protocol, Side
from websockets.utils import accept_key

from trio_upgrade.testing import open_upgrade
from trio_upgrade.websocket import WebSocket

from ..support.client import Connect, connect_memory, cuts
from ..support.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Frame,
    Message,
    Recorder,
    check_failure,
    close,
    echo,
    frame,
    open_peer,
    server_of,
    shake,
    text,
)

LENGTHS = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 2**20]


async def received(connect: Connect, *parts: bytes, compression: str | None = None) -> list[Message]:
    """What a handler receives of `parts`, each a packet, when the close frame has come."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, compression=compression)
    with trio.fail_after(10):
        await peer.send(*parts)
        await recorder.ended.wait()
    assert isinstance(recorder.end, trio.EndOfChannel)
    return recorder.messages


# ---- lengths


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_messages_of_every_length_come_and_go(connect: Connect, opcode: int, length: int) -> None:
    peer = await open_peer(connect, echo)
    payload = (b"0123456789abcdef" * (length // 16 + 1))[:length]
    with trio.fail_after(10):
        await peer.send(frame(opcode, payload))
        assert await peer.frame() == Frame(opcode, payload)


@pytest.mark.parametrize("length", LENGTHS)
async def test_messages_that_arrive_in_pieces(connect: Connect, length: int) -> None:
    payload = bytes(range(256)) * (length // 256) + bytes(range(length % 256))
    data = frame(BINARY, payload) + text("after") + close()
    size = max(997, len(data) // 8 + 1)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert await received(connect, *parts) == [payload, "after"]


@pytest.mark.parametrize("length", [0, 1, 125])
async def test_pings_of_every_length_are_answered(connect: Connect, length: int) -> None:
    peer = await open_peer(connect, echo)
    payload = bytes(range(length))
    await peer.send(frame(PING, payload))
    assert await peer.frame() == Frame(PONG, payload)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("length", [126, 127, 65536])
async def test_control_frames_have_at_most_125_bytes(connect: Connect, opcode: int, length: int) -> None:
    await check_failure(connect, frame(opcode, b"\3\xe8" + bytes(length - 2)), 1002)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
async def test_a_control_frame_that_is_too_long_fails_at_its_header(connect: Connect, opcode: int) -> None:
    await check_failure(connect, frame(opcode, bytes(126))[:4], 1002, cut=True)


@pytest.mark.parametrize(
    "length",
    [
        b"\xfe\0\0",
        b"\xfe\0\x7d",
        b"\xff\0\0\0\0\0\0\0\0",
        b"\xff\0\0\0\0\0\0\0\x7d",
        b"\xff\0\0\0\0\0\0\0\x7e",
        b"\xff\0\0\0\0\0\0\xff\xff",
    ],
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_length_must_be_written_in_the_fewest_bytes(connect: Connect, opcode: int, length: bytes) -> None:
    await check_failure(connect, bytes([0x80 | opcode]) + length + bytes(4), 1002)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
async def test_a_length_has_63_bits(connect: Connect, length: int) -> None:
    await check_failure(connect, b"\x82\xff" + length.to_bytes(8) + bytes(4), 1002)


@pytest.mark.parametrize("length", [2**20 + 1, 2**31, 2**32, (1 << 63) - 1])
async def test_a_message_that_is_too_big_fails_at_its_header(connect: Connect, length: int) -> None:
    await check_failure(connect, b"\x82\xff" + length.to_bytes(8) + bytes(4), 1009, cut=True)


@pytest.mark.parametrize("size", [1, 10, 125, 126, 70_000])
async def test_messages_up_to_the_maximum_are_taken(connect: Connect, size: int) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, max_message_size=size)
    half = size // 2
    await peer.send(
        frame(BINARY, b"x" * size)
        + frame(TEXT, b"x" * half, fin=False)
        + frame(CONTINUATION, b"x" * (size - half), fin=False)
        + frame(CONTINUATION)
        + close()
    )
    await recorder.ended.wait()
    assert recorder.messages == [b"x" * size, "x" * size]


@pytest.mark.parametrize("size", [6, 7, 125, 126, 70_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_one_byte_more_than_the_maximum_is_1009(connect: Connect, size: int, opcode: int) -> None:
    size = max(size, len("in front"))
    more = b"x" * (size + 1)
    await check_failure(connect, frame(opcode, more), 1009, max_message_size=size)
    if size >= 125:
        await check_failure(connect, frame(opcode, more)[:-1], 1009, max_message_size=size)
    await check_failure(connect, frame(opcode, more, fin=False), 1009, max_message_size=size)
    fragments = frame(opcode, more[:-1], fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION, b"x")
    await check_failure(connect, fragments, 1009, max_message_size=size)
    await check_failure(connect, fragments, 1009, max_message_size=size, cut=size < 200)


# ---- the first two bytes


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("payload", [b"", b"x"])
async def test_reserved_opcodes(connect: Connect, opcode: int, payload: bytes) -> None:
    await check_failure(connect, frame(opcode, payload), 1002)
    await check_failure(connect, frame(opcode, payload, fin=False), 1002)
    await check_failure(connect, frame(TEXT, b"begun", fin=False) + frame(opcode, payload), 1002)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
async def test_reserved_bits(connect: Connect, opcode: int, rsv: int) -> None:
    await check_failure(connect, frame(opcode, b"\3\xe8", rsv=rsv), 1002)


@pytest.mark.parametrize("rsv", range(1, 8))
async def test_reserved_bits_of_a_continuation(connect: Connect, rsv: int) -> None:
    await check_failure(connect, frame(TEXT, fin=False) + frame(CONTINUATION, rsv=rsv), 1002)


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"\3\xe8"])
async def test_a_client_must_mask(connect: Connect, opcode: int, payload: bytes) -> None:
    begin = frame(TEXT, fin=False) if opcode == CONTINUATION else b""
    await check_failure(connect, begin + frame(opcode, payload, key=None), 1002)


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\xff\0\xff", b"abcd"])
async def test_any_mask_will_do(connect: Connect, key: bytes) -> None:
    assert await received(connect, frame(TEXT, b"hello", key=key) + close()) == ["hello"]


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
async def test_control_frames_cannot_be_fragmented(connect: Connect, opcode: int) -> None:
    await check_failure(connect, frame(opcode, fin=False), 1002)
    await check_failure(connect, frame(opcode, b"\3\xe8", fin=False) + frame(CONTINUATION), 1002)


# ---- fragments


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_fragments_make_one_message(connect: Connect, opcode: int) -> None:
    data = (
        frame(opcode, b"a", fin=False)
        + frame(CONTINUATION, b"", fin=False)
        + frame(CONTINUATION, b"b" * 300, fin=False)
        + frame(CONTINUATION, b"c")
        + text("next")
        + close()
    )
    whole = b"a" + b"b" * 300 + b"c"
    assert await received(connect, data) == [whole.decode() if opcode == TEXT else whole, "next"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_empty_messages(connect: Connect, opcode: int) -> None:
    data = (
        frame(opcode)
        + frame(opcode, fin=False)
        + frame(CONTINUATION)
        + frame(opcode, fin=False)
        + frame(CONTINUATION, fin=False)
        + frame(CONTINUATION)
        + close()
    )
    assert await received(connect, data) == ["" if opcode == TEXT else b""] * 3


async def test_control_frames_between_fragments(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(
        frame(TEXT, b"a", fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b"b", fin=False)
        + frame(PONG, b"unasked")
        + frame(PING, b"2")
        + frame(CONTINUATION, b"c")
        + frame(PING, b"3")
    )
    assert [await peer.frame() for _ in range(3)] == [Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(PONG, b"3")]
    await peer.send(close())
    await recorder.ended.wait()
    assert recorder.messages == ["abc"]


@pytest.mark.parametrize(("end", "code"), [(frame(15), 1002), (text("x"), 1003), (close(4000), 4000)])
async def test_a_ping_in_front_of_the_end_is_answered(connect: Connect, end: bytes, code: int) -> None:
    peer = await open_peer(connect, Recorder(), message_type=bytes)
    await peer.send(frame(PING, b"1") + end)
    assert await peer.frame() == Frame(PONG, b"1")
    assert await peer.close_code() == code


async def test_a_close_between_fragments_ends_it(connect: Connect) -> None:
    assert await received(connect, text("a") + frame(TEXT, b"b", fin=False) + close()) == ["a"]


@pytest.mark.parametrize("fin", [True, False])
async def test_a_continuation_of_nothing(connect: Connect, fin: bool) -> None:
    await check_failure(connect, frame(CONTINUATION, b"x", fin=fin), 1002)


@pytest.mark.parametrize("first", [TEXT, BINARY])
@pytest.mark.parametrize("second", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
async def test_a_new_message_inside_a_fragmented_one(connect: Connect, first: int, second: int, fin: bool) -> None:
    data = frame(first, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) + frame(second, b"c", fin=fin)
    await check_failure(connect, data, 1002)


async def test_a_continuation_after_a_message_that_is_complete(connect: Connect) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder)
    await peer.send(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c"))
    assert await peer.close_code() == 1002
    await recorder.ended.wait()
    assert (recorder.messages, recorder.code) == (["ab"], 1002)


# ---- packets

CONVERSATION = (
    text("päckchen")
    + frame(PING, b"ping")
    + frame(BINARY, b"\0\1", fin=False)
    + frame(PING, b"")
    + frame(CONTINUATION, b"\2" * 130, fin=False)
    + frame(CONTINUATION)
    + frame(TEXT)
    + frame(TEXT, "€".encode()[:2], fin=False)
    + frame(CONTINUATION, "€".encode()[2:])
    + close(1000, "tschüß")
)
MESSAGES = ["päckchen", b"\0\1" + b"\2" * 130, "", "€"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_frames_may_be_cut_anywhere(connect: Connect, size: int) -> None:
    parts = [CONVERSATION[at : at + size] for at in range(0, len(CONVERSATION), size)]
    assert await received(connect, *parts) == MESSAGES


async def test_frames_may_be_cut_into_any_two_packets(nursery: trio.Nursery) -> None:
    recorders: list[Recorder] = []

    async def handler(ws: WebSocket[Any]) -> None:
        recorders.append(Recorder())
        await recorders[-1](ws)

    server = server_of(handler)
    for one, other in cuts(CONVERSATION):
        peer = await shake(await connect_memory(nursery, server))
        await peer.send(one, other)
        frames = [await peer.frame() for _ in range(3)]
        assert frames == [Frame(PONG, b"ping"), Frame(PONG, b""), Frame(CLOSE, b"\3\xe8" + "tschüß".encode())]
        assert await peer.ended()
        await peer.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert len(recorders) == len(CONVERSATION) - 1
    for recorder in recorders:
        assert recorder.messages == MESSAGES
        assert recorder.ws.close_reason == "tschüß"


# ---- against another implementation

lengths = st.sampled_from([125, 126, 127, 65535, 65536])
payloads = st.one_of(st.text(), st.binary(), lengths)  # a length stands for so many bytes


async def exchange(messages: list[tuple[str | bytes, int]], size: int) -> None:
    """Messages, each in a number of fragments, sent by the client of `websockets` and echoed in order."""
    protocol = Protocol(Side.CLIENT)  # open from the start
    async with open_upgrade(
        server_of(echo),
        protocol="websocket",
        headers=[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)],
    ) as (status, headers, stream):
        assert (status, headers["sec-websocket-accept"]) == (101, accept_key(KEY))
        sent = bytearray()
        for message, fragments in messages:
            send_in_fragments(protocol, message, fragments)
        protocol.send_close(1000)
        for data in protocol.data_to_send():
            sent += data
        for at in range(0, len(sent), size):
            await stream.send_all(sent[at : at + size])
        async for received in stream:
            protocol.receive_data(bytes(received))
        protocol.receive_eof()
    events = [event for event in protocol.events_received() if isinstance(event, TheirFrame) and event.opcode != PONG]
    assert events.pop().opcode == CLOSE
    assert [(int(event.opcode), bytes(event.data)) for event in events] == [
        (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message) for message, _ in messages
    ]
    assert (protocol.close_code, protocol.parser_exc) == (1000, None)


def send_in_fragments(protocol: Protocol, message: str | bytes, fragments: int) -> None:
    payload = message.encode() if isinstance(message, str) else message
    send = protocol.send_text if isinstance(message, str) else protocol.send_binary
    step = len(payload) // fragments + 1
    pieces = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
    send(pieces[0], fin=len(pieces) == 1)
    for number, piece in enumerate(pieces[1:], 2):
        protocol.send_ping(piece[:125])
        protocol.send_continuation(piece, fin=number == len(pieces))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(payloads, st.integers(1, 4)), max_size=6), st.sampled_from([1, 2, 13, 1000, 10**6]))
def test_a_conversation_with_another_implementation(drawn: list[tuple[str | bytes | int, int]], size: int) -> None:
    messages = [(bytes(what) if isinstance(what, int) else what, fragments) for what, fragments in drawn]
    trio.run(exchange, messages, max(size, sum(len(message) for message, _ in messages) // 50))
