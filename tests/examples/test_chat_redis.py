"""The chat's store in Redis, by itself, with a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trio
from coredis import Redis

from examples.chat import redis as chat_redis
from examples.chat.redis import RedisStore, open_redis_store
from examples.chat.store import Audience, Away, Message, NameTaken, TakenOver, Visitor

from ..support.redis import RedisServer, redis_server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


FLOOD = """
for number = 1, ARGV[1] do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'kind', 'later') end
"""


class Listener(Audience):
    """Notes what it is told, and wakes whoever waits for it."""

    def __init__(self, store: RedisStore) -> None:
        self.heard: list[str] = []
        self.people: dict[str, Mapping[str, str]] = {}
        self.expelled: list[tuple[str, type[Exception]]] = []
        self.told: list[str] = []
        self._news = trio.Event()
        store.audience = self

    async def until(self, condition: Callable[[Listener], bool]) -> None:
        with trio.fail_after(20):
            while not condition(self):
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def hear(self, room: str, message: Message) -> None:
        self.heard.append(message.text)
        self._tell()

    def see(self, room: str, version: int, people: Mapping[str, str]) -> None:
        self.people[room] = people
        self._tell()

    def expel(self, room: str, visitor: Visitor, why: Exception) -> None:
        self.expelled.append((visitor.visit, type(why)))
        self._tell()

    def away(self) -> None:
        self.told.append("away")
        self._tell()

    def back(self) -> None:
        self.told.append("back")
        self._tell()

    def lost(self) -> None:
        self.told.append("lost")
        self._tell()


async def ready(store: RedisStore) -> Listener:
    listener = Listener(store)
    await listener.until(lambda it: "back" in it.told)
    return listener


def visitor(name: str, visit: str = "first") -> Visitor:
    return Visitor(name.casefold(), name, visit)


async def test_a_node_that_ends_says_who_has_left(redis: RedisServer) -> None:
    async with open_redis_store(redis.url) as stays:
        seen = await ready(stays)
        await stays.enter("lobby", visitor("Ben"))
        for _ in range(10):
            async with open_redis_store(redis.url) as goes:
                await ready(goes)
                await goes.enter("lobby", visitor("Ann"))
                await seen.until(lambda it: "ann" in it.people["lobby"])
                goes.leave("lobby", visitor("Ann"))
            with trio.fail_after(chat_redis.NODE_SECONDS / 2):
                await seen.until(lambda it: "ann" not in it.people["lobby"])


async def test_of_several_visits_of_one_person_the_last_one_stays(redis: RedisServer) -> None:
    async with open_redis_store(redis.url) as store:
        listener = await ready(store)
        await store.enter("lobby", visitor("Ann", "first"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.enter, "lobby", visitor("Ann", "second"))
            nursery.start_soon(store.enter, "lobby", visitor("Ann", "third"))
        assert len(listener.expelled) == 2
        assert ("first", TakenOver) in listener.expelled


async def test_who_is_refused_leaves_the_earlier_visit_alone(redis: RedisServer) -> None:
    async with open_redis_store(redis.url) as store:
        listener = await ready(store)
        await store.enter("lobby", visitor("Ann"))
        await store.enter("lobby", visitor("Ben"))
        with pytest.raises(NameTaken):
            await store.enter("lobby", Visitor("ann", "BEN", "second"))
        assert dict(listener.people["lobby"]) == {"ann": "Ann", "ben": "Ben"}
        assert listener.expelled == []


async def test_what_a_later_version_puts_into_the_feed_is_passed_over(redis: RedisServer) -> None:
    async with open_redis_store(redis.url) as store, Redis.from_url(redis.url) as client:
        listener = await ready(store)
        await store.enter("lobby", visitor("Ann"))
        await client.xadd(chat_redis.FEED, {"kind": "later"})
        await store.append("lobby", "ann", "uid", "Ann", "hello")
        await listener.until(lambda it: it.heard == ["hello"])
        assert listener.told == ["back"]


async def test_what_redis_refuses_is_worth_another_try(redis: RedisServer, logged: Callable[[], list[str]]) -> None:
    async with open_redis_store(redis.url) as store, Redis.from_url(redis.url) as client:
        listener = await ready(store)
        await client.config_set({"maxmemory": "1"})
        with pytest.raises(Away):
            await store.append("lobby", "ann", "uid", "Ann", "hello")
        await client.config_set({"maxmemory": "0"})
        await store.append("lobby", "ann", "uid", "Ann", "hello")
        await listener.until(lambda it: it.heard == ["hello"])
        assert listener.told == ["back"]  # it was there all the time
    assert logged().count("ERROR") == 1


async def test_a_reader_that_falls_behind_the_feed_says_so(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_redis, "FEED_LENGTH", 300)
    async with open_redis_store(redis.url) as store, Redis.from_url(redis.url) as client:
        listener = await ready(store)
        await store.append("lobby", "ann", "first", "Ann", "first")
        await listener.until(lambda it: it.heard == ["first"])
        await client.eval(FLOOD, [chat_redis.FEED], [1500, 300])
        await listener.until(lambda it: "lost" in it.told)
        await store.append("lobby", "ann", "last", "Ann", "last")
        await listener.until(lambda it: it.heard == ["first", "last"])


@pytest.mark.parametrize(
    "url",
    [
        *("redis://", "redis:localhost", "http://localhost", "localhost:6379", "unix://"),
        *("redis://localhost?db=secret", "redis://:secret/@localhost", "rediss://localhost?ssl_cert_reqs=secret"),
    ],
)
def test_what_is_no_url_of_a_redis_is_refused_without_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="a Redis is named by a URL such as") as caught:
        RedisStore(url)
    assert "secret" not in str(caught.value)
