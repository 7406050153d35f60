"""What was said in the rooms, behind an interface small enough for a database to stand there."""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MemoryStore", "Message", "Store"]

HISTORY = 200  # messages kept of a room
HISTORY_SIZE = 256 * 1024  # bytes of text kept of a room: whoever enters gets all of it in one frame
RECEIPTS = 2000  # messages of a room that are known when they are sent again
ROOMS = 1000  # rooms that are remembered
TOTAL_SIZE = 64 * 2**20  # bytes that all of them may take
OVERHEAD = 512  # bytes that a message takes besides its text


@dataclass(frozen=True)
class Message:
    """What somebody said.

    Attributes:
      id: given by the store, and different from any that another store gives.
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


class Store(Protocol):
    """Keeps what was said in the rooms."""

    async def append(self, room: str, sender: str, uid: str, name: str, text: str) -> tuple[Message, bool]:
        """Keep a message; where its sender has sent this uid before, give what that became, and False."""
        ...

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        """The messages behind the one with id `last`, in order; and whether there may have been more.

        Where `last` is not known (any more), they are all that are kept. "" comes before every message.
        """
        ...


class MemoryStore:
    """Keeps the latest messages of the rooms that were spoken in last, in this process.

    Args:
      clock: gives nanoseconds since 1970. It may step back: ids do not depend on it.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._run = secrets.token_hex(6)  # tells this store's ids from those of the process before
        self._count = 0
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
        return message, True

    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        history = self._rooms.get(room)
        messages = list(history.messages) if history else []
        if not last:
            return messages, False
        run, _, number = last.partition("-")
        is_ours = run == self._run and number.isdecimal() and int(number) <= self._count
        if not is_ours or history is None or int(number) < history.forgotten:
            return messages, True
        return [message for message in messages if number_of(message) > int(number)], False


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
