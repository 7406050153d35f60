"""Rooms: who is in them, and telling these people what happens there."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field

import trio

from trio_upgrade import websocket

from .store import Store

__all__ = ["Full", "NameTaken", "Person", "Room", "Rooms"]

ROOMS = 1000  # that have somebody in them
PEOPLE = 200  # in a room


class NameTaken(Exception):
    """Somebody else in the room has this name."""


class Full(Exception):
    """No more people, or no more rooms."""


@dataclass(eq=False)
class Person:
    """Somebody in a room, and the connection to them.

    Attributes:
      session: a secret of one browser tab: whoever knows it may take this person's place.
      id: tells people apart for everybody, without giving the session away.
      leaving: cancelled when another connection has taken this one's place.
    """

    name: str
    session: str
    ws: websocket.WebSocket[str]
    id: str = field(init=False)
    leaving: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        self.id = hashlib.sha256(self.session.encode()).hexdigest()[:20]

    @property
    def public(self) -> dict[str, str]:
        """What others learn of them."""
        return {"id": self.id, "name": self.name}

    def tell(self, **message: object) -> None:
        """Send them a message, without waiting."""
        tell([self], message)


def tell(people: Iterable[Person], message: Mapping[str, object]) -> None:
    """Send people a message, without waiting. Those who read too slowly are dropped."""
    websocket.broadcast((person.ws for person in people), json.dumps(message, ensure_ascii=False))


class Room:
    """The people in a room, by their ids.

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
            messages, missed = await self._store.since(self.name, last)
            before = self.people.get(person.id)
            others = [other for other in self.people.values() if other is not before]
            if any(other.name.casefold() == person.name.casefold() for other in others):
                raise NameTaken
            if len(others) >= PEOPLE:
                raise Full("This room is full.")
            if before is not None:
                before.leaving.cancel()
            self.people[person.id] = person
            person.tell(
                type="welcome",
                you=person.public,
                people=[somebody.public for somebody in self.people.values()],
                messages=[asdict(message) for message in messages],
                missed=missed,
            )
            if before is None or before.name != person.name:
                tell(others, {"type": "joined", **person.public})

    def remove(self, person: Person) -> None:
        """Let somebody go, unless another connection has taken their place."""
        if self.people.get(person.id) is person:
            del self.people[person.id]
            tell(self.people.values(), {"type": "left", "id": person.id})

    async def say(self, person: Person, uid: str, text: str) -> None:
        """Tell everybody, or the sender alone if it is known already."""
        async with self._turn:
            message, is_new = await self._store.append(self.name, person.id, uid, person.name, text)
            tell(self.people.values() if is_new else [person], {"type": "message", **asdict(message)})


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
