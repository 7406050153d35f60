"""The store that several nodes of the chat share: Redis, or Valkey, by way of coredis.

What is said anywhere goes into one stream, the feed. Each node reads it once, for all of its
people, and after a lost connection from where it was. Who is in a room is state that every node
renews; the feed only says that it has changed. So nothing depends on a notice that got lost.

Keys, all in one slot of Redis Cluster: `{chat}:feed`; `{chat}:said:ROOM`, a stream of the room's
messages with the ids of the feed; `{chat}:receipt:ROOM:SENDER:UID`, the id of what was sent so;
and `people`, `names`, `nodes` and `version` of each room.
"""

import contextlib
import json
import logging
import random
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import trio
from coredis import Redis
from coredis.exceptions import RedisError
from coredis.response.types import StreamEntry
from coredis.retry import NoRetryPolicy

from .scripts import APPEND, MEET
from .store import HISTORY, HISTORY_SIZE, PEOPLE, Audience, Away, Full, Message, NameTaken, TakenOver, Visitor, order

__all__ = ["RedisStore", "open_redis_store"]

T = TypeVar("T")

logger = logging.getLogger("chat.redis")

TIMEOUT = 5  # seconds for a command; less than the page's patience
BLOCK = 2  # seconds that a read of the feed waits for something
BATCH = 200  # entries of the feed that are read at once
FEED_LENGTH = 20_000  # entries: a node that was away for longer lets its people enter again
ROOM_SECONDS = 30 * 86400  # that a room is remembered in which nothing is said
RECEIPT_SECONDS = 86400  # that a message is known when it is sent again
HEARTBEAT = 3  # seconds between the signs of life of a node
NODE_SECONDS = 10  # until its people are gone
FIRST_DELAY, LONGEST_DELAY = 0.1, 5  # seconds until Redis is tried again
STABLE = 10  # seconds that a good connection lasts
FAREWELL = 2  # seconds to say who has left, when a node ends

FEED = "{chat}:feed"
ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
WHY: dict[str, Callable[[], Exception]] = {
    "taken over": TakenOver,
    "name taken": NameTaken,
    "full": lambda: Full("This room is full."),
}

# What a command may raise where Redis is not there, hangs, or cannot do it.
FAILURES = (RedisError, OSError, trio.TooSlowError)


