"""Mixed load for long: memory and descriptors stay flat, and not one byte is wrong."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from trio_upgrade import Limits

from ..support.client import chunked, get, post, post_head, reset, upgrade
from ..support.websocket_client import TEXT, frame
from .client import Messages, PatternClient
from .launch import Running, launch
from .pattern import Pattern
from .promises import Promises

__all__ = ["run"]

# What is sent and received is the matter here, not when: a machine that stops for seconds shall not count.
PATIENT = Limits(header_timeout=120, keep_alive_timeout=120, tls_handshake_timeout=120, send_timeout=120)

MOST = 200_000  # bytes of a body, a response or a stream
HUNG = 60  # seconds that no exchange takes
PAUSE = 0.1  # seconds between two exchanges of a worker, at most

# glibc raises this threshold by itself, and then keeps the memory of large buffers for good: as much as the worst
# coincidence of large messages needed. Fixed, what is left is what the server holds.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(64 * 1024)}


@dataclass(frozen=True)
class Size:
    """How long, in minutes of so many seconds, and what counts as flat."""

    minutes: int
    minute: float
    growth: float

    @property
    def seconds(self) -> float:
        return self.minutes * self.minute


FULL = Size(minutes=10, minute=60, growth=0.1)
QUICK = Size(minutes=5, minute=2, growth=0.5)  # so short a run still warms up


class Load:
    """The clients of one run.

    Attributes:
      done: how many exchanges of each kind were right to their end, or to where they were cut.
      wrong: what was not.
      verified: bytes that came as they should.
      resident, descriptors: of the server, at least once a second.
    """

    def __init__(self, running: Running, size: Size) -> None:
        self.running = running
        self.size = size
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.verified = 0
        self.resident: list[int] = []
        self.descriptors: list[int] = []
        begin = trio.current_time()
        self._end_of_first_minute, self._end = begin + size.minute, begin + size.seconds

    async def run(self) -> None:
        """In the first minute with twice the clients, so that whatever grows with the load has grown by then."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample)
            for number, (kind, exchange) in enumerate(WORKERS):
                nursery.start_soon(self._work, kind, exchange, random.Random(number), self._end)
                nursery.start_soon(self._work, kind, exchange, random.Random(-1 - number), self._end_of_first_minute)

    async def _sample(self) -> None:
        while trio.current_time() < self._end:
            self.resident.append(self.running.resident())
            self.descriptors.append(self.running.descriptors())
            await trio.sleep(min(self.size.minute / 10, 1))

    async def _work(self, kind: str, exchange: Exchange, rng: random.Random, end: float) -> None:
        tls = kind.endswith("TLS")
        while trio.current_time() < end:
            try:
                with trio.fail_after(HUNG):
                    await self._exchange(exchange, tls, rng)
                self.done[kind] += 1
            except* (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError) as group:
                self.wrong.append(f"{kind}: {group.exceptions!r}")
            await trio.sleep(rng.uniform(0, PAUSE))

    async def _exchange(self, exchange: Exchange, tls: bool, rng: random.Random) -> None:
        client = await self.running.open(tls=tls)
        try:
            await exchange(client, rng)
        finally:
            self.verified += client.verified
            await client.vanish()

    def by_minute(self, samples: list[int]) -> list[list[int]]:
        """The samples of each minute."""
        minute = len(samples) / self.size.minutes
        return [samples[round(number * minute) : round((number + 1) * minute)] for number in range(self.size.minutes)]


# ---- exchanges: each has a connection to itself

Exchange = Callable[[PatternClient, random.Random], Awaitable[None]]


class Stream:
    """An upgraded stream: what is sent on it, and what is to come back."""

    def __init__(self, name: str) -> None:
        self.sent, self.expected = Pattern(name), Pattern(name)


def new_name(rng: random.Random) -> str:
    return f"{rng.getrandbits(64):x}"


async def send_in_parts(client: PatternClient, data: bytes, rng: random.Random) -> None:
    """Send in packets of any size."""
    while data:
        size = rng.choice([1, 100, 5_000, 70_000])
        await client.send(data[:size])
        data = data[size:]


