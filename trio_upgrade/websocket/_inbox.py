"""What has arrived from one peer: messages, in order, parsed when they are asked for.

Pings are answered in passing. No reading of the connection here, and no closing.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from websockets.frames import Close, CloseCode, Opcode

from ._closing import Violation, parse_close
from ._deflate import Deflate
from ._frames import FIN, NEED_DATA, Control, Incoming, encode_frame
from ._options import Options
from ._outgoing import OVERHEAD, Outgoing

__all__ = ["Inbox"]

T = TypeVar("T", str, bytes, str | bytes)

BUDGET = 32  # frames parsed in one go: so a flood of empty ones holds nobody up


class Inbox(Generic[T]):
    """The receiving side of a WebSocket.

    Args:
      options: which messages may come, and how many are read ahead.
      deflate: how messages may be compressed, if that was negotiated.
      outgoing: where pongs go.

    Attributes:
      held: a violation that was read ahead, behind messages that are still to be taken.
    """

    __slots__ = ("_incoming", "_options", "_outgoing", "_queue", "_size", "held")

    def __init__(self, options: Options, deflate: Deflate | None, outgoing: Outgoing) -> None:
        self._options = options
        self._outgoing = outgoing
        self._incoming = Incoming(options.max_message_size, deflate)
        self._queue: deque[T] | None = None  # messages that were read ahead
        self._size = 0  # of these
        self.held: Violation | None = None

    @property
    def pending(self) -> bool:
        """There may be something to parse without more bytes."""
        return self._incoming.pending

    @property
    def is_ready(self) -> bool:
        """There may be something to take without more bytes."""
        return self._incoming.pending or self._queue is not None

    @property
    def is_full(self) -> bool:
        """No more should be read ahead."""
        return self.held is not None or self._size >= self._options.receive_buffer

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        self._incoming.feed(data)

    def clear(self) -> None:
        """Forget what was not parsed."""
        self._incoming.clear()

    def take(self) -> T | Close | None:
        """The next message, a close frame, or None: nothing yet.

        Raises:
          Violation: the peer broke the protocol.
        """
        if self._queue is None:
            return self._parse()
        if self._queue:
            message = self._queue.popleft()
            self._size -= len(message) + OVERHEAD
            return message
        self._queue = None
        if self.held is not None:
            raise self.take_held()
        return self._parse()

    def take_held(self) -> Violation:
        """The violation that was held back; it is not kept, since its traceback will lead here."""
        held, self.held = self.held, None
        assert held is not None
        return held

    def read_ahead(self) -> Close | None:
        """Queue the messages that have arrived; a close frame is not queued.

        Raises:
          Violation: the peer broke the protocol, and no message is in front of it.
        """
        try:
            while not self.is_full and (message := self._parse()) is not None:
                if isinstance(message, Close):
                    return message
                if self._queue is None:
                    self._queue = deque()
                self._queue.append(message)
                self._size += len(message) + OVERHEAD
        except Violation as exc:
            if not self._queue:
                raise
            self.held = exc.with_traceback(None)
        return None

    def drain(self) -> Close | None:
        """Parse what has arrived, for its close frame only.

        Raises:
          Violation: the peer broke the protocol.
        """
        message = self._parse()
        return message if isinstance(message, Close) else None

    def _parse(self) -> T | Close | None:
        """The next of what has arrived. None may come although there is more."""
        wanted = self._options.message_type
        pongs = pong = b""
        try:
            for _ in range(BUDGET):
                event = self._incoming.next()
                if event is NEED_DATA:
                    return None
                if event is None:
                    continue
                if isinstance(event, Control):
                    if event.opcode is Opcode.PING:
                        pong = encode_frame(FIN | Opcode.PONG, event.payload)
                        pongs += pong
                    elif event.opcode is Opcode.CLOSE:
                        return parse_close(event.payload)
                elif wanted is None or type(event) is wanted:
                    return event  # type: ignore[return-value]
                else:
                    raise Violation(CloseCode.UNSUPPORTED_DATA, f"messages here are {wanted.__name__}")
            return None
        finally:
            if pongs:
                self._outgoing.put_pongs(pongs, newest=pong)
