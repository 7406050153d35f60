"""Slow clients: ordinary requests do not notice them, and each is gone when its time is up."""

from __future__ import annotations

import json
import math
import ssl
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from trio_upgrade import Limits

from ..support.client import Wrong, get, post_head, upgrade
from .client import PatternClient, WrongByte, connect
from .launch import Running, launch
from .pattern import Pattern
from .probe import Probed
from .promises import Promises, describe, percentile

__all__ = ["run"]

PACE = 0.003  # seconds between two connections that are opened
UNREAD_PACE = 0.02  # of those that do not read: first the server fills the kernel's buffers for each, 2 MB and more
BODY = 10**6
PATIENCE = 10


@dataclass(frozen=True)
class Size:
    """How many clients of each kind, and what is promised: seconds.

    Attributes:
      interval: between two ordinary requests beside them.
      p99: of these.
      late: by how much a client may be there longer than its timeout.
      together: they must all be there at once, however busy the machine is.
    """

    heads: int
    bodies: int
    unread: int
    handshakes: int
    limits: Limits
    interval: float
    p99: float
    late: float
    together: bool

    @property
    def clients(self) -> int:
        return self.heads + self.bodies + self.unread + self.handshakes

    @property
    def longest(self) -> float:
        """How long the last client is there, from now."""
        limits = self.limits
        timeouts = limits.header_timeout, limits.request_timeout, limits.send_timeout, limits.tls_handshake_timeout
        opening = self.clients * PACE + self.unread * UNREAD_PACE
        return max(timeout for timeout in timeouts if timeout) + opening


FULL = Size(
    heads=1600, bodies=400, unread=500, handshakes=200, limits=Limits(), interval=0.02, p99=0.05, late=2, together=True
)
SHORT = Limits(header_timeout=5, request_timeout=6, send_timeout=30, tls_handshake_timeout=4)
# A busy machine is forgiven much, but not that a request waits for the shortest timeout of the others.
QUICK = Size(heads=160, bodies=40, unread=50, handshakes=20, limits=SHORT, interval=0.1, p99=3, late=5, together=False)