def in_chunks(data: bytes, rng: random.Random) -> bytes:
    """A chunked body, in chunks of any size."""
    chunks = []
    while data:
        chunks.append(data[: rng.randint(1, 20_000)])
        data = data[len(chunks[-1]) :]
    return chunked(*chunks)


async def requests(client: PatternClient, rng: random.Random) -> None:
    """Requests with bodies on one connection, with other requests pipelined after them."""
    for _ in range(rng.randint(1, 4)):
        name, size = new_name(rng), rng.randint(0, MOST)
        body = Pattern(name).take(size)
        target = f"/echo/{name}/{size}"
        if rng.random() < 0.5:
            request = post(body, target=target)
        else:
            request = get(target, b"Transfer-Encoding: chunked\r\n", "POST") + in_chunks(body, rng)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_parts, client, request + get("/okay"), rng)
            await client.response(Pattern(name), size)
            await client.okay()


async def responses(client: PatternClient, rng: random.Random) -> None:
    """Streamed responses, with a length and without."""
    for _ in range(rng.randint(1, 4)):
        name, size = new_name(rng), rng.randint(0, MOST)
        await client.send(get(f"/pattern/{name}/{size}{rng.choice(['', '?length'])}"))
        await client.response(Pattern(name), size)


async def shake(client: PatternClient, rng: random.Random) -> Stream:
    """Upgrade, with a body that is read or not, and the first bytes of the stream right after it."""
    name, size = new_name(rng), rng.randint(1, MOST)
    body = Pattern(name).take(size)
    code = rng.random() < 0.5
    framing = b"Transfer-Encoding: chunked\r\n" if code else b"Content-Length: %d\r\n" % size
    target = f"/stream/{name}/{size}{rng.choice(['', '?unread'])}"
    head = upgrade(framing, target=target)
    stream = Stream(f"{name} stream")
    first = stream.sent.take(1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_in_parts, client, head + (in_chunks(body, rng) if code else body) + first, rng)
        await client.head(101)
        await client.pattern(stream.expected, len(first))
    return stream


async def echo_stream(client: PatternClient, stream: Stream, size: int, rng: random.Random) -> None:
    """Send what is next of a stream, and read it back meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_in_parts, client, stream.sent.take(size), rng)
        await client.pattern(stream.expected, size)


async def upgrades(client: PatternClient, rng: random.Random) -> None:
    """An upgrade with a body, and a stream that is echoed to its end."""
    stream = await shake(client, rng)
    for _ in range(rng.randint(0, 4)):
        await echo_stream(client, stream, rng.randint(1, MOST), rng)
    if isinstance(client.stream, trio.SocketStream):
        await client.send_eof()
        await client.end()
    else:
        await client.aclose()


async def messages(client: PatternClient, rng: random.Random) -> None:
    """A WebSocket whose messages are echoed, in one frame or several."""
    channel = await Messages.open(client, "/messages")
    for _ in range(rng.randint(1, 10)):
        data = Pattern(new_name(rng)).take(rng.choice([0, 10, 125, 126, 5_000, 65_535, 65_536, MOST]))
        if rng.random() < 0.5:
            await channel.echo(data, parts=rng.randint(1, 4))
        else:
            await channel.echo(data.hex().encode(), TEXT, parts=rng.randint(1, 4))
    await channel.close()


async def cut_request(client: PatternClient, rng: random.Random) -> None:
    """A request with a body, an upgrade's or not, that ends at any byte."""
    name, size = new_name(rng), rng.randint(1, MOST)
    head = post_head(size, target=f"/echo/{name}/{size}")
    if rng.random() < 0.5:
        head = upgrade(b"Content-Length: %d\r\n" % size, target=f"/stream/{name}/{size}")
    request = head + Pattern(name).take(size)
    await send_in_parts(client, request[: rng.randint(0, rng.choice([len(head), len(request) - 1]))], rng)


