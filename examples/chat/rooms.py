"""Rooms: who is connected to them here, and telling these people what happens there."""

import contextlib
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field

import trio

from trio_upgrade import websocket

from .store import Audience, Away, Full, Message, Store, Visitor, order

__all__ = ["Person", "Room", "Rooms"]

ROOMS = 1000  # that have somebody in them


@dataclass(eq=False)
class Person:
    """Somebody in a room, and the connection to them.

    Attributes:
      session: a secret of one browser tab: whoever knows it may take this person's place.
      id: tells people apart for everybody, without giving the session away.
      leaving: cancelled when they have lost their place; `why` says how.
      seen: where the last message that they were told stands, in the order of the store.
      waiting: what was said since they came, until they are welcome.
    """

    name: str
    session: str
    ws: websocket.WebSocket[str]
    id: str = field(init=False)
    visitor: Visitor = field(init=False)
    leaving: trio.CancelScope = field(default_factory=trio.CancelScope)
    why: Exception | None = None
    seen: tuple[int, ...] = ()
    waiting: list[Message] | None = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = hashlib.sha256(self.session.encode()).hexdigest()[:20]
        self.visitor = Visitor(self.id, self.name, secrets.token_hex(8))

    def tell(self, **message: object) -> None:
        """Send them a message, without waiting."""
        tell([self], message)


def tell(people: Iterable[Person], message: Mapping[str, object]) -> None:
    """Send people a message, without waiting. Those who read too slowly are dropped."""
    websocket.broadcast((person.ws for person in people), json.dumps(message, ensure_ascii=False))


class Room:
    """A room, as far as people are connected to it here.

    Attributes:
      visits: connections that are in it, or about to be.
      here: those who are connected here, by their ids.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.visits = 0
        self.here: dict[str, Person] = {}
        self._people: Mapping[str, str] = {}  # wherever they are connected: names by ids
        self._version = -1  # of these
        self._store = store

    async def add(self, person: Person, last: str) -> None:
        """Let somebody in, and tell them what was said since they were here."""
        await self._store.enter(self.name, person.visitor)
        self.here[person.id] = person
        messages, missed = await self._store.since(self.name, last)
        person.seen = order(messages[-1].id if messages else "" if missed else last)
        person.tell(
            type="welcome",
            you=public(person.id, person.name),
            people=[public(*somebody) for somebody in self._people.items()],
            messages=[asdict(message) for message in messages],
            missed=missed,
        )
        waiting, person.waiting = person.waiting or [], None
        for message in waiting:
            self._pass_on(message, [person])

    def remove(self, person: Person) -> None:
        """Let somebody go, unless another connection has taken their place."""
        if self.here.get(person.id) is person:
            del self.here[person.id]
        self._store.leave(self.name, person.visitor)

    async def say(self, person: Person, uid: str, text: str) -> None:
        """Say something to everybody, or tell the sender alone what is known already."""
        message, is_new = await self._store.append(self.name, person.id, uid, person.name, text)
        if not is_new and order(message.id) <= person.seen:  # else they will hear it like everybody
            person.tell(type="message", **asdict(message))

    def hear(self, message: Message) -> None:
        """Tell those who are here what was said."""
        self._pass_on(message, self.here.values())

    def _pass_on(self, message: Message, people: Iterable[Person]) -> None:
        place = order(message.id)
        told = []
        for person in people:
            if person.waiting is not None:
                person.waiting.append(message)
            elif person.seen < place:
                person.seen = place
                told.append(person)
        tell(told, {"type": "message", **asdict(message)})

    def see(self, version: int, people: Mapping[str, str]) -> None:
        """Tell those who are here who has come, and who has gone."""
        if version <= self._version:
            return
        before, self._people, self._version = self._people, people, version
        for gone in before.keys() - people.keys():
            self._tell_of(gone, {"type": "left", "id": gone})
        for somebody, name in people.items():
            if before.get(somebody) != name:
                self._tell_of(somebody, {"type": "joined", **public(somebody, name)})

    def send_away(self) -> None:
        """Let everybody enter again: something may be missing here, and of who is there nothing is known."""
        self._version = -1
        for person in self.here.values():
            person.why = Away("Something was missed.")
            person.leaving.cancel()

    def _tell_of(self, somebody: str, message: Mapping[str, object]) -> None:
        """Tell the others."""
        tell([person for person in self.here.values() if person.waiting is None and person.id != somebody], message)


def public(somebody: str, name: str) -> dict[str, str]:
    """What others learn of somebody: their id and name."""
    return {"id": somebody, "name": name}


class Rooms(Audience):
    """The rooms in which somebody is, as the audience of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: dict[str, Room] = {}
        self._is_away = False
        store.audience = self

    @contextlib.asynccontextmanager
    async def enter(self, person: Person, name: str, last: str) -> AsyncIterator[Room]:
        """Be in a room for as long as the block.

        Raises:
          NameTaken: somebody else has this name there.
          Full: the room is full, or there are too many.
          Away: nobody can be let in for now.
        """
        if name not in self._rooms and len(self._rooms) >= ROOMS:
            raise Full("There are too many rooms.")
        room = self._rooms.setdefault(name, Room(name, self._store))
        room.visits += 1
        try:
            await room.add(person, last)
            if self._is_away:
                person.tell(type="away")
            yield room
        finally:
            room.remove(person)
            room.visits -= 1
            if not room.visits:
                del self._rooms[name]

    # ---- what the store tells, as an audience

    def hear(self, room: str, message: Message) -> None:
        if found := self._rooms.get(room):
            found.hear(message)

    def see(self, room: str, version: int, people: Mapping[str, str]) -> None:
        if found := self._rooms.get(room):
            found.see(version, people)

    def expel(self, room: str, visitor: Visitor, why: Exception) -> None:
        found = self._rooms.get(room)
        person = found.here.get(visitor.id) if found else None
        if person is not None and person.visitor == visitor:
            person.why = why
            person.leaving.cancel()

    def away(self) -> None:
        self._is_away = True
        tell(self._everybody(), {"type": "away"})

    def back(self) -> None:
        self._is_away = False
        tell(self._everybody(), {"type": "back"})

    def lost(self) -> None:
        for room in self._rooms.values():
            room.send_away()

    def _everybody(self) -> list[Person]:
        return [person for room in self._rooms.values() for person in room.here.values() if person.waiting is None]
