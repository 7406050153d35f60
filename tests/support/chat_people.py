"""People at the chat, without a browser."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import ClientConnection


def session_of(name: str) -> str:
    return f"session-of-{name.encode().hex()}"


class Person:
    """Somebody at a browser."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws

    async def send(self, **message: object) -> None:
        await self.ws.send(json.dumps(message))

    async def enter(self, name: str, room: str = "lobby", last: str = "", session: str = "") -> None:
        await self.send(type="enter", name=name, room=room, last=last, session=session or session_of(name))

    async def say(self, text: str, uid: str) -> None:
        await self.send(type="say", uid=uid, text=text)

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others are passed over."""
        with trio.fail_after(10):
            while (message := json.loads(await self.ws.recv()))["type"] != kind:
                pass
        assert isinstance(message, dict)
        return message

    async def closing(self) -> tuple[int, str]:
        """The code and the reason with which the server closes."""
        with trio.fail_after(10), pytest.raises(ConnectionClosed) as caught:
            while True:
                await self.ws.recv()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


Door: TypeAlias = Callable[[], AbstractAsyncContextManager[Person]]


@contextlib.asynccontextmanager
async def visitor(door: Door, name: str, room: str = "lobby", last: str = "") -> AsyncIterator[Person]:
    """Somebody who is in a room."""
    async with door() as person:
        await person.enter(name, room, last)
        await person.hear("welcome")
        yield person


class Talker:
    """Sends numbered messages one by one, as the page does, and keeps what arrives.

    When the connection is lost, or the store is away, it tries again until each has arrived.

    Args:
      doors: ways to come in, tried in turn.
      count: how many messages it sends.
      pause: seconds before each of them.

    Attributes:
      heard: the numbers that have arrived, by who sent them.
      inside: set when it was let in for the first time. Then it waits for `may_talk`, since of what was said
        before, only the latest is told.
      milestones: set when so many of its own have arrived.
    """

    def __init__(self, name: str, doors: Sequence[Door], count: int, pause: float = 0) -> None:
        self.name = name
        self.heard: dict[str, list[int]] = {}
        self.complete = trio.Event()
        self.inside = trio.Event()
        self.may_talk = trio.Event()
        self.milestones: dict[int, trio.Event] = defaultdict(trio.Event)
        self._doors = list(doors)
        self._pause = pause
        self._count = count
        self._last = ""

    async def run(self, everything: int) -> None:
        """Talk, and listen until so many messages have arrived."""
        while not self.complete.is_set():
            with contextlib.suppress(ConnectionClosed, InvalidStatus, OSError, trio.BrokenResourceError):
                async with self._doors[0]() as person:
                    await self._talk(person, everything)
            self._doors = self._doors[1:] + self._doors[:1]
            await trio.sleep(0.1)

    async def _talk(self, person: Person, everything: int) -> None:
        await person.enter(self.name, last=self._last)
        while not self.complete.is_set():
            message = json.loads(await person.ws.recv())
            match message["type"]:
                case "welcome":
                    assert not message["missed"]
                    for said in message["messages"]:
                        self._note(said)
                    await self._say_next(person)
                case "message":
                    self._note(message)
                    if message["name"] == self.name:
                        await self._say_next(person)
                case "notice":
                    assert message["code"] == "away"
                    await trio.sleep(0.1)
                    await self._say_next(person)
            if sum(map(len, self.heard.values())) >= everything:
                self.complete.set()

    async def _say_next(self, person: Person) -> None:
        number = len(self.heard.get(self.name, ()))
        self.inside.set()
        await self.may_talk.wait()
        if number < self._count:
            await trio.sleep(self._pause)
            await person.say(str(number), f"uid-{number:06}")

    def _note(self, message: dict[str, Any]) -> None:
        self._last = message["id"]
        numbers = self.heard.setdefault(message["name"], [])
        numbers.append(int(message["text"]))
        if message["name"] == self.name:
            self.milestones[len(numbers)].set()


@contextlib.asynccontextmanager
async def talking(talkers: Sequence[Talker], count: int) -> AsyncIterator[None]:
    """They say so many things each, while the block runs and after it; then all must have heard all."""
    async with trio.open_nursery() as nursery:
        for talker in talkers:
            nursery.start_soon(talker.run, count * len(talkers))
        for talker in talkers:
            await talker.inside.wait()
        for talker in talkers:
            talker.may_talk.set()
        yield
    for talker in talkers:
        for other in talkers:
            assert talker.heard[other.name] == list(range(count)), f"{talker.name} of {other.name}"
