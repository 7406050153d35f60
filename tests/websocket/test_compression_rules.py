"""permessage-deflate with clients that are stricter than RFC 7692, or overlook a parameter: their rules and codecs."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from ..support.client import Connect
from ..support.websocket_client import RSV1, TEXT, Peer, close, echo, frame, open_peer

TAIL = b"\0\0\xff\xff"  # section 7.2.1

Parameters: TypeAlias = dict[str, str | None]

SERVER_FORGETS, CLIENT_FORGETS = "server_no_context_takeover", "client_no_context_takeover"
SERVER_WINDOW, CLIENT_WINDOW = "server_max_window_bits", "client_max_window_bits"


@dataclass(frozen=True)
class Codec:
    """What a client makes of an answer.

    Attributes:
      inflater_bits: the window of its inflater.
      inflater_forgets: it has a new inflater for each message.
      compressor_bits, compressor_forgets: the same for its compressor.
    """

    inflater_bits: int
    inflater_forgets: bool
    compressor_bits: int
    compressor_forgets: bool


def read(answer: Parameters) -> Codec:
    """As RFC 7692 has it."""
    return Codec(
        inflater_bits=int(answer.get(SERVER_WINDOW) or 15),
        inflater_forgets=SERVER_FORGETS in answer,
        compressor_bits=int(answer.get(CLIENT_WINDOW) or 15),
        compressor_forgets=CLIENT_FORGETS in answer,
    )


def netty(offer: Parameters, answer: Parameters) -> Codec:
    """It accepts nothing that it has not offered, and the server's window only as it was offered."""
    assert set(answer) <= set(offer)
    assert answer.get(SERVER_WINDOW) == offer.get(SERVER_WINDOW)
    assert (SERVER_FORGETS in offer) == (SERVER_FORGETS in answer)
    return read(answer)


def go(offer: Parameters, answer: Parameters) -> Codec:
    """One of Go's accepts no parameter with a value. Its window is always the largest."""
    assert set(answer) <= {SERVER_FORGETS, CLIENT_FORGETS}
    assert SERVER_FORGETS in answer or SERVER_FORGETS not in offer
    return Codec(15, SERVER_FORGETS in answer, 15, CLIENT_FORGETS in answer)


def tornado(offer: Parameters, answer: Parameters) -> Codec:
    """It overlooks every parameter without a value."""
    return read({name: value for name, value in answer.items() if value is not None})


CLIENTS: list[tuple[Callable[[Parameters, Parameters], Codec], str]] = [
    (netty, ""),
    (netty, "client_max_window_bits"),
    (netty, "server_no_context_takeover; client_no_context_takeover"),
    (netty, "server_no_context_takeover; server_max_window_bits=10; client_max_window_bits"),
    (netty, "server_max_window_bits=15"),
    (go, ""),
    (go, "client_no_context_takeover; server_no_context_takeover"),
    (go, "client_no_context_takeover"),
    (tornado, "client_max_window_bits"),
    (tornado, ""),
]


def parse(parameters: str) -> Parameters:
    pairs = (each.strip().partition("=") for each in parameters.split(";"))
    return {name: value or None for name, _, value in pairs if name}


MESSAGES = [
    "hello " * 16,
    "hello " * 16,
    "short",
    "".join(chr(number) for number in range(0x100, 0x1000)) * 8,
    "hello " * 20_000,
    "hello " * 16,
]


async def talk(peer: Peer, codec: Codec) -> None:
    """Send messages that come back, as a client does that compresses all that it sends."""
    compressor = zlib.compressobj(wbits=-codec.compressor_bits)
    inflater = zlib.decompressobj(wbits=-codec.inflater_bits)
    for message in MESSAGES:
        if codec.compressor_forgets:
            compressor = zlib.compressobj(wbits=-codec.compressor_bits)
        if codec.inflater_forgets:
            inflater = zlib.decompressobj(wbits=-codec.inflater_bits)
        data = compressor.compress(message.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        await peer.send(frame(TEXT, data.removesuffix(TAIL), rsv=RSV1))
        _, payload, _, rsv = await peer.frame()
        assert (inflater.decompress(payload + TAIL) if rsv else payload).decode() == message


@pytest.mark.parametrize("compression", ["deflate", "deflate-takeover"])
@pytest.mark.parametrize(("client", "offer"), CLIENTS)
async def test_a_client_with_rules_of_its_own_talks(
    connect: Connect, compression: str, client: Callable[[Parameters, Parameters], Codec], offer: str
) -> None:
    extension = "; ".join(filter(None, ["permessage-deflate", offer]))
    fields = f"Sec-WebSocket-Extensions: {extension}\r\n".encode()
    peer = await open_peer(connect, echo, fields, compression=compression)
    name, _, answer = peer.reply.headers["sec-websocket-extensions"].partition(";")
    assert name == "permessage-deflate"
    await talk(peer, client(parse(offer), parse(answer)))
    await peer.send(close())
    assert await peer.close_code() == 1000
