"""How a WebSocket ends (RFC 6455 section 7): a state machine that knows nothing of I/O.

                           OPEN --------.
                            |           | sending fails
      we send a close frame |           v
                            |     SENDING_BROKEN, or PEER_ENDED if the peer was seen to end
                            v           |
                         CLOSING        |
                            |           |
                            v           v
       the peer's close frame comes:  CLOSED
       the peer breaks the protocol:  FAILED
       the connection ends:           LOST

Each of the last three may also follow OPEN directly.

There are two machines. One is the connection's: its states are `State`, and `TRANSITIONS` says which event leads from
which state to which. The other is the handler's channel, which is open until a task calls `aclose` or the handler
leaves the block of `accept`. The connection may be closed long before the handler knows; the channel may be closed
while the connection still waits for the peer.

A close that this side begins is no failure: an iteration ends, also when it was another task that closed the WebSocket.
A message that cannot go out any more is a failure: `send` raises `ConnectionClosed`, whoever closed the WebSocket.
"""

from __future__ import annotations

from enum import Enum

import trio
from websockets.frames import Close

from ._close_codes import ORDERLY
from ._errors import ConnectionClosed

__all__ = ["Closing", "Event", "State"]


class State(Enum):
    """How far the connection is on its way to the end.

    Attributes:
      may_send: messages may still be sent.
      may_receive: messages, or the peer's close frame, may still arrive.
    """

    may_send: bool
    may_receive: bool

    def __init__(self, description: str, may_send: bool, may_receive: bool) -> None:
        self.may_send = may_send
        self.may_receive = may_receive

    OPEN = "messages go both ways", True, True
    SENDING_BROKEN = "sending failed; what the peer sent before that is still received", False, True
    PEER_ENDED = "the peer has ended or reset the connection; what it sent before that is still received", False, True
    CLOSING = "our close frame was sent, the peer's is awaited (section 7.1.3)", False, True
    CLOSED = "the peer's close frame has come, and ours was sent (section 7.1.4)", False, False
    FAILED = "the peer broke the protocol (section 7.1.7)", False, False
    LOST = "the connection ended before the peer's close frame (section 7.1.5)", False, False


class Event(Enum):
    """What may happen to the connection."""

    HANDLER_CLOSES = "the handler calls aclose, or leaves the block (section 7.1.2)"
    SERVER_CLOSES = "the server shuts down, or a broadcast finds that the peer reads too slowly"
    PEER_CLOSES = "a close frame arrives"
    PEER_VIOLATES = "something arrives that breaks the protocol"
    SENDING_FAILS = "the connection takes no more bytes"
    PEER_ENDS = "the system says that the peer has ended or reset the connection, after what was not read yet"
    CONNECTION_ENDS = "no more bytes will arrive"


# An event that is not listed for a state changes nothing: a second close, say, or a close after the end.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.HANDLER_CLOSES: State.CLOSING,
        Event.SERVER_CLOSES: State.CLOSING,
        Event.PEER_CLOSES: State.CLOSED,
        Event.PEER_VIOLATES: State.FAILED,
        Event.SENDING_FAILS: State.SENDING_BROKEN,
        Event.PEER_ENDS: State.PEER_ENDED,
        Event.CONNECTION_ENDS: State.LOST,
    },
    State.PEER_ENDED: {
        Event.HANDLER_CLOSES: State.CLOSING,
        Event.SERVER_CLOSES: State.CLOSING,
        Event.PEER_CLOSES: State.CLOSED,
        Event.PEER_VIOLATES: State.FAILED,
        Event.CONNECTION_ENDS: State.LOST,
    },
    State.SENDING_BROKEN: {
        Event.PEER_CLOSES: State.CLOSED,
        Event.PEER_VIOLATES: State.FAILED,
        Event.CONNECTION_ENDS: State.LOST,
    },
    State.CLOSING: {
        Event.PEER_CLOSES: State.CLOSED,
        Event.PEER_VIOLATES: State.FAILED,
        Event.CONNECTION_ENDS: State.LOST,
    },
    State.CLOSED: {},
    State.FAILED: {},
    State.LOST: {
        Event.PEER_VIOLATES: State.FAILED,  # it was read ahead, and the messages before it have now been received
    },
}

# Section 5.5.1: one close frame is sent, when one of the first states is left by one of the events. A peer that has
# ended its side may still read.
MAY_CLOSE = (State.OPEN, State.PEER_ENDED)
SENDS_CLOSE = (Event.HANDLER_CLOSES, Event.SERVER_CLOSES, Event.PEER_CLOSES, Event.PEER_VIOLATES)


class Closing:
    """The state of one WebSocket, and the errors that follow from it.

    Attributes:
      state: of the connection.
      cause: the event that left the state OPEN; None before that.
      close: the code and the reason that came with this event; None before that.
      channel_closed: a task has closed the channel: nothing more is received from now on, whatever still arrives.
    """

    __slots__ = ("cause", "channel_closed", "close", "state")

    def __init__(self) -> None:
        self.state = State.OPEN
        self.cause: Event | None = None
        self.close: Close | None = None
        self.channel_closed = False

    def mark(self, event: Event, close: Close) -> bool:
        """Take note of an event.

        Args:
          event: what has happened.
          close: the code and the reason that belong to it.

        Returns:
          True if a close frame with this code and reason must now be sent.
        """
        before = self.state
        self.state = TRANSITIONS[before].get(event, before)
        # A send that failed, or an end that was seen, gives 1006, until the peer's own close frame is read.
        awaits_close = before in (State.SENDING_BROKEN, State.PEER_ENDED)
        if before is State.OPEN or (awaits_close and event is Event.PEER_CLOSES):
            self.cause, self.close = event, close
        return before in MAY_CLOSE and event in SENDS_CLOSE

    def receive_error(self, transport: object) -> Exception:
        """Make the error that `receive` raises once nothing more can be received."""
        if self.is_orderly:
            return trio.EndOfChannel()
        assert self.close is not None
        return ConnectionClosed(self.close.code, self.close.reason, transport)

    @property
    def is_orderly(self) -> bool:
        """Whether the close is one that ends an iteration."""
        assert self.close is not None
        if self.cause is Event.HANDLER_CLOSES:
            return True
        if self.cause is Event.SERVER_CLOSES:  # what the peer still sends is received, and may break the protocol
            return self.channel_closed or self.state is not State.FAILED
        return self.close.code in ORDERLY

    def send_error(self, transport: object) -> ConnectionClosed:
        """Make the error that `send` raises once nothing more can be sent."""
        assert self.close is not None
        return ConnectionClosed(self.close.code, self.close.reason, transport)
