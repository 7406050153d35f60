"""permessage-deflate: RFC 7692."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import websocket

from ..support.client import Connect
from ..support.websocket_client import (
    BINARY,
    CONTINUATION,
    OFFER,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Busy,
    Frame,
    Message,
    Peer,
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

TAIL = b"\0\0\xff\xff"  # section 7.2.1
TEXTS = ["x" * 100, "hello " * 50, "äöü€🦄" * 30, "".join(chr(0x100 + number) for number in range(500))]

FORGETFUL = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"

modes = pytest.mark.parametrize("compression", ["deflate", "deflate-takeover"])


class Deflate:
    """The client's side of the extension."""

    def __init__(self, takeover: bool = False, bits: int = 15) -> None:
        self._takeover = takeover
        self._bits = bits
        self._compressor = zlib.compressobj(wbits=-bits)
        self._decompressor = zlib.decompressobj(wbits=-15)

    def compress(self, data: bytes) -> bytes:
        if not self._takeover:
            self._compressor = zlib.compressobj(wbits=-self._bits)
        data = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(TAIL)

    def decompress(self, data: bytes) -> bytes:
        if not self._takeover:
            self._decompressor = zlib.decompressobj(wbits=-15)
        return self._decompressor.decompress(data + TAIL)

    async def receive(self, peer: Peer) -> Message:
        opcode, payload, fin, rsv = await peer.frame()
        assert fin
        assert rsv in (0, RSV1)
        data = self.decompress(payload) if rsv else payload
        return data.decode() if opcode == TEXT else data


def deflated(data: bytes, opcode: int = TEXT, **options: Any) -> bytes:
    """A compressed message, which needs no message before it."""
    return frame(opcode, Deflate().compress(data), rsv=RSV1, **options)


def parameters(peer: Peer) -> dict[str, str | None]:
    """Those of the one extension that was agreed on."""
    name, *pairs = peer.reply.headers["sec-websocket-extensions"].replace(" ", "").split(";")
    assert name == "permessage-deflate"
    return {key: value or None for key, _, value in (pair.partition("=") for pair in pairs)}


# ---- negotiation


@modes
async def test_compression_must_be_offered(connect: Connect, compression: str) -> None:
    peer = await open_peer(connect, echo, compression=compression)
    assert "sec-websocket-extensions" not in peer.reply.headers
    await peer.send(text("x" * 1000))
    assert await peer.message() == "x" * 1000
    await peer.send(deflated(b"x"))
    assert await peer.close_code() == 1002


async def test_compression_is_off_by_default(connect: Connect) -> None:
    peer = await open_peer(connect, echo, OFFER)
    assert "sec-websocket-extensions" not in peer.reply.headers
    await peer.send(text("x" * 1000))
    assert await peer.message() == "x" * 1000
    await peer.send(deflated(b"x"))
    assert await peer.close_code() == 1002


@modes
async def test_a_client_that_asks_for_nothing_is_told_nothing(connect: Connect, compression: str) -> None:
    """What its inflater can do by itself needs no word: a smaller window, or messages that refer to no other."""
    peer = await open_peer(connect, echo, OFFER, compression=compression)
    assert parameters(peer) == {}


@modes
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("client_max_window_bits", {"client_max_window_bits": "12"}),
        ("client_max_window_bits=15", {"client_max_window_bits": "12"}),
        ("client_max_window_bits=10", {"client_max_window_bits": "10"}),
        ("server_max_window_bits=15", {"server_max_window_bits": "15"}),
        ("server_max_window_bits=9", {"server_max_window_bits": "9"}),
        ("client_no_context_takeover", {"client_no_context_takeover": None}),
        ("server_no_context_takeover", {"server_no_context_takeover": None}),
        (
            "server_no_context_takeover; client_max_window_bits; server_max_window_bits=12; client_no_context_takeover",
            {
                "server_no_context_takeover": None,
                "client_no_context_takeover": None,
                "server_max_window_bits": "12",
                "client_max_window_bits": "12",
            },
        ),
    ],
)
async def test_a_client_is_told_what_it_has_asked_for(
    connect: Connect, compression: str, asked: str, told: dict[str, str | None]
) -> None:
    offer = f"Sec-WebSocket-Extensions: permessage-deflate; {asked}\r\n".encode()
    peer = await open_peer(connect, echo, offer, compression=compression)
    assert parameters(peer) == told


