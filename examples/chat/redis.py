"""The store that several nodes of the chat share: Redis, or Valkey, by way of coredis.

What is said anywhere goes into one stream, the feed. Each node reads it once, for all of its
people, and after a lost connection from where it was. Who is in a room is state that every node
renews; the feed only says that it has changed. So nothing depends on a notice that got lost.

Keys: `{chat}:feed`; `{chat}:nodes`, until when each node is alive; `{chat}:said:ROOM`, a stream of the
room's messages with the ids of the feed; `{chat}:receipt:ROOM:SENDER:UID`, the id of what was sent so;
and `people`, `names` and `version` of each room.
"""

import contextlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, cast

import trio
from coredis.response.types import StreamEntry

from .link import TIMEOUT, Client, Link
from .scripts import APPEND, BEAT, MEET
from .store import HISTORY, HISTORY_SIZE, PEOPLE, Audience, Away, Full, Message, NameTaken, TakenOver, Visitor, order

__all__ = ["RedisStore", "open_redis_store"]

logger = logging.getLogger("chat.redis")

BLOCK = 2  # seconds that a read of the feed waits for something
BATCH = 200  # entries of the feed that are read at once
FEED_LENGTH = 200_000  # entries, some 70 MB: a node that was away for longer lets its people enter again
ROOM_LENGTH = 1000  # messages kept of a room: who comes back gets all that were missed
ROOM_SECONDS = 7 * 86400  # that a room is remembered in which nothing is said
RECEIPT_SECONDS = 86400  # that a message is known when it is sent again
HEARTBEAT = 3  # seconds between the signs of life of a node
NODE_SECONDS = 10  # after the last of them, until its people are gone
RENEWAL = 30  # seconds after which a node says whom it has in each room, though nothing has happened
FAREWELL = 2  # seconds to say who has left, when a node ends

