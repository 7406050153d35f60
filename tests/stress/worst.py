"""What a hostile client can make the server hold in memory, within the default limits, for each kind of connection."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ..support.client import get, post_head, upgrade
from ..support.websocket_client import BINARY, OFFER, RSV1, TEXT, frame, handshake
from .launch import Running, launch
from .promises import Promises

__all__ = ["run"]

KIB = 1024
MESSAGE = 2**20  # the default of max_message_size
COUNT, QUICK_COUNT = 100, 40  # connections of each kind
SETTLE = 1.0  # seconds in which the server takes what has arrived
WARM_UP = 10
TAKEOVER = OFFER.replace(b"\r\n", b"; client_max_window_bits\r\n")


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message, in whole."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def opened(path: str, fields: bytes = b"") -> bytes:
    return handshake(fields, target=path)


@dataclass(frozen=True)
class Kind:
    """A kind of connection.

    Attributes:
      name: for the table.
      sent: what the client sends, in parts; after the first of several, it waits for a 101.
      most: how many KiB one may cost.
      tls: over TLS.
    """

    name: str
    sent: Callable[[], list[bytes]]
    most: int
    tls: bool = False


EMOJI = ("a" * (MESSAGE - 4) + "\U0001f600").encode()  # as a str of Python it takes four bytes a character

KINDS = [
    Kind("a connection that has said nothing", list, 8),
    Kind("a head that does not end, of 16 KiB", lambda: [get()[:-2] + b"X: " + bytes([97]) * (16_000)], 48),
    Kind("a body that nobody reads", lambda: [post_head(2**30, target="/stuck") + bytes(2**18)], 128),
    Kind("a response that is not read", lambda: [get("/pattern/x/67108864")], 160),
    Kind("a stream of one's own, idle", lambda: [upgrade(target="/held"), b""], 10),
    Kind("a WebSocket, idle", lambda: [opened("/held"), b""], 12),
    Kind(
        "a message of 1 MiB but for its last byte", lambda: [opened("/held"), frame(BINARY, bytes(MESSAGE))[:-1]], 1200
    ),
    Kind("messages while the handler is busy", lambda: [opened("/busy"), frame(BINARY, bytes(1000)) * 2000], 260),
    Kind("a text of 1 MiB with an emoji, likewise", lambda: [opened("/busy"), frame(TEXT, EMOJI)], 1300),
    Kind("echoes of 1 MiB that are not read", lambda: [opened("/held"), frame(BINARY, bytes(MESSAGE)) * 12], 4500),
    Kind("compressed: idle", lambda: [opened("/deflate", OFFER), b""], 16),
    Kind(
        "compressed: 1 MiB as 1 KiB, not finished",
        lambda: [opened("/deflate", OFFER), frame(BINARY, deflated(bytes(MESSAGE)), rsv=RSV1, fin=False)],
        1300,
    ),
    Kind(
        "compressed: the same, whole, while the handler is busy",
        lambda: [opened("/busy-deflate", OFFER), frame(TEXT, deflated(EMOJI), rsv=RSV1)],
        200,
    ),
    Kind(
        "compressed with takeover: idle, after a message",
        lambda: [opened("/takeover", TAKEOVER), frame(BINARY, deflated(bytes(40_000)), rsv=RSV1)],
        400,
    ),
    Kind(
        "compressed with takeover: 1 MiB, not finished",
        lambda: [opened("/takeover", TAKEOVER), frame(BINARY, deflated(bytes(MESSAGE)), rsv=RSV1, fin=False)],
        1700,
    ),
    Kind("TLS: a handshake, and nothing after it", list, 60, tls=True),
    Kind("TLS: a response that is not read", lambda: [get("/pattern/x/67108864")], 420, tls=True),
    Kind("TLS: a WebSocket, idle", lambda: [opened("/held"), b""], 120, tls=True),
    Kind(
        "TLS: echoes of 1 MiB that are not read",
        lambda: [opened("/held"), frame(BINARY, bytes(MESSAGE)) * 12],
        4800,
        tls=True,
    ),
]


async def run(promises: Promises, quick: bool) -> None:
    for kind in KINDS:
        async with launch() as running:
            cost = await pin(running, kind, QUICK_COUNT if quick else COUNT)
        promises.check(
            f"{kind.name}: at most {kind.most:,} KiB",
            f"{cost:,.0f} KiB each",
            cost <= kind.most * (1.5 if quick else 1),
        )


async def pin(running: Running, kind: Kind, count: int) -> float:
    """How many KiB each of so many connections holds."""
    async with trio.open_nursery() as nursery:
        for _ in range(WARM_UP):
            await nursery.start(attack, running, kind)
        await trio.sleep(SETTLE)
        before = running.resident()
        for _ in range(count):
            await nursery.start(attack, running, kind)
        await trio.sleep(2 * SETTLE)
        after = running.resident()
        nursery.cancel_scope.cancel()
    return (after - before) / count / KIB


async def attack(running: Running, kind: Kind, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """One client: it sends what there is to send, reads no more than a 101, and stays."""
    client = await running.open(tls=kind.tls)
    try:
        parts = kind.sent()
        if len(parts) > 1:
            await client.send(parts.pop(0))
            await client.head(101)
        task_status.started()
        for data in parts:
            await client.send(data)
        await trio.sleep_forever()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.sleep_forever()  # the server has ended it, and holds nothing
    finally:
        await client.vanish()
