"""A shutdown under load: whoever was heard is answered, whole, and it ends within its time."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from trio_upgrade import Limits

from .launch import Running, launch
from .pattern import Pattern
from .promises import Promises
from .wire import Messages, Reply, Wire, Wrong, get, post, upgrade

__all__ = ["run"]

GRACE = 20
SHORT_GRACE = 2
LATE = 2  # seconds that ending everything takes on a busy machine
BODY = 20_000
CONTENT = 100_000


class Clients:
    """Clients that each have something under way when the shutdown begins.

    Attributes:
      done: how many of each kind got all that they were promised.
      wrong: what others got instead.
      late: how many were answered after the shutdown had begun, among those that the stopped server had not seen.
      stopped: the server is stopped: now those come that it finds queued.
      refused: the shutdown has begun, and new connections are refused.
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.late = 0
        self.stopped = trio.Event()
        self.refused = trio.Event()
        self.ready = 0

    async def run(self, kind: Kind) -> None:
        """Run a client to its end."""
        wire = await self.running.open()
        try:
            with trio.fail_after(60):
                await kind.client(self, wire)
            self.done[kind.name] += 1
        except (Wrong, OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            self.wrong.append(f"{kind.name}: {exc!r}")
        finally:
            await wire.aclose()

    def note(self, reply: Reply) -> None:
        self.late += says_close(reply)

    # ---- under way when the shutdown begins

    async def streamed(self, wire: Wire) -> None:
        """A response is on its way: by the time it is asked to close, its head is sent."""
        await wire.send(get(f"/paced/streamed/{CONTENT}"))
        self.ready += 1
        await wire.response(Pattern("streamed"), CONTENT)
        await wire.end()

    async def body(self, wire: Wire) -> None:
        """A request's head has arrived, and half of its body."""
        body = Pattern("body").take(BODY)
        await wire.send(post(f"/echo/body/{BODY}", BODY) + body[: BODY // 2])
        self.ready += 1
        await self.refused.wait()
        await wire.send(body[BODY // 2 :])
        if not says_close(await wire.response(Pattern("body"), BODY)):
            raise Wrong("a response during a shutdown that does not say Connection: close")
        await wire.end()

    async def stream(self, wire: Wire) -> None:
        """An upgraded stream echoes, and says goodbye."""
        await wire.send(upgrade("/goodbye"))
        await wire.head(101)
        await wire.send(Pattern("stream").take(BODY))
        await wire.pattern(Pattern("stream"), BODY)
        self.ready += 1
        await goodbye(wire, BODY)

    async def messages(self, wire: Wire) -> None:
        """A WebSocket echoes, and is closed with 1001."""
        channel = await Messages.open(wire, "/messages")
        await channel.echo(b"hello")
        self.ready += 1
        await channel.closed(1001)

    async def idle(self, wire: Wire) -> None:
        """A connection is kept, and sends its next request just before the shutdown."""
        await wire.send(get("/okay"))
        await wire.okay()
        self.ready += 1
        await self.stopped.wait()
        await wire.send(get("/okay"))
        self.ready += 1
        self.note(await wire.okay())
        await wire.end()

    # ---- queued on the listener

    async def queued(self, wire: Wire) -> None:
        await wire.send(post(f"/echo/queued/{BODY}", BODY) + Pattern("queued").take(BODY))
        self.ready += 1
        self.note(await wire.response(Pattern("queued"), BODY))
        await wire.end()

    async def queued_stream(self, wire: Wire) -> None:
        await wire.send(upgrade("/goodbye"))
        self.ready += 1
        await wire.head(101)
        await goodbye(wire, 0)


@dataclass(frozen=True)
class Kind:
    """Some of the clients, and what they are promised."""

    count: int
    name: str
    client: Callable[[Clients, Wire], Awaitable[None]]
    promise: str


IDLE = Kind(50, "next requests on kept connections", Clients.idle, "get their whole response")
REQUESTS = [
    Kind(100, "streamed responses", Clients.streamed, "end whole"),
    Kind(100, "requests whose body is arriving", Clients.body, "get their whole response"),
]
STREAMS = [
    Kind(150, "upgraded streams", Clients.stream, "finish their goodbye"),
    Kind(50, "WebSockets", Clients.messages, "are closed with 1001"),
]
QUEUED = [
    Kind(200, "requests queued on the listener", Clients.queued, "get their whole response"),
    Kind(50, "upgrades queued on the listener", Clients.queued_stream, "get a 101 and a goodbye"),
]


def total(kinds: Iterable[Kind]) -> int:
    return sum(kind.count for kind in kinds)


def says_close(reply: Reply) -> bool:
    return reply.headers.get("connection") == "close"


async def goodbye(wire: Wire, count: int) -> None:
    if (line := await wire.rest()) != b"goodbye after %d bytes\n" % count:
        raise Wrong(f"{line!r} instead of a goodbye")


async def run(promises: Promises, quick: bool) -> None:
    """It takes seconds anyway, so the quick one is the same."""
    async with launch(Limits(keep_alive_timeout=60), grace=GRACE) as running:
        await shut_down_under_load(promises, running)
    async with launch(grace=SHORT_GRACE) as running:
        await shut_down_the_stubborn(promises, running)


async def shut_down_under_load(promises: Promises, running: Running) -> None:
    clients = Clients(running)
    async with trio.open_nursery() as nursery:
        await start(nursery, clients, [*REQUESTS, *STREAMS, IDLE])
        under_way = await count(running)
        stop(running, clients)
        await start(nursery, clients, QUEUED, already=[IDLE])
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGCONT)
        nursery.start_soon(check_refused, promises, clients)
        with trio.fail_after(60):
            seconds, status = await running.ended()
    promises.check(
        f"{total(REQUESTS)} requests and {total(STREAMS)} streams are under way",
        "{} and {}".format(*under_way),
        under_way == (total(REQUESTS), total(STREAMS)),
    )
    check_answered(promises, clients)
    promises.check(
        f"serve_tcp and serve_ssl_over_tcp return within the grace time of {GRACE} s",
        f"after {seconds:.2f} s, exit status {status}",
        seconds <= GRACE and status == 0,
    )


async def start(nursery: trio.Nursery, clients: Clients, kinds: list[Kind], already: Iterable[Kind] = ()) -> None:
    """Start clients, and wait until they and those that run already are ready."""
    for kind in kinds:
        for _ in range(kind.count):
            nursery.start_soon(clients.run, kind)
    with trio.fail_after(60):
        while clients.ready < total([*kinds, *already]):  # noqa: ASYNC110  # many clients count
            await trio.sleep(0.05)


async def count(running: Running) -> tuple[int, int]:
    """How many requests and streams are under way, once the server has seen what was sent."""
    under_way = 0, 0
    with trio.move_on_after(10):
        while under_way != (total(REQUESTS), total(STREAMS)):
            look = await running.look()
            under_way = look.server["active"] - 1, look.server["upgraded"]
    return under_way


def stop(running: Running, clients: Clients) -> None:
    """Stop the server, so that what comes now is queued: the kernel takes connections without it."""
    running.process.send_signal(signal.SIGSTOP)
    clients.ready = 0
    clients.stopped.set()


def check_answered(promises: Promises, clients: Clients) -> None:
    done = clients.done
    for kind in [*REQUESTS, *STREAMS, IDLE, *QUEUED]:
        others = [one for one in clients.wrong if one.startswith(kind.name)]
        promises.check(
            f"{kind.count} {kind.name} {kind.promise}",
            f"{done[kind.name]} did{f', others: {others[:3]}' if others else ''}",
            done[kind.name] == kind.count,
        )
    promises.check(
        "requests that nobody has looked at when the shutdown begins are among these",
        f"{clients.late} were",
        clients.late > 0,
    )


async def check_refused(promises: Promises, clients: Clients) -> None:
    """New connections are refused while old ones still have something to do: some wait for just this."""
    begin = trio.current_time()
    refused = False
    with trio.move_on_after(GRACE / 2):
        while not refused:
            try:
                await (await clients.running.open()).aclose()
            except (ConnectionRefusedError, ConnectionResetError):
                refused = True
            await trio.sleep(0.05)
    clients.refused.set()
    seconds = trio.current_time() - begin
    promises.check("the listener closes first", f"{'after' if refused else 'not within'} {seconds:.2f} s", refused)


async def shut_down_the_stubborn(promises: Promises, running: Running) -> None:
    """What does not end by itself is ended."""
    wires = []
    for number in range(40):
        wire = await running.open()
        await wire.send(upgrade("/held") if number % 2 else get("/endless"))
        await wire.head(101 if number % 2 else 200)
        wires.append(wire)
    running.process.send_signal(signal.SIGTERM)
    with trio.fail_after(60):
        seconds, status = await running.ended()
    for wire in wires:
        await wire.aclose()
    promises.check(
        f"40 handlers that do not end are ended after the grace time of {SHORT_GRACE} s",
        f"after {seconds:.2f} s, exit status {status}",
        SHORT_GRACE - 0.1 <= seconds <= SHORT_GRACE + LATE and status == 0,
    )