FEED, NODES = "{chat}:feed", "{chat}:nodes"
START = "0-0"  # before every entry
ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
WHY: dict[str, Callable[[], Exception]] = {
    "taken over": TakenOver,
    "name taken": NameTaken,
    "full": lambda: Full("This room is full."),
}


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
        self.audience = Audience()
        self._link = Link(url)
        self._node = secrets.token_hex(8)
        self._others: set[str] = set()  # nodes that are alive
        self._position = ""  # in the feed
        self._visitors: dict[str, dict[str, Visitor]] = {}  # in each room, those of this node
        self._versions: dict[str, int] = {}
        self._due: set[str] = set()  # rooms that are to be looked after
        self._wake = trio.Event()
        self._turns = [trio.Lock() for _ in range(64)]  # what is said of a room's people must arrive in order

    async def run(self) -> None:
        """Be connected to Redis, again and again, until cancelled."""
        await self._link.run(self._begin, self._work, lambda: self.audience.away())

    # ---- what the rooms ask for

    async def append(self, room: str, sender: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        keys = [f"{{chat}}:receipt:{room}:{sender}:{uid}", FEED, said(room)]
        limits = [FEED_LENGTH, ROOM_LENGTH, ROOM_SECONDS, RECEIPT_SECONDS]
        message_id, is_new = await self._run_script(APPEND, keys, [room, sender, uid, name, text, *limits])
        return Message(message_id, uid, sender, name, text, time_of(message_id)), bool(is_new)

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        entries: list[Message] = []
        if ID.fullmatch(last):
            entries = await self._latest(room, last, ROOM_LENGTH)
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
        entries = await self._link.do(lambda client: client.xrevrange(said(room), end="+", start=start, count=count))
        return [message_of(*read(entry)) for entry in entries]

    async def enter(self, room: str, visitor: Visitor) -> None:
        await self._link.check()
        try:
            before = await self._meet(room, visitor)
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

    async def _meet(self, room: str, newcomer: Visitor | None = None) -> Visitor | None:
        """Say whom this node has in a room, and show who else is there.

        Returns:
          Whose place the newcomer has taken here.

        Raises:
          NameTaken, Full: the newcomer is not let in.
          Away: nobody knows.
        """
        before = None
        async with self._turn(room):
            visitors = dict(self._visitors.get(room, {}))
            if newcomer:
                visitors[newcomer.id] = newcomer
            self._due.discard(room)
            try:
                version, people, lost = await self._ask_who_is_there(room, visitors, newcomer)
            except BaseException:
                self._due.add(room)
                raise
            refused = dict(pairs(lost))
            if newcomer and newcomer.id not in refused:
                before = self._visitors.get(room, {}).get(newcomer.id)
                self._visitors.setdefault(room, {})[newcomer.id] = newcomer
            self._show(room, int(version), {who: json.loads(person)["name"] for who, person in pairs(people)})
        for who, why in refused.items():
            if visitors[who] != newcomer:
                self.leave(room, visitors[who])
                self.audience.expel(room, visitors[who], WHY[why]())
        if newcomer and newcomer.id in refused:
            raise WHY[refused[newcomer.id]]()
        return before

    def _turn(self, room: str) -> trio.Lock:
        return self._turns[hash(room) % len(self._turns)]

    async def _ask_who_is_there(self, room: str, visitors: Mapping[str, Visitor], newcomer: Visitor | None) -> Any:
        mine = [{**asdict(visitor), "key": visitor.key, "node": self._node} for visitor in visitors.values()]
        keys = [f"{{chat}}:{kind}:{room}" for kind in ("people", "names", "version")]
        arguments = [room, self._node, newcomer.id if newcomer else "", json.dumps(mine)]
        limits = [PEOPLE, 4 * RENEWAL, FEED_LENGTH]
        return await self._run_script(MEET, [*keys, NODES, FEED], [*arguments, *limits])

    def _show(self, room: str, version: int, people: Mapping[str, str]) -> None:
        if room in self._visitors:
            self._versions[room] = version
        else:
            self._versions.pop(room, None)
        self.audience.see(room, version, people)

    def _look_after(self, room: str) -> None:
        self._due.add(room)
        self._wake.set()

    async def _look_after_rooms(self) -> None:
        """Say and see who is there: now and then everywhere, and at once where something has changed."""
        renewal = trio.current_time()
        while True:
            if trio.current_time() >= renewal:
                renewal = trio.current_time() + RENEWAL
                self._due.update(self._visitors)
            while self._due:
                await self._meet(next(iter(self._due)))
            with trio.move_on_at(renewal):
                await self._wake.wait()
            self._wake = trio.Event()

    async def take_leave(self) -> None:
        """Say who has left, as this node ends."""
        with trio.move_on_after(FAREWELL), contextlib.suppress(Away):
            while self._due:
                await self._meet(next(iter(self._due)))
            for turn in self._turns:  # what is under way comes to its end
                async with turn:
                    pass

    # ---- which nodes are alive

    async def _beat(self) -> None:
        """Give signs of life; where a node has gone, or was taken for gone, see who is there."""
        while True:
            await trio.sleep(HEARTBEAT)
            self._note_nodes(await self._run_script(BEAT, [NODES], [self._node, NODE_SECONDS * 1000]))

    def _note_nodes(self, reply: list[Any]) -> None:
        was_alive, *others = reply
        if not was_alive or self._others - set(others):
            self._due.update(self._visitors)
            self._wake.set()
        self._others = set(others)

    # ---- the feed

    async def _read_feed(self, client: Client) -> None:
        """Pass on what was said on any node, in order, each message once."""
        while True:
            with trio.fail_after(BLOCK + TIMEOUT):
                reply = await client.xread({FEED: self._position}, count=BATCH, block=BLOCK * 1000)
            entries = (reply or {}).get(FEED, ())
            if len(entries) == BATCH and await self._is_trimmed(client):
                await self._skip(client)
                continue
            for entry in entries:
                self._position, fields = read(entry)
                self._take(self._position, fields)
                await trio.lowlevel.checkpoint()

    def _take(self, entry_id: str, fields: Mapping[str, str]) -> None:
        """Pass on an entry; of those that a later version may make, nothing is known."""
        match fields.get("kind"):
            case "message":
                self.audience.hear(fields["room"], message_of(entry_id, fields))
            case "people":
                room = fields["room"]
                if room in self._visitors and int(fields["version"]) > self._versions.get(room, -1):
                    self._look_after(room)

    async def _find_position(self, client: Client) -> None:
        """Go on in the feed where this node was, or at its end."""
        newest = await self._newest(client)
        if not self._position:
            self._position = newest
        elif order(newest) < order(self._position):
            logger.warning("Redis has come back without what was said last")
            await self._skip(client)
        elif await self._is_trimmed(client):
            await self._skip(client)

    async def _newest(self, client: Client) -> str:
        entries = await client.xrevrange(FEED, count=1)
        return read(entries[0])[0] if entries else START

    async def _is_trimmed(self, client: Client) -> bool:
        """Whether something that this node has not read may be gone from the feed."""
        entries = await client.xrange(FEED, count=1)
        oldest = read(entries[0])[0] if entries else START
        if self._position == START and await client.xlen(FEED) < FEED_LENGTH:
            return False
        return order(oldest) > order(self._position)

    async def _skip(self, client: Client) -> None:
        """Go on at the end of the feed; what was said before, people learn as they enter again."""
        self._position = await self._newest(client)
        self._versions.clear()
        self.audience.lost()

    # ---- Redis

    async def _begin(self, client: Client) -> None:
        for script in (APPEND, BEAT, MEET):
            await client.script_load(script)
        await self._find_position(client)
        # Writing something shows that more than reading works.
        self._note_nodes(await client.register_script(BEAT)([NODES], [self._node, NODE_SECONDS * 1000]))

    async def _work(self, client: Client) -> None:
        self._due.update(self._visitors)
        self.audience.back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_feed, client)
            nursery.start_soon(self._look_after_rooms)
            nursery.start_soon(self._beat)

    async def _run_script(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        return await self._link.do(lambda client: client.register_script(script)(keys, arguments))


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