class Attack:
    """The slow clients.

    Attributes:
      stayed: for each kind, how many seconds each was there until the server ended it.
      wrong: what clients found that they must not.
      probed: of the ordinary requests beside them.
      together: how many connections the server had when all had come.
      first_handshake: when the first TLS connection came, by `time.monotonic`.
      all_there: when all had come, and when the first one had to go again, likewise.
    """

    def __init__(self, running: Running, size: Size) -> None:
        self.running = running
        self.size = size
        self.stayed: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self.probed = Probed()
        self.together = 0
        self.first_handshake = math.inf
        self.all_there = (math.inf, math.inf)
        self._over = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.probe)
            # Who is still there at the end was never ended.
            with trio.move_on_after(self.size.longest + self.size.late + PATIENCE):
                async with trio.open_nursery() as clients:
                    for _ in range(self.size.unread):
                        clients.start_soon(self.guarded, self.never_read)
                        await trio.sleep(UNREAD_PACE)
                    for client in self.others():
                        clients.start_soon(self.guarded, client)
                        await trio.sleep(PACE)
                    clients.start_soon(self.watch_unread)
                    await self.count()

    async def count(self) -> None:
        """Note when all are there; those in their handshake, which have come last, are the first to go."""
        timeout = self.size.limits.tls_handshake_timeout
        assert timeout is not None
        while self.together < self.size.clients and time.monotonic() < self.first_handshake + timeout:
            opened = (await self.running.look()).server["open"]
            self.together = opened - 2  # less the one that asks, and the one that ordinary requests keep
        self.all_there = (time.monotonic(), self.first_handshake + timeout)

    async def probe(self) -> None:
        """Ordinary requests, in a process of their own, for as long as there are slow clients."""
        arguments = [str(self.running.port), str(self.size.longest), str(self.size.interval)]
        done = await trio.run_process([sys.executable, "-m", "tests.stress.probe", *arguments], capture_stdout=True)
        self.probed = Probed(**json.loads(done.stdout))

    def others(self) -> list[Callable[[], Awaitable[None]]]:
        size = self.size
        target = f"/echo/slow/{BODY}"
        body, upgrade_body = post_head(BODY, target=target), upgrade(b"Content-Length: %d\r\n" % BODY, target=target)
        # Those that are gone first come last, so that all of them are there at the same time.
        clients: list[Callable[[], Awaitable[None]]] = []
        clients += [partial(self.drip, "body", head) for head in [body, upgrade_body] * (size.bodies // 2)]
        clients += [partial(self.drip, "head", b"")] * size.heads
        clients += [partial(self.stop_in_handshake, sent) for sent in hellos(size.handshakes)]
        return clients

    async def guarded(self, client: Callable[[], Awaitable[None]]) -> None:
        """Run a client; what it finds wrong is noted, and the others go on."""
        try:
            await client()
        except (AssertionError, OSError, trio.BrokenResourceError) as exc:
            self.wrong.append(repr(exc))

    async def drip(self, kind: str, head: bytes) -> None:
        """Send a byte a second, of a head that never ends or of a body, until told that it took too long."""
        begin = trio.current_time()
        client = await self.running.open()
        await client.send(head)
        rest = Pattern("slow") if head else Head()
        try:
            while not await self.told(client):
                await client.send(rest.take(1))
            self.stayed[kind].append(trio.current_time() - begin)
        finally:
            await client.vanish()

    async def told(self, client: PatternClient) -> bool:
        """Wait a second for a 408 and the end."""
        with trio.move_on_after(1):
            reply = await client.rest()
            if not reply.startswith(b"HTTP/1.1 408 "):
                raise Wrong(f"{reply[:80]!r} instead of a 408")
            return True
        return False

    async def stop_in_handshake(self, sent: bytes) -> None:
        """Open a TLS connection, send some of what it begins with, and wait for the end."""
        begin = trio.current_time()
        self.first_handshake = min(self.first_handshake, time.monotonic())
        client = await connect(self.running.tls_port)
        try:
            await client.send(sent)
            try:
                await client.rest()
            except trio.BrokenResourceError:
                pass  # a reset is an end, too
            self.stayed["handshake"].append(trio.current_time() - begin)
        finally:
            await client.vanish()

    async def never_read(self) -> None:
        """Ask for more than the kernel buffers, and look at it only when all is over."""
        client = await connect(self.running.port, receive_buffer=4096)
        try:
            await client.send(get("/unread"))
            await self._over.wait()
            await check_cut_response(client)
        finally:
            await client.vanish()

    async def watch_unread(self) -> None:
        """Those that do not read cannot tell when they are dropped: ask the server."""
        dropped = self.stayed["unread"]
        with trio.move_on_after(self.size.longest + self.size.late):
            while len(dropped) < self.size.unread:
                await trio.sleep(0.5)
                dropped[:] = (await self.running.look()).dropped
        self._over.set()


class Head:
    """A request's head that does not end within any timeout."""

    def __init__(self) -> None:
        self._rest = iter(b"GET / HTTP/1.1\r\nX: " + b"x" * 4096)

    def take(self, size: int) -> bytes:
        return bytes([next(self._rest) for _ in range(size)])


def hellos(count: int) -> list[bytes]:
    """What TLS connections may begin with before they stop: nothing, half a ClientHello, a whole one."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    return [(b"", hello[: len(hello) // 2], hello)[number % 3] for number in range(count)]


async def check_cut_response(client: PatternClient) -> None:
    """What came of a response is its beginning, byte for byte."""
    with trio.move_on_after(10):
        pattern = Pattern("unread")
        await client.head(200)
        try:
            while True:
                size = int(await client.line(), 16)
                await client.pattern(pattern, size)
                await client.line()
        except WrongByte:
            raise
        except (Wrong, trio.BrokenResourceError):
            pass  # it was cut


async def run(promises: Promises, quick: bool) -> None:
    size = QUICK if quick else FULL
    async with launch(size.limits) as running:
        before = await running.warm_up()
        attack = Attack(running, size)
        await attack.run()
        after = await running.settled(before, 5)
        look = await running.look()
    check_times(promises, size, attack)
    check_gone(promises, size, attack)
    promises.check("what the slow clients got is right", f"{attack.wrong[:3] or 'every byte'}", not attack.wrong)
    promises.check("no descriptor is left over", f"{before} before, {after} after", after <= before)
    promises.check("nothing is left open", f"{look.server['open']} open, the one that asks", look.server["open"] == 1)
    promises.check("the server logs no error", f"{look.logged} records", look.logged == 0)


def check_times(promises: Promises, size: Size, attack: Attack) -> None:
    probed = attack.probed
    if attack.together >= size.clients or size.together:
        check_together(promises, size, attack)
    check_p99(promises, size, "some or all of them, from first to last,", probed.times)
    promises.note(f"the machine alone made their client late: {describe(probed.late)}")


def check_together(promises: Promises, size: Size, attack: Attack) -> None:
    begin, end = attack.all_there
    probed = attack.probed
    promises.check(
        f"{size.clients:,} slow clients are there at once",
        f"{attack.together:,} connections besides those of ordinary requests, and {end - begin:.1f} s went by "
        "before the first of them had to go",
        attack.together >= size.clients,
    )
    times = [time for time, due in zip(probed.times, probed.due, strict=True) if begin <= due < end]
    if times or size.together:
        check_p99(promises, size, "all of them", times)


def check_p99(promises: Promises, size: Size, whom: str, times: list[float]) -> None:
    promises.check(
        f"ordinary requests beside {whom} have a p99 below {size.p99 * 1000:.0f} ms",
        f"{describe(times)}, of {len(times):,}",
        percentile(times, 99) < size.p99 * 1000,
    )


def check_gone(promises: Promises, size: Size, attack: Attack) -> None:
    """Each kind is there until its timeout, and not longer."""
    limits = size.limits
    stayed = attack.stayed
    for what, count, times, timeout in [
        ("that send a head a byte a second get a 408", size.heads, stayed["head"], limits.header_timeout),
        ("that send a body a byte a second get a 408", size.bodies, stayed["body"], limits.request_timeout),
        ("that stop in the TLS handshake are gone", size.handshakes, stayed["handshake"], limits.tls_handshake_timeout),
        ("that never read are dropped", size.unread, stayed["unread"], limits.send_timeout),
    ]:
        check_kind(promises, size, f"{count:,} {what}", count, times, timeout)


def check_kind(
    promises: Promises, size: Size, what: str, count: int, times: list[float], timeout: float | None
) -> None:
    assert timeout is not None
    first, last = min(times, default=math.nan), max(times, default=math.nan)
    promises.check(
        f"{what} after {timeout:g} s",
        f"{len(times):,} of them, the first after {first:.2f} s, the last after {last:.2f} s",
        len(times) == count and timeout <= first and last <= timeout + size.late,
    )
