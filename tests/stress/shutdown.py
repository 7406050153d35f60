"""A shutdown under load: whoever was heard is answered, whole, and it ends within its time."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from trio_upgrade import Limits

from ..support.client import Reply, Wrong, get, post, upgrade
from .client import Messages, PatternClient
from .launch import Running, launch
from .pattern import Pattern
from .promises import Promises

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
        client = await self.running.open()
        try:
            with trio.fail_after(60):
                await kind.client(self, client)
            self.done[kind.name] += 1
        except (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            self.wrong.append(f"{kind.name}: {exc!r}")
        finally:
            await client.vanish()

    def note(self, reply: Reply) -> None:
        self.late += reply.closes

    # ---- under way when the shutdown begins

    async def streamed(self, client: PatternClient) -> None:
        """A response is on its way: by the time it is asked to close, its head is sent."""
        await client.send(get(f"/paced/streamed/{CONTENT}"))
        self.ready += 1
        await client.response(Pattern("streamed"), CONTENT)
        await client.end()

    async def body(self, client: PatternClient) -> None:
        """A request's head has arrived, and half of its body."""
        body = Pattern("body").take(BODY)
        request = post(body, target=f"/echo/body/{BODY}")
        await client.send(request[: -BODY // 2])
        self.ready += 1
        await self.refused.wait()
        await client.send(request[-BODY // 2 :])
        if not (await client.response(Pattern("body"), BODY)).closes:
            raise Wrong("a response during a shutdown that does not say Connection: close")
        await client.end()

    async def stream(self, client: PatternClient) -> None:
        """An upgraded stream echoes, and says goodbye."""
        await client.send(upgrade(target="/goodbye"))
        await client.head(101)
        await client.send(Pattern("stream").take(BODY))
        await client.pattern(Pattern("stream"), BODY)
        self.ready += 1
        await goodbye(client, BODY)

    async def messages(self, client: PatternClient) -> None:
        """A WebSocket echoes, and is closed with 1001."""
        channel = await Messages.open(client, "/messages")
        await channel.echo(b"hello")
        self.ready += 1
        await channel.closed(1001)

    async def idle(self, client: PatternClient) -> None:
        """A connection is kept, and sends its next request just before the shutdown."""
        await client.send(get("/okay"))
        await client.okay()
        self.ready += 1
        await self.stopped.wait()
        await client.send(get("/okay"))
        self.ready += 1
        self.note(await client.okay())
        await client.end()

    # ---- queued on the listener

    async def queued(self, client: PatternClient) -> None:
        await client.send(post(Pattern("queued").take(BODY), target=f"/echo/queued/{BODY}"))
        self.ready += 1
        self.note(await client.response(Pattern("queued"), BODY))
        await client.end()

    async def queued_stream(self, client: PatternClient) -> None:
        await client.send(upgrade(target="/goodbye"))
        self.ready += 1
        await client.head(101)
        await goodbye(client, 0)


@dataclass(frozen=True)
class Kind:
    """Some of the clients, and what they are promised."""

    count: int
    name: str
    client: Callable[[Clients, PatternClient], Awaitable[None]]
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


async def goodbye(client: PatternClient, count: int) -> None:
    if (line := await client.rest()) != b"goodbye after %d bytes\n" % count:
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
                await (await clients.running.open()).vanish()
            except (ConnectionRefusedError, ConnectionResetError):
                refused = True
            await trio.sleep(0.05)
    clients.refused.set()
    seconds = trio.current_time() - begin
    promises.check("the listener closes first", f"{'after' if refused else 'not within'} {seconds:.2f} s", refused)


async def shut_down_the_stubborn(promises: Promises, running: Running) -> None:
    """What does not end by itself is ended."""
    clients = []
    for number in range(40):
        client = await running.open()
        await client.send(upgrade(target="/held") if number % 2 else get("/endless"))
        await client.head(101 if number % 2 else 200)
        clients.append(client)
    running.process.send_signal(signal.SIGTERM)
    with trio.fail_after(60):
        seconds, status = await running.ended()
    for client in clients:
        await client.vanish()
    promises.check(
        f"40 handlers that do not end are ended after the grace time of {SHORT_GRACE} s",
        f"after {seconds:.2f} s, exit status {status}",
        SHORT_GRACE - 0.1 <= seconds <= SHORT_GRACE + LATE and status == 0,
    )