async def cut_response(client: PatternClient, rng: random.Random) -> None:
    """A response that is read to any byte."""
    name, size = new_name(rng), rng.randint(MOST, 20 * MOST)
    await client.send(get(f"/pattern/{name}/{size}?length"))
    await client.head(200)
    await client.pattern(Pattern(name), rng.randint(0, size))


async def cut_stream(client: PatternClient, rng: random.Random) -> None:
    """An upgraded stream that ends in the middle of an echo."""
    stream = await shake(client, rng)
    try:
        with trio.move_on_after(rng.uniform(0, 0.02)) as scope:
            await echo_stream(client, stream, MOST, rng)
    except* trio.BrokenResourceError:
        if not scope.cancel_called:
            raise  # a cancelled send breaks our own end of a TLS connection, and nothing else may


async def cut_messages(client: PatternClient, rng: random.Random) -> None:
    """A WebSocket that ends in the middle of a frame."""
    channel = await Messages.open(client, "/messages")
    await channel.echo(Pattern(new_name(rng)).take(1000))
    whole = frame(TEXT, b"cut short" * 1000)
    await client.send(whole[: rng.randrange(len(whole))])


async def aborts(client: PatternClient, rng: random.Random) -> None:
    """Any of those, and then a reset or a plain end."""
    await rng.choice([cut_request, cut_response, cut_stream, cut_messages])(client, rng)
    if rng.random() < 0.5:
        reset(client)


EXCHANGES: dict[str, Exchange] = {
    "requests with bodies": requests,
    "streamed responses": responses,
    "upgrades with bodies": upgrades,
    "WebSockets": messages,
    "aborts and resets": aborts,
}
WORKERS = [
    (kind + transport, exchange)
    for kind, exchange in EXCHANGES.items()
    for transport in ("", "", "", " over TLS", " over TLS")
]


async def run(promises: Promises, quick: bool) -> None:
    size = QUICK if quick else FULL
    async with launch(PATIENT, environment=GIVE_BACK) as running:
        before = await running.warm_up()
        load = Load(running, size)
        await load.run()
        after = await running.settled(before, 10)
        look = await running.look()
    done = ", ".join(f"{load.done[kind]:,} {kind}" for kind in sorted(load.done))
    promises.check(
        f"not one byte is wrong in {size.seconds:g} s of mixed load",
        f"{load.verified:,} bytes verified by the clients, wrong: {load.wrong[:3] or 'none'}; {done}",
        not load.wrong and set(load.done) == {kind for kind, _ in WORKERS},
    )
    promises.check("not one byte is wrong at the server", f"{look.mistakes} mistakes", look.mistakes == 0)
    check_flat(promises, load, before)
    promises.check("no descriptor is left over", f"{before} before, {after} after", after <= before)
    promises.check("nothing is left open", f"{look.server['open']} open, the one that asks", look.server["open"] == 1)
    promises.check("the server logs no error", f"{look.logged} records", look.logged == 0)


def check_flat(promises: Promises, load: Load, before: int) -> None:
    """Compare the later minutes with the second one.

    Memory by the least of each minute, since what is under way comes and goes, and what leaks stays; descriptors
    with those of before: a client has one, and one that it has left may linger.
    """
    size = load.size
    mebibytes = [min(minute) / 2**20 for minute in load.by_minute(load.resident)]
    growth = max(mebibytes[2:]) / mebibytes[1] - 1
    promises.check(
        f"resident memory grows less than {size.growth:.0%} after the second {size.minute:g} s",
        f"{growth:+.1%}; the least of each {' '.join(f'{value:.1f}' for value in mebibytes)} MiB",
        growth < size.growth,
    )
    descriptors = [statistics.median(minute) for minute in load.by_minute(load.descriptors)]
    most = before + 2 * len(WORKERS)
    promises.check(
        f"descriptors are at most two for each of {len(WORKERS)} clients after the first {size.minute:g} s",
        f"{before} before; medians {' '.join(f'{value:g}' for value in descriptors)}",
        max(descriptors[1:]) <= most,
    )