@modes
@pytest.mark.parametrize("server_bits", [None, *range(9, 16)])
@pytest.mark.parametrize("client_bits", [None, "", *range(8, 16)])
async def test_window_bits_are_never_more_than_offered(
    connect: Connect, compression: str, server_bits: int | None, client_bits: int | str | None
) -> None:
    """Section 7.1.2."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate"
    if server_bits is not None:
        offer += b"; server_max_window_bits=%d" % server_bits
    if client_bits is not None:
        offer += f"; client_max_window_bits{client_bits and f'={client_bits}'}".encode()
    peer = await open_peer(connect, echo, offer + b"\r\n", compression=compression)
    answer = parameters(peer)
    if server_bits is not None:
        assert 8 <= int(answer["server_max_window_bits"] or 0) <= server_bits
    if client_bits is None:
        assert "client_max_window_bits" not in answer  # 7.1.2.2: the client does not know it
    elif client_bits:
        assert 8 <= int(answer.get("client_max_window_bits") or client_bits) <= int(client_bits)
    chosen = int(answer.get("client_max_window_bits") or 15)
    codec = Deflate(takeover=compression == "deflate-takeover", bits=max(chosen, 9))
    codec._decompressor = zlib.decompressobj(wbits=-int(answer.get("server_max_window_bits") or 15))
    for message in (b"a" + bytes(range(65, 91)) * 60, bytes(range(65, 91)) * 300):
        if chosen > 8:
            await peer.send(frame(TEXT, codec.compress(message), rsv=RSV1))
        else:
            await peer.send(frame(TEXT, message))
        assert await codec.receive(peer) == message.decode()


@modes
@pytest.mark.parametrize("bits", range(9, 13))
async def test_what_is_sent_fits_into_the_negotiated_window(connect: Connect, compression: str, bits: int) -> None:
    """No distance is longer than the window: an inflater with a window of that size can tell."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d\r\n" % bits
    peer = await open_peer(connect, echo, offer, compression=compression)
    half = os.urandom(1 << bits - 1)
    decompressor = zlib.decompressobj(wbits=-bits)
    for message in (half * 8, half + os.urandom(1 << bits) + half, half * 3):
        await peer.send(frame(BINARY, message))
        opcode, payload, _, rsv = await peer.frame()
        assert (opcode, rsv) == (BINARY, RSV1)
        if compression == "deflate":
            decompressor = zlib.decompressobj(wbits=-bits)
        assert decompressor.decompress(payload + TAIL) == message


@modes
@pytest.mark.parametrize(
    "flag", [b"server_no_context_takeover", b"client_no_context_takeover; server_no_context_takeover"]
)
async def test_a_client_may_ask_for_no_context_takeover(connect: Connect, compression: str, flag: bytes) -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; %b\r\n" % flag
    peer = await open_peer(connect, echo, offer, compression=compression)
    assert "server_no_context_takeover" in parameters(peer)
    for _ in range(2):
        await peer.send(text("x" * 1000))
        assert await Deflate().receive(peer) == "x" * 1000


