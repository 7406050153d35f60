"""The chat on several nodes: processes of their own, and a real Redis between them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from ..support.chat_nodes import a_node, talk
from ..support.redis import RedisServer, redis_server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def texts(welcome: dict[str, Any]) -> list[str]:
    return [message["text"] for message in welcome["messages"]]


async def test_people_on_two_nodes_hear_and_see_each_other(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ann") as ann:
        async with two.person() as ben:
            await ben.enter("Ben")
            welcome = await ben.hear("welcome")
            assert [person["name"] for person in welcome["people"]] == ["Ann", "Ben"]
            assert await ann.hear("joined") == {"type": "joined", **welcome["you"]}
            await ben.say("hello", "uid-00001")
            assert (await ann.hear("message"))["text"] == (await ben.hear("message"))["text"] == "hello"
            await ann.say("and you", "uid-00001")
            assert await ann.hear("message") == await ben.hear("message")
        assert (await ann.hear("left"))["id"] == welcome["you"]["id"]
        async with two.person() as other:
            await other.enter("ANN", session="another-session")
            assert (await other.closing())[0] == 4000
        async with two.person() as cy:
            await cy.enter("Cy")
            assert texts(await cy.hear("welcome")) == ["hello", "and you"]


async def test_the_same_person_on_another_node_takes_over(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ben") as ben:
        async with one.visitor("Ann") as before, two.visitor("Ann") as after:
            assert (await before.closing())[0] == 4002
            await ben.say("still here?", "uid-00001")
            assert (await after.hear("message"))["text"] == "still here?"


async def test_a_message_that_is_sent_again_is_not_doubled_on_any_node(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, two.visitor("Ben") as ben:
        async with one.visitor("Ann") as ann:
            await ann.say("once", "uid-00001")
            first = await ann.hear("message")
        async with two.visitor("Ann", last=first["id"]) as ann:
            await ann.say("once", "uid-00001")
            assert (await ann.hear("message"))["id"] == first["id"]
            await ann.say("then", "uid-00002")
            assert [(await ben.hear("message"))["text"] for _ in range(2)] == ["once", "then"]


async def test_the_people_of_a_node_that_was_killed_go_on_elsewhere(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, two.visitor("Ben") as ben:
        async with one.visitor("Ann") as ann, one.visitor("Cy"):
            await ann.say("before", "uid-00001")
            last = (await ann.hear("message"))["id"]
            await ben.say("missed", "uid-00001")
            await ben.hear("message")
            await one.kill()
        async with two.person() as ann:
            await ann.enter("Ann", last=last)
            welcome = await ann.hear("welcome")
            assert welcome["missed"] is False
            assert texts(welcome)[-1] == "missed"
            assert (await ben.hear("left"))["id"] != welcome["you"]["id"]  # Cy does not come back
            await ann.say("after", "uid-00002")
            assert [(await ben.hear("message"))["text"]] == ["after"]


async def test_while_redis_is_away_people_are_told_and_nothing_is_lost(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ann") as ann, two.visitor("Ben") as ben:
        redis.stop()
        await ann.hear("away")
        await ben.hear("away")
        await ann.say("into the void", "uid-00001")
        notice = await ann.hear("notice")
        assert (notice["code"], notice["uid"]) == ("away", "uid-00001")
        async with one.person() as cy:
            await cy.enter("Cy")
            assert (await cy.closing())[0] == 1013
        redis.start()
        await ann.hear("back")
        await ben.hear("back")
        await ann.say("into the void", "uid-00001")
        assert (await ben.hear("message"))["text"] == "into the void"
        assert (await ann.hear("message"))["text"] == "into the void"


async def test_a_redis_that_hangs_is_away(redis: RedisServer) -> None:
    async with a_node(redis) as one, one.visitor("Ann") as ann:
        redis.send_signal(signal.SIGSTOP)
        await ann.say("hello?", "uid-00001")
        assert (await ann.hear("notice"))["code"] == "away"
        redis.send_signal(signal.SIGCONT)
        await ann.hear("back")
        await ann.say("hello?", "uid-00001")
        assert (await ann.hear("message"))["text"] == "hello?"


async def test_a_redis_that_comes_back_empty_has_the_same_people(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ann") as ann, two.visitor("Ben") as ben:
        await ann.say("old", "uid-00001")
        last = (await ben.hear("message"))["id"]
        redis.stop()
        redis.forget()
        redis.start()
        # What they knew is gone: they are sent away, and come again.
        assert (await ann.closing())[0] == (await ben.closing())[0] == 1013
        async with one.person() as ann, two.person() as ben:
            await ann.enter("Ann", last=last)
            assert (await ann.hear("welcome"))["missed"] is True
            await ben.enter("Ben", last=last)
            assert [person["name"] for person in (await ben.hear("welcome"))["people"]] == ["Ann", "Ben"]
            await ben.say("new", "uid-00001")
            assert (await ann.hear("message"))["text"] == "new"


async def test_a_node_that_was_stopped_catches_up(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ann") as ann, two.visitor("Ben") as ben:
        one.send_signal(signal.SIGSTOP)
        left = await ben.hear("left")
        for number in range(300):
            await ben.say(str(number), f"uid-{number:05}")
            await ben.hear("message")
        one.send_signal(signal.SIGCONT)
        assert [(await ann.hear("message"))["text"] for _ in range(300)] == [str(number) for number in range(300)]
        assert (await ben.hear("joined"))["id"] == left["id"]


async def test_whose_name_was_taken_while_their_node_was_stopped_is_told(redis: RedisServer) -> None:
    async with a_node(redis) as one, a_node(redis) as two, one.visitor("Ann") as ann, two.visitor("Ben") as ben:
        one.send_signal(signal.SIGSTOP)
        await ben.hear("left")
        async with two.person() as other:
            await other.enter("Ann", session="another-session")
            await other.hear("welcome")
            one.send_signal(signal.SIGCONT)
            assert (await ann.closing())[0] == 4000


# ---- under load


@pytest.mark.once
async def test_redis_restarts_in_the_middle_of_traffic(redis: RedisServer) -> None:
    async with talk(redis, 4, 300) as (_, talker):
        await talker.milestones[100].wait()
        redis.stop(signal.SIGKILL)
        redis.start()
        await talker.milestones[200].wait()
        redis.stop(signal.SIGTERM)
        redis.start()


@pytest.mark.once
async def test_a_node_is_killed_in_the_middle_of_traffic(redis: RedisServer) -> None:
    async with talk(redis, 4, 300) as (node, talker):
        await talker.milestones[150].wait()
        await node.kill()


@pytest.mark.once
async def test_a_node_is_stopped_and_continued_in_the_middle_of_traffic(redis: RedisServer) -> None:
    async with talk(redis, 4, 300) as (node, talker):
        await talker.milestones[150].wait()
        node.send_signal(signal.SIGSTOP)
        await trio.sleep(3)  # longer than others wait for it
        node.send_signal(signal.SIGCONT)
