"""Rooms: who is in them, and what was said.

What was said is kept by a `Store`, behind an interface small enough for a database to stand there.
"""

import contextlib
import json
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

import trio

from trio_upgrade import websocket

__all__ = ["Full", "MemoryStore", "Message", "NameTaken", "Person", "Room", "Rooms", "Store"]

HISTORY = 200  # messages that are kept of a room
ROOMS = 1000  # rooms that are remembered
PEOPLE = 200  # in a room


class NameTaken(Exception):
    """Somebody else in the room has this name."""


class Full(Exception):
    """No more people, or no more rooms."""


@dataclass(frozen=True)
class Message:
    """What somebody said.

    Attributes:
      id: where it stands in its room: milliseconds and a number, such as "1700000000000-0".
      uid: what its sender called it, so that sending it again does not double it.
      time: in milliseconds since 1970.
    """

    id: str
    uid: str
    name: str
    text: str
    time: int


def order(message_id: str) -> tuple[int, int]:
    """What sorts ids; no id at all comes before every other."""
    milliseconds, _, number = message_id.partition("-")
    return int(milliseconds or 0), int(number or 0)


class Store(Protocol):
    """Keeps what was said in the rooms."""

    async def append(self, room: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        """Keep a message; where its uid is kept already, give that message, and False."""
        ...

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        """The messages behind the one with id `last`, in order; and whether some are no longer kept."""
        ...


class MemoryStore:
    """Keeps the latest messages of the rooms that were spoken in last, in this process."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[str, deque[Message]] = OrderedDict()
        self._forgotten: dict[str, str] = {}  # the last id that a room no longer has
        self._last = (0, 0)

    async def append(self, room: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        kept = self._rooms.setdefault(room, deque())
        for message in kept:
            if message.uid == uid:
                return message, False
        self._rooms.move_to_end(room)
        if len(self._rooms) > ROOMS:
            self._forgotten.pop(self._rooms.popitem(last=False)[0], None)
        now = time.time_ns() // 1_000_000
        self._last = max((now, 0), (self._last[0], self._last[1] + 1))
        message = Message(f"{self._last[0]}-{self._last[1]}", uid, name, text, now)
        kept.append(message)
        if len(kept) > HISTORY:
            self._forgotten[room] = kept.popleft().id
        return message, True

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        after = order(last)
        messages = [message for message in self._rooms.get(room, ()) if order(message.id) > after]
        return messages, after < order(self._forgotten.get(room, ""))


@dataclass(eq=False)
class Person:
    """Somebody in a room, and the connection to them.

    Attributes:
      session: a secret of one browser tab: whoever knows it may take the name over.
      leaving: cancelled when another connection has taken this one's place.
    """

    name: str
    session: str
    ws: websocket.WebSocket[str]
    leaving: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def key(self) -> str:
        """What is unique in a room."""
        return self.name.casefold()

    def tell(self, **message: object) -> None:
        """Send them a message, without waiting."""
        tell([self], message)


def tell(people: Iterable[Person], message: Mapping[str, object]) -> None:
    """Send people a message, without waiting. Those who read too slowly are dropped."""
    websocket.broadcast((person.ws for person in people), json.dumps(message, ensure_ascii=False))


class Room:
    """The people in a room.

    Attributes:
      visits: connections that are in it, or about to be.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.visits = 0
        self.people: dict[str, Person] = {}
        self._store = store
        self._turn = trio.Lock()  # so that everybody sees everything in the order of the store

    async def add(self, person: Person, last: str) -> None:
        """Let somebody in, and tell them what was said since they were here."""
        async with self._turn:
            there = self.people.get(person.key)
            if there is not None and there.session != person.session:
                raise NameTaken
            if there is None and len(self.people) >= PEOPLE:
                raise Full("This room is full.")
            messages, missed = await self._store.since(self.name, last)
            if there is not None:
                there.leaving.cancel()
            self.people[person.key] = person
            person.tell(
                type="welcome",
                name=person.name,
                room=self.name,
                people=self._names(),
                messages=[asdict(message) for message in messages],
                missed=missed and bool(last),
            )
        if there is None:
            self._tell_people()

    def remove(self, person: Person) -> None:
        """Let somebody go, unless another connection has taken their place."""
        if self.people.get(person.key) is person:
            del self.people[person.key]
            self._tell_people()

    async def say(self, person: Person, uid: str, text: str) -> None:
        """Tell everybody, or the sender alone if it is known already."""
        async with self._turn:
            message, is_new = await self._store.append(self.name, uid, person.name, text)
            if is_new:
                tell(self.people.values(), {"type": "message", **asdict(message)})
            else:
                person.tell(type="message", **asdict(message))

    def _names(self) -> list[str]:
        return sorted((person.name for person in self.people.values()), key=str.casefold)

    def _tell_people(self) -> None:
        tell(self.people.values(), {"type": "people", "people": self._names()})


class Rooms:
    """The rooms in which somebody is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: dict[str, Room] = {}

    @contextlib.asynccontextmanager
    async def enter(self, person: Person, name: str, last: str) -> AsyncIterator[Room]:
        """Be in a room for as long as the block.

        Raises:
          NameTaken: somebody else has this name there.
          Full: the room is full, or there are too many.
        """
        if name not in self._rooms and len(self._rooms) >= ROOMS:
            raise Full("There are too many rooms.")
        room = self._rooms.setdefault(name, Room(name, self._store))
        room.visits += 1
        try:
            await room.add(person, last)
            yield room
        finally:
            room.remove(person)
            room.visits -= 1
            if not room.visits:
                del self._rooms[name]