@pytest.mark.parametrize(
    "bad",
    [
        b"unknown",
        b"unknown=1",
        b"server_no_context_takeover=1",
        b"client_no_context_takeover=true",
        b"server_no_context_takeover; server_no_context_takeover",
        b"server_max_window_bits",
        b"server_max_window_bits=7",
        b"server_max_window_bits=16",
        b"server_max_window_bits=08",
        b"server_max_window_bits=ten",
        b"server_max_window_bits=9; server_max_window_bits=10",
        b"client_max_window_bits=7",
        b"client_max_window_bits=16",
        b"client_max_window_bits=1e1",
    ],
)
async def test_an_offer_that_cannot_be_taken_is_declined(connect: Connect, bad: bytes) -> None:
    """Section 7.1; the next offer may be better."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; " + bad
    peer = await open_peer(connect, echo, offer + b"\r\n", compression="deflate")
    assert "sec-websocket-extensions" not in peer.reply.headers
    await peer.send(text("x" * 100))
    assert await peer.message() == "x" * 100
    for more in (b", permessage-deflate\r\n", b"\r\n" + OFFER):
        peer = await open_peer(connect, echo, offer + more, compression="deflate")
        assert parameters(peer) == {}


async def test_a_window_that_zlib_cannot_make_is_declined_or_kept(connect: Connect) -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"
    peer = await open_peer(connect, echo, offer, compression="deflate")
    if "sec-websocket-extensions" in peer.reply.headers:
        assert parameters(peer)["server_max_window_bits"] == "8"
    await peer.send(text("x" * 1000))
    assert await Deflate().receive(peer) == "x" * 1000


@pytest.mark.parametrize("value", [b'"10"', b"10"])
async def test_a_quoted_value_is_the_same(connect: Connect, value: bytes) -> None:
    offer = b"Sec-WebSocket-Extensions: x-other;a=1 , permessage-deflate;server_max_window_bits=%b\r\n" % value
    peer = await open_peer(connect, echo, offer, compression="deflate")
    assert int(parameters(peer)["server_max_window_bits"] or 0) <= 10


# ---- messages


@modes
async def test_compressed_messages_come_and_go(connect: Connect, compression: str) -> None:
    peer = await open_peer(connect, echo, OFFER, compression=compression)
    codec = Deflate(takeover=compression == "deflate-takeover")
    messages: list[Message] = ["", "short", *TEXTS, *TEXTS, b"", b"\0" * 5000, os.urandom(5000), "z" * 200_000]
    for message in messages:
        opcode = TEXT if isinstance(message, str) else BINARY
        octets = message.encode() if isinstance(message, str) else message
        await peer.send(frame(opcode, codec.compress(octets), rsv=RSV1))
        assert await codec.receive(peer) == message
        await peer.send(frame(opcode, octets))  # compressing is a choice, message by message (section 6)
        assert await codec.receive(peer) == message


@modes
async def test_what_repeats_itself_gets_shorter(connect: Connect, compression: str) -> None:
    peer = await open_peer(connect, echo, OFFER, compression=compression)
    message = os.urandom(500).hex()
    sizes = []
    for _ in range(2):
        await peer.send(text(message))
        sizes.append(len((await peer.frame()).payload))
    assert sizes[0] < len(message) * 0.6
    if compression == "deflate":
        assert sizes[1] == sizes[0]
    else:
        assert sizes[1] < sizes[0] / 5


@modes
async def test_compressed_messages_in_fragments(connect: Connect, compression: str) -> None:
    """Section 6.1: RSV1 on the first only; control frames in between are not compressed."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    codec = Deflate(takeover=compression == "deflate-takeover")
    for message in TEXTS * 2:
        data = codec.compress(message.encode())
        await peer.send(
            frame(TEXT, data[:3], fin=False, rsv=RSV1)
            + frame(CONTINUATION, data[3:7], fin=False)
            + frame(PING, b"between")
            + frame(CONTINUATION, b"", fin=False)
            + frame(CONTINUATION, data[7:])
            + frame(TEXT, b"plain", fin=False)
            + frame(CONTINUATION, b" text")
        )
        assert await peer.frame() == Frame(PONG, b"between")
    await peer.send(close())
    await recorder.ended.wait()
    assert recorder.messages == [item for message in TEXTS * 2 for item in (message, "plain text")]


@modes
async def test_compressed_messages_byte_by_byte(connect: Connect, compression: str) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    data = deflated(b"hello " * 30) + deflated(bytes(300), BINARY) + close()
    await peer.send(*[data[at : at + 1] for at in range(len(data))])
    await recorder.ended.wait()
    assert recorder.messages == ["hello " * 30, bytes(300)]


