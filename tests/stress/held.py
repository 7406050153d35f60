"""Many connections held at once: none is lost, and each costs little memory."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import trio

from ..support.client import Wrong, upgrade
from .client import Messages, PatternClient, connect
from .launch import Running, launch
from .pattern import Pattern
from .promises import Promises, describe

__all__ = ["run"]

T = TypeVar("T")

WEBSOCKETS = "WebSockets"
OPENING = 100  # connections at once that are being opened
SOURCES = 8  # addresses to connect from, since each has only some 28,000 ports
LEAD = 1  # seconds in which the clients get ready for the first echo
HUNG = 60  # seconds that nothing takes
MESSAGE = 64
WARM_UP = 20  # few: memory that they give back is there for the others


@dataclass(frozen=True)
class Size:
    """How many connections, for how long (seconds), and what each may cost (bytes)."""

    connections: int
    seconds: float
    interval: float
    memory: int

    @property
    def rounds(self) -> int:
        return round(self.seconds / self.interval)


FULL = Size(connections=10_000, seconds=60, interval=10, memory=10 * 1024)  # what the README promises
QUICK = Size(connections=1_000, seconds=3, interval=1, memory=15_000)  # few share what the process needs once


class Stream:
    """An upgraded stream with a protocol of its own."""

    def __init__(self, client: PatternClient) -> None:
        self.client = client

    @classmethod
    async def open(cls, client: PatternClient) -> Stream:
        await client.send(upgrade(target="/held"))
        await client.head(101)
        return cls(client)

    async def echo(self, data: bytes) -> None:
        await self.client.send(data)
        if await self.client.exactly(len(data)) != data:
            raise Wrong("the echo is not what was sent")

    async def close(self) -> None:
        await self.client.send_eof()


class Crowd:
    """The connections to one server.

    Attributes:
      held: those that are open, each with its number.
      lost: what went wrong, for each connection that was lost.
      times: how long each echo took, in milliseconds.
    """

    def __init__(self, running: Running, kind: str, size: Size) -> None:
        self.held: list[tuple[int, Stream | Messages]] = []
        self.lost: list[str] = []
        self.times: list[float] = []
        self._running = running
        self._kind = kind
        self._size = size
        self._limiter = trio.CapacityLimiter(OPENING)
        self._begin = 0.0

    async def open(self) -> None:
        await self._each(range(self._size.connections), self._open)

    async def echo(self) -> None:
        """Echo once an interval, each connection at a moment of its own."""
        self._begin = trio.current_time() + LEAD
        await self._each(self.held, self._echo)

    async def end(self) -> None:
        await self._each(self.held, self._end)

    async def _each(self, items: Iterable[T], what: Callable[[T], Awaitable[None]]) -> None:
        """Do it for all of them at once."""
        async with trio.open_nursery() as nursery:
            for item in items:
                nursery.start_soon(self._guarded, what, item)

    async def _guarded(self, what: Callable[[T], Awaitable[None]], item: T) -> None:
        try:
            await what(item)
        except (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            self.lost.append(repr(exc))

    async def _open(self, number: int) -> None:
        async with self._limiter:
            with trio.fail_after(HUNG):
                client = await connect(self._running.port, source=f"127.0.0.{2 + number % SOURCES}")
                channel = Messages.open(client, "/held") if self._kind == WEBSOCKETS else Stream.open(client)
                self.held.append((number, await channel))

    async def _echo(self, item: tuple[int, Stream | Messages]) -> None:
        number, channel = item
        pattern = Pattern(str(number))
        begin = self._begin + random.Random(number).uniform(0, self._size.interval)
        for done in range(self._size.rounds):
            await trio.sleep_until(begin + done * self._size.interval)
            sent = trio.current_time()
            with trio.fail_after(HUNG):
                await channel.echo(pattern.take(MESSAGE))
            self.times.append((trio.current_time() - sent) * 1000)

    async def _end(self, item: tuple[int, Stream | Messages]) -> None:
        _, channel = item
        try:
            with trio.fail_after(HUNG):
                await channel.close()
                await channel.client.end()
        finally:
            await channel.client.vanish()


KINDS = ("upgraded streams", WEBSOCKETS)


async def run(promises: Promises, quick: bool) -> None:
    for kind in KINDS:
        async with launch() as running:
            await hold(promises, running, kind, QUICK if quick else FULL)


async def hold(promises: Promises, running: Running, kind: str, size: Size) -> None:
    descriptors = await warm_up(running, kind, size)
    before = running.resident()
    crowd = Crowd(running, kind, size)
    await crowd.open()
    opened = running.resident()
    await crowd.echo()
    echoed = running.resident()
    look = await running.look()
    await crowd.end()
    after = await running.settled(descriptors, 5)
    count, upgraded = size.connections, look.server["upgraded"]
    promises.check(
        f"{count:,} {kind} are held at once, each echoing every {size.interval:g} s for {size.seconds:g} s",
        f"{upgraded:,} held at the end, lost: {crowd.lost[:3] or 'none'}, {len(crowd.times):,} echoes: "
        f"{describe(crowd.times)}",
        not crowd.lost and upgraded == count and len(crowd.times) == count * size.rounds,
    )
    first, last = ((resident - before) / count for resident in (opened, echoed))
    promises.check(
        f"each of the {kind} costs less than {size.memory:,} bytes of resident memory",
        f"{first:,.0f} bytes when all are open, {last:,.0f} when they have echoed; "
        f"{before / 2**20:.1f} MiB for the process without them",
        max(first, last) < size.memory,
    )
    promises.check(f"the {kind} end in order", f"{descriptors} descriptors before, {after} after", after <= descriptors)
    promises.check("the server logs no error", f"{look.logged} records", look.logged == 0)


async def warm_up(running: Running, kind: str, size: Size) -> int:
    """Let the server make what it makes once, so that it does not count as a connection's; its descriptors."""
    await running.look()
    descriptors = running.descriptors()
    crowd = Crowd(running, kind, Size(WARM_UP, 0, size.interval, size.memory))
    await crowd.open()
    await crowd.end()
    return await running.settled(descriptors, 5)
