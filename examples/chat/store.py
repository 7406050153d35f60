"""What the rooms remember and share: what was said, and who is there. Here it is in this process's memory.

The rooms reach it by `Store` only, and hear of what happens by `Audience`, wherever it was said: so
they are the same over a store that several processes share.
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Audience", "Away", "Full", "MemoryStore", "Message", "NameTaken", "Store", "TakenOver", "Visitor", "order"]

PEOPLE = 200  # in a room
HISTORY = 200  # messages kept of a room
HISTORY_SIZE = 256 * 1024  # bytes of text kept of a room: whoever enters gets all of it in one frame
RECEIPTS = 2000  # messages of a room that are known when they are sent again
ROOMS = 1000  # rooms that are remembered
TOTAL_SIZE = 64 * 2**20  # bytes that all of them may take
OVERHEAD = 512  # bytes that a message takes besides its text


class NameTaken(Exception):
    """Somebody else in the room has this name."""


class Full(Exception):
    """No more people, or no more rooms."""


class TakenOver(Exception):
    """Another connection has taken this one's place."""


class Away(Exception):
    """The store cannot be reached. It is worth trying again."""


@dataclass(frozen=True)
class Message:
    """What somebody said.

    Attributes:
      id: given by the store, and different from any that another store gives; see `order`.
      uid: what its sender called it, so that sending it again does not double it.
      sender: who that was, whatever their name.
      time: in milliseconds since 1970.
    """

    id: str
    uid: str
    sender: str
    name: str
    text: str
    time: int


def order(message_id: str) -> tuple[int, ...]:
    """Where a message with this id stands among those of its store; "" is before all of them."""
    return tuple(map(int, message_id.split("-"))) if message_id else ()


@dataclass(frozen=True)
class Visitor:
    """Somebody in a room.

    Attributes:
      id: who they are.
      visit: tells their connections apart: the latest counts.
    """

    id: str
    name: str
    visit: str

    @property
    def key(self) -> str:
        """What must be different from everybody's in the room."""
        return self.name.casefold()


class Audience:
    """Who hears of what happens in a store: here nobody. Nothing of it may block or raise."""

    def hear(self, room: str, message: Message) -> None:
        """Something was said. A room hears everything once, in the order of the ids."""

    def see(self, room: str, version: int, people: Mapping[str, str]) -> None:
        """These are the people in a room: their names by their ids. What has a lower version is older."""

    def expel(self, room: str, visitor: Visitor, why: Exception) -> None:
        """Somebody who had entered has lost their place."""

    def away(self) -> None:
        """The store cannot be reached for now."""

    def back(self) -> None:
        """It can be reached again."""

    def lost(self) -> None:
        """Something may have been said that nobody here heard: all should enter again."""


class Store(Protocol):
    """Keeps what was said in the rooms, and who is there.

    Attributes:
      audience: hears of it.
    """

    audience: Audience

    async def append(self, room: str, sender: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        """Keep a message, which the audience will hear; where its sender has sent this uid before, give what
        that became, and False.

        Raises:
          Away: it was not kept, or perhaps it was: sending it again does no harm.
        """
        ...

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        """The messages behind the one with id `last`, in order; and whether there may have been more.

        Where `last` is not known (any more), they are all that are kept. "" comes before every message.

        Raises:
          Away: there is no telling.
        """
        ...

    async def enter(self, room: str, visitor: Visitor) -> None:
        """Let somebody in, in place of an earlier visit of theirs; the audience sees them before this returns.

        Raises:
          NameTaken, Full, Away: they are not let in.
        """
        ...

    def leave(self, room: str, visitor: Visitor) -> None:
        """Let somebody go, unless a later visit has taken their place."""
        ...


class MemoryStore:
    """Keeps the latest messages of the rooms that were spoken in last, in this process, and its people.

    Args:
      clock: gives nanoseconds since 1970. It may step back: ids do not depend on it.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.audience = Audience()
        self._clock = clock
        self._run = secrets.randbelow(10**12)  # tells this store's ids from those of the process before
        self._count = 0
        self._version = 0
        self._visitors: dict[str, dict[str, Visitor]] = {}
        self._rooms: OrderedDict[str, History] = OrderedDict()
        self._size = 0

    async def append(self, room: str, sender: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        history = self._rooms.setdefault(room, History(self._count))
        if receipt := history.receipts.get((sender, uid)):
            return Message(receipt[0], uid, sender, name, text, receipt[1]), False
        self._count += 1
        message = Message(f"{self._run}-{self._count}", uid, sender, name, text, self._clock() // 1_000_000)
        self._size -= history.size
        history.add(message)
        self._size += history.size
        self._rooms.move_to_end(room)
        while len(self._rooms) > ROOMS or self._size > TOTAL_SIZE:
            self._size -= self._rooms.popitem(last=False)[1].size
        self.audience.hear(room, message)
        return message, True

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        history = self._rooms.get(room)
        messages = list(history.messages) if history else []
        if not last:
            return messages, False
        run, _, number = last.partition("-")
        is_ours = run == str(self._run) and number.isdecimal() and int(number) <= self._count
        if not is_ours or history is None or int(number) < history.forgotten:
            return messages, True
        return [message for message in messages if number_of(message) > int(number)], False

    async def enter(self, room: str, visitor: Visitor) -> None:
        visitors = self._visitors.get(room, {})
        others = [other for other in visitors.values() if other.id != visitor.id]
        if any(other.key == visitor.key for other in others):
            raise NameTaken
        if len(others) >= PEOPLE:
            raise Full("This room is full.")
        before = visitors.get(visitor.id)
        self._visitors.setdefault(room, visitors)[visitor.id] = visitor
        if before is not None:
            self.audience.expel(room, before, TakenOver())
        self._show(room)

    def leave(self, room: str, visitor: Visitor) -> None:
        visitors = self._visitors.get(room, {})
        if visitors.get(visitor.id) == visitor:
            del visitors[visitor.id]
            self._show(room)
            if not visitors:
                del self._visitors[room]

    def _show(self, room: str) -> None:
        self._version += 1
        people = {visitor.id: visitor.name for visitor in self._visitors[room].values()}
        self.audience.see(room, self._version, people)


class History:
    """What is kept of one room.

    Attributes:
      forgotten: a number; messages of this room up to it are no longer kept.
      receipts: by sender and uid, the id and the time of the latest messages. They outlast the text,
        for somebody who comes back late does not know that theirs has arrived.
    """

    def __init__(self, forgotten: int) -> None:
        self.forgotten = forgotten
        self.messages: deque[Message] = deque()
        self.receipts: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()
        self._text_size = 0

    @property
    def size(self) -> int:
        """How many bytes it takes, roughly."""
        return self._text_size + len(self.receipts) * OVERHEAD

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self._text_size += len(message.text.encode())
        self.receipts[message.sender, message.uid] = (message.id, message.time)
        while len(self.messages) > HISTORY or self._text_size > HISTORY_SIZE:
            oldest = self.messages.popleft()
            self._text_size -= len(oldest.text.encode())
            self.forgotten = number_of(oldest)
        if len(self.receipts) > RECEIPTS:
            self.receipts.popitem(last=False)


def number_of(message: Message) -> int:
    """Where it stands in the order of its store."""
    return int(message.id.rpartition("-")[2])