HELLO = [
    bytes([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),  # 7.2.3.1
    bytes([0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]),  # 7.2.3.3: no compression
    bytes([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),  # 7.2.3.4: BFINAL set
    bytes([0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]),  # 7.2.3.5: two blocks
]


@modes
@pytest.mark.parametrize("payload", HELLO)
async def test_the_examples_of_the_rfc(connect: Connect, compression: str, payload: bytes) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    await peer.send(frame(TEXT, payload, rsv=RSV1) + deflated(b"and on") + close())
    await recorder.ended.wait()
    assert recorder.messages == ["Hello", "and on"]


@modes
async def test_blocks_may_follow_a_final_one(connect: Connect, compression: str) -> None:
    """Section 7.2.1: BFINAL ends no message."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    block = HELLO[2][:-1]
    await peer.send(frame(TEXT, block * 3 + b"\0", rsv=RSV1))
    await peer.send(frame(TEXT, block, rsv=RSV1, fin=False) + frame(CONTINUATION, block + b"\0") + close())
    await recorder.ended.wait()
    assert recorder.messages == ["Hello" * 3, "Hello" * 2]


@modes
async def test_final_blocks_are_bounded(connect: Connect, compression: str) -> None:
    """Each costs a new state of zlib, for two bytes."""
    flood = b"\3\0" * 20_000
    await check_failure(connect, frame(TEXT, flood, rsv=RSV1), 1002, fields=OFFER, compression=compression)


@modes
async def test_final_blocks_are_counted_in_each_message(connect: Connect, compression: str) -> None:
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    await peer.send(frame(TEXT, HELLO[2], rsv=RSV1) * 100 + close())
    await recorder.ended.wait()
    assert recorder.messages == ["Hello"] * 100


@modes
async def test_data_that_inflates_to_nothing_is_bounded(connect: Connect, compression: str) -> None:
    fragments = frame(BINARY, fin=False, rsv=RSV1) + frame(CONTINUATION, (b"\0" + TAIL) * 100, fin=False) * 100
    options: dict[str, Any] = {"compression": compression, "max_message_size": 10_000}
    await check_failure(connect, fragments, 1009, fields=OFFER, **options)


@modes
async def test_the_example_of_a_shared_window(connect: Connect, compression: str) -> None:
    """Section 7.2.3.2. A client may use it that has not said that it won't (7.1.1.2)."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression)
    second = bytes([0xF2, 0x00, 0x11, 0x00, 0x00])
    await peer.send(frame(TEXT, HELLO[0], rsv=RSV1) + frame(TEXT, second, rsv=RSV1) + close())
    await recorder.ended.wait()
    assert recorder.messages == ["Hello", "Hello"]


async def test_short_messages_are_sent_as_they_are(connect: Connect) -> None:
    peer = await open_peer(connect, echo, OFFER, compression="deflate")
    for message in ("", "x", "x" * 20):
        await peer.send(text(message))
        assert await Deflate().receive(peer) == message


@modes
async def test_what_waits_for_a_busy_handler_is_inflated_in_order(connect_memory: Connect, compression: str) -> None:
    """Some are checked ahead, some are not, and some arrive in parts; each may refer to the one before."""
    received: list[Message] = []

    async def moody(ws: websocket.WebSocket[Message]) -> None:
        async for message in ws:
            received.append(message)
            if len(received) % 4 == 0:
                await trio.sleep(0.6)
        done.set()

    done = trio.Event()
    peer = await open_peer(connect_memory, moody, OFFER, compression=compression)
    codec = Deflate(takeover=compression == "deflate-takeover", bits=12)
    sent: list[Message] = []
    for number in range(40):
        message = f"{TEXTS[number % len(TEXTS)]} {number} " * (1 + number % 3 * 100)
        data = codec.compress(message.encode())
        half = len(data) // (1 + number % 3)
        parts = frame(TEXT, data[:half], rsv=RSV1, fin=False) + frame(CONTINUATION, data[half:])
        await peer.stream.send_all(parts[: half + 10])
        if number % 5 == 0:
            await trio.sleep(0.3)
        await peer.stream.send_all(parts[half + 10 :])
        sent += [message, f"plain é {number}"]
        await peer.stream.send_all(text(f"plain é {number}"))
    await peer.stream.send_all(close())
    await done.wait()
    assert received == sent


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\xff" * 10, 1002),
        (Deflate().compress(b"x" * 100 + b"\xff"), 1007),
        (Deflate().compress(b"\xe2\x82"), 1007),
        (Deflate().compress(b"x" * 20_001), 1009),
    ],
)
async def test_a_message_that_waits_for_a_busy_handler_is_checked(
    connect_memory: Connect, autojump_clock: trio.testing.MockClock, bad: bytes, code: int
) -> None:
    busy = Busy()
    peer = await open_peer(connect_memory, busy, OFFER, compression="deflate", max_message_size=20_000)
    await busy.opened.wait()
    await peer.send(frame(TEXT, bad, rsv=RSV1))
    with trio.fail_after(1):
        assert await peer.close_code() == code
    assert busy.ws.close_code == code
    busy.go.set()


# ---- violations


@modes
@pytest.mark.parametrize("rsv", [RSV2, RSV3, RSV2 | RSV3, RSV1 | RSV2, RSV1 | RSV3, 7])
async def test_other_reserved_bits_stay_reserved(connect: Connect, compression: str, rsv: int) -> None:
    await check_failure(connect, frame(TEXT, b"x", rsv=rsv), 1002, fields=OFFER, compression=compression)


@modes
@pytest.mark.parametrize("opcode", [8, PING, PONG])
async def test_control_frames_are_not_compressed(connect: Connect, compression: str, opcode: int) -> None:
    await check_failure(connect, frame(opcode, rsv=RSV1), 1002, fields=OFFER, compression=compression)


@modes
@pytest.mark.parametrize("first", [0, RSV1])
async def test_a_continuation_never_says_that_it_is_compressed(connect: Connect, compression: str, first: int) -> None:
    data = frame(TEXT, fin=False, rsv=first) + frame(CONTINUATION, b"x", rsv=RSV1)
    await check_failure(connect, data, 1002, fields=OFFER, compression=compression)