@contextlib.asynccontextmanager
async def open_redis_store(url: str) -> AsyncIterator["RedisStore"]:
    """A store in the Redis at `url`, such as redis://localhost:6379/0, for as long as the block.

    It need not be there yet.

    Raises:
      ValueError: this is no URL of a Redis.
    """
    store = RedisStore(url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        yield store
        await store.take_leave()
        nursery.cancel_scope.cancel()


class RedisStore:
    """See `Store`. It works while `run` runs."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis is named by a URL such as redis://localhost:6379")
        self.audience = Audience()
        self._url = url
        self._place = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        self._node = secrets.token_hex(8)
        self._position = ""  # in the feed
        self._client: Redis[str] | None = None  # while it works
        self._broken = trio.Event()
        self._visitors: dict[str, dict[str, Visitor]] = {}  # in each room, those of this node
        self._versions: dict[str, int] = {}
        self._due: set[str] = set()  # rooms that are to be looked after at once
        self._wake = trio.Event()
        self._meeting = trio.Lock()  # what this node says of its people must arrive in order

    # ---- what the rooms ask for

    async def append(self, room: str, sender: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        keys = [f"{{chat}}:receipt:{room}:{sender}:{uid}", FEED, said(room)]
        limits = [FEED_LENGTH, HISTORY, ROOM_SECONDS, RECEIPT_SECONDS]
        message_id, is_new = await self._run_script(APPEND, keys, [room, sender, uid, name, text, *limits])
        return Message(message_id, uid, sender, name, text, time_of(message_id)), bool(is_new)

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        entries: list[Message] = []
        if ID.fullmatch(last):
            entries = await self._latest(room, last, HISTORY + 1)
        if entries and entries[-1].id == last:
            messages, missed = entries[:-1], False
        else:
            messages, missed = await self._latest(room, "-", HISTORY), bool(last)
        size = 0
        for count, message in enumerate(messages):
            size += len(message.text.encode())
            if size > HISTORY_SIZE:
                messages, missed = messages[:count], bool(last)
                break
        return messages[::-1], missed

    async def _latest(self, room: str, start: str, count: int) -> list[Message]:
        """The latest messages of a room from `start` on, the last one first."""
        client = await self._connected()
        entries = await self._done(client, client.xrevrange(said(room), end="+", start=start, count=count))
        return [message_of(*read(entry)) for entry in entries]

    async def enter(self, room: str, visitor: Visitor) -> None:
        before = self._visitors.get(room, {}).get(visitor.id)
        try:
            await self._meet(room, visitor)
        except BaseException:
            self._look_after(room)  # Redis may have let them in
            raise
        if before is not None:
            self.audience.expel(room, before, TakenOver())

    def leave(self, room: str, visitor: Visitor) -> None:
        visitors = self._visitors.get(room, {})
        if visitors.get(visitor.id) == visitor:
            del visitors[visitor.id]
            if not visitors:
                del self._visitors[room]
            self._look_after(room)

    # ---- who is in a room

    async def _meet(self, room: str, newcomer: Visitor | None = None) -> None:
        """Say whom this node has in a room, and show who else is there.

        Raises:
          NameTaken, Full: the newcomer is not let in.
          Away: nobody knows.
        """
        async with self._meeting:
            visitors = dict(self._visitors.get(room, {}))
            if newcomer:
                visitors[newcomer.id] = newcomer
            mine = [{**asdict(visitor), "key": visitor.key, "node": self._node} for visitor in visitors.values()]
            keys = [f"{{chat}}:{kind}:{room}" for kind in ("people", "names", "nodes", "version")]
            arguments = [room, self._node, newcomer.id if newcomer else "", json.dumps(mine)]
            limits = [PEOPLE, NODE_SECONDS * 1000, FEED_LENGTH]
            version, people, lost = await self._run_script(MEET, [*keys, FEED], [*arguments, *limits])
            refused = dict(pairs(lost))
            if newcomer and newcomer.id in refused:
                raise WHY[refused[newcomer.id]]()
            if newcomer:
                self._visitors.setdefault(room, {})[newcomer.id] = newcomer
        for who, why in refused.items():
            self._expel(room, visitors[who], WHY[why]())
        if room in self._visitors:
            self._versions[room] = int(version)
        else:
            self._versions.pop(room, None)
        self.audience.see(room, int(version), {who: json.loads(person)["name"] for who, person in pairs(people)})

    def _expel(self, room: str, visitor: Visitor, why: Exception) -> None:
        self.leave(room, visitor)
        self.audience.expel(room, visitor, why)

    def _look_after(self, room: str) -> None:
        self._due.add(room)
        self._wake.set()

    async def _look_after_rooms(self) -> None:
        """Renew who is there: now and then everywhere, and at once where something has changed."""
        heartbeat = trio.current_time()
        while True:
            if trio.current_time() >= heartbeat:
                heartbeat = trio.current_time() + HEARTBEAT
                self._due.update(self._visitors)
            while self._due:
                room = self._due.pop()
                try:
                    await self._meet(room)
                except BaseException:
                    self._due.add(room)
                    raise
            with trio.move_on_at(heartbeat):
                await self._wake.wait()
            self._wake = trio.Event()

    async def take_leave(self) -> None:
        """Say who has left, as this node ends."""
        with trio.move_on_after(FAREWELL), contextlib.suppress(Away):
            for room in list(self._due):
                await self._meet(room)

    # ---- the feed

    async def _read_feed(self, client: Redis[str]) -> None:
        """Pass on what was said on any node, in order, each message once."""
        while True:
            with trio.fail_after(BLOCK + TIMEOUT):
                reply = await client.xread({FEED: self._position}, count=BATCH, block=BLOCK * 1000)
            for entry in (reply or {}).get(FEED, ()):
                self._position, fields = read(entry)
                self._take(self._position, fields)
                await trio.lowlevel.checkpoint()

    def _take(self, entry_id: str, fields: Mapping[str, str]) -> None:
        room = fields["room"]
        if fields["kind"] == "message":
            self.audience.hear(room, message_of(entry_id, fields))
        elif room in self._visitors and int(fields["version"]) > self._versions.get(room, -1):
            self._look_after(room)

    async def _find_position(self, client: Redis[str]) -> None:
        """Where to go on in the feed: where this node was, unless what followed is not there any more."""
        newest, oldest = await client.xrevrange(FEED, count=1), await client.xrange(FEED, count=1)
        first, last = (read(entries[0])[0] if entries else "0-0" for entries in (oldest, newest))
        before, self._position = self._position or last, last
        if order(last) < order(before):
            logger.warning("Redis at %s has come back without what was said last", self._place)
        elif order(first) <= order(before) or (before == "0-0" and await client.xlen(FEED) < FEED_LENGTH):
            self._position = before
            return
        self.audience.lost()

    # ---- Redis, and its absence

    async def run(self) -> None:
        """Be connected to Redis, again and again, until cancelled."""
        delay: float = FIRST_DELAY
        level = logging.WARNING
        while True:
            begun = trio.current_time()
            try:
                async with self._connection() as client:
                    logger.info("connected to Redis at %s", self._place)
                    level = logging.WARNING
                    await self._work(client)
            except* (*FAILURES, Away) as group:
                logger.log(level, "Redis at %s is away: %s; trying again", self._place, leaf(group))
            level = logging.DEBUG  # it was said, until there is something new
            self.audience.away()
            delay = FIRST_DELAY if trio.current_time() - begun > STABLE else min(LONGEST_DELAY, delay * 2)
            await trio.sleep(delay * random.uniform(0.5, 1))

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator["Redis[str]"]:
        once = NoRetryPolicy()  # trying again is done here
        async with Redis.from_url(
            self._url, decode_responses=True, connect_timeout=TIMEOUT, retry_policy=once
        ) as client:
            with trio.fail_after(TIMEOUT):
                for script in (APPEND, MEET):
                    await client.script_load(script)
                await self._find_position(client)
            yield client

    async def _work(self, client: "Redis[str]") -> None:
        self._broken = trio.Event()
        self._client = client
        self._due.update(self._visitors)
        self.audience.back()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_feed, client)
                nursery.start_soon(self._look_after_rooms)
                await self._broken.wait()
                raise RedisError("a command has failed")
        finally:
            self._client = None

    async def _connected(self) -> "Redis[str]":
        if self._client is None:
            await trio.lowlevel.checkpoint()
            raise Away(f"Redis at {self._place} is away")
        return self._client

    async def _done(self, client: "Redis[str]", command: Awaitable[T]) -> T:
        """The result of a command. One that fails ends the work of its client: then all know that Redis is away."""
        try:
            with trio.fail_after(TIMEOUT):
                return await command
        except FAILURES as exc:
            if self._client is client:
                self._client = None
                self._broken.set()
            raise Away(f"Redis at {self._place} is away: {exc or type(exc).__name__}") from exc

    async def _run_script(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        client = await self._connected()
        return await self._done(client, client.register_script(script)(keys, arguments))


def said(room: str) -> str:
    """The key of what was said in a room."""
    return f"{{chat}}:said:{room}"


def read(entry: StreamEntry) -> tuple[str, Mapping[str, str]]:
    """The id and the fields of an entry, which are str since the client decodes."""
    return cast(tuple[str, Mapping[str, str]], (entry.identifier, entry.field_values))


def time_of(message_id: str) -> int:
    """When something was said, in milliseconds since 1970 by Redis' clock."""
    return int(message_id.partition("-")[0])


def message_of(message_id: str, fields: Mapping[str, str]) -> Message:
    return Message(message_id, fields["uid"], fields["sender"], fields["name"], fields["text"], time_of(message_id))


def pairs(flat: list[str]) -> Iterator[tuple[str, str]]:
    """The pairs of a list in which each key is followed by its value."""
    return zip(flat[::2], flat[1::2], strict=True)


def leaf(exc: BaseException) -> BaseException:
    """One of the exceptions of a group."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