@modes
@pytest.mark.parametrize("payload", [b"\xff" * 10, b"\x07", bytes([0x00, 0x05, 0x00, 0xFA, 0xFE]) + b"Hello"])
async def test_malformed_compressed_data(connect: Connect, compression: str, payload: bytes) -> None:
    await check_failure(connect, frame(TEXT, payload, rsv=RSV1), 1002, fields=OFFER, compression=compression)
    begun = deflated(b"x" * 100, fin=False)
    await check_failure(connect, begun + frame(CONTINUATION, b"\xff" * 10), 1002, fields=OFFER, compression=compression)


@modes
async def test_a_context_that_the_client_gave_up_is_not_kept(connect: Connect, compression: str) -> None:
    codec = Deflate(takeover=True)
    codec.compress(b"something to refer to, and some more of it")
    data = frame(TEXT, codec.compress(b"something to refer to, and some more of it"), rsv=RSV1)
    await check_failure(connect, data, 1002, fields=FORGETFUL, compression=compression)


@modes
async def test_invalid_text_in_a_compressed_message(connect: Connect, compression: str) -> None:
    for data in (b"x" * 100 + b"\xff", b"\xe2\x82"):
        await check_failure(connect, deflated(data), 1007, fields=OFFER, compression=compression)
    early = Deflate().compress(b"x" * 100 + b"\xff" + b"x" * 100)
    fragment = frame(TEXT, early, fin=False, rsv=RSV1)
    await check_failure(connect, fragment, 1007, fields=OFFER, compression=compression)


# ---- sizes


@modes
@pytest.mark.parametrize("size", [10, 100, 2000, 5000, 70_000])
@pytest.mark.parametrize("data", [bytes(70_000), os.urandom(70_000)], ids=["zeros", "random"])
async def test_the_maximum_is_of_the_inflated_message(
    connect: Connect, compression: str, size: int, data: bytes
) -> None:
    """Random bytes get longer when they are compressed."""
    recorder = Recorder()
    peer = await open_peer(connect, recorder, OFFER, compression=compression, max_message_size=size)
    whole = Deflate().compress(data[:size])
    await peer.send(
        frame(BINARY, whole, rsv=RSV1)
        + frame(BINARY, whole[: len(whole) - 1], rsv=RSV1, fin=False)
        + frame(CONTINUATION, whole[len(whole) - 1 :])
        + close()
    )
    await recorder.ended.wait()
    assert recorder.messages == [data[:size]] * 2
    for more in (1, 2, 100):
        await check_failure(
            connect,
            deflated(data[:size] + bytes(more), BINARY),
            1009,
            fields=OFFER,
            compression=compression,
            max_message_size=size,
        )


@modes
async def test_a_bomb_is_not_inflated(connect: Connect, compression: str) -> None:
    """64 MiB in 64 KiB."""
    bomb = deflated(bytes(2**26), BINARY)
    assert len(bomb) < 70_000
    compressor = zlib.compressobj(wbits=-15)
    final = compressor.compress(bytes(2**17 + 1)) + compressor.flush()  # a block with BFINAL, just too big
    after = frame(BINARY, final + Deflate().compress(bytes(2**26)), rsv=RSV1)
    small = Deflate().compress(bytes(2**16)) + TAIL
    fragments = frame(BINARY, small, fin=False, rsv=RSV1) + frame(CONTINUATION, small * 500)
    for data in (bomb, after, fragments):
        recorder = Recorder()
        peer = await open_peer(connect, recorder, OFFER, compression=compression, max_message_size=2**17)
        tracemalloc.start()
        try:
            await peer.send(data)
            assert await peer.close_code() == 1009
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2**21
        await recorder.ended.wait()
        assert (recorder.messages, recorder.code) == ([], 1009)


@modes
async def test_a_bomb_after_a_message_of_just_the_maximum(connect: Connect, compression: str) -> None:
    """Nothing is left of the size: that must not mean no limit."""
    codec = Deflate(takeover=True)
    first = codec._compressor.compress(bytes(1000)) + codec._compressor.flush(zlib.Z_SYNC_FLUSH)
    data = frame(BINARY, first, fin=False, rsv=RSV1) + frame(CONTINUATION, codec.compress(bytes(100_000)))
    await check_failure(connect, data, 1009, fields=OFFER, compression=compression, max_message_size=1000)
    allowed = frame(BINARY, first, fin=False, rsv=RSV1) + frame(CONTINUATION, b"\0")
    recorder = Recorder()
    peer = await shake(
        await connect(server_of(recorder, compression=compression, max_message_size=1000)), OFFER, allowed + close()
    )
    assert await peer.close_code() == 1000
    assert recorder.messages == [bytes(1000)]
    assert isinstance(recorder.end, trio.EndOfChannel)
