"""What happens to a WebSocket while its handler does not receive.

Nobody reads the connection then, so nobody would answer a ping, complete a close, or find out that the peer is gone.
The keepalive therefore looks at each WebSocket a few times a second, through its `Attendant`. If no task has received
since the last look, the attendant starts a task that reads ahead, into the receive buffer and only until that is full.
This task stops as soon as the handler receives again.
"""

from __future__ import annotations

import math
from typing import Any

import trio
from trio.lowlevel import checkpoint
from websockets.frames import CloseCode, Opcode

from .._exceptions import log_bug
from ._closing import State
from ._connection import AWAY, RECEIVED, RECEIVES, Connection
from ._frames import FIN, encode_frame
from ._pings import Pings

__all__ = ["Attendant"]


class Attendant:
    """Sees to one WebSocket while its handler does something else.

    Args:
      connection: that of the WebSocket.
      nursery: runs its tasks.
    """

    __slots__ = ("_connection", "_nursery", "_pings", "_violation_by")

    def __init__(self, connection: Connection[Any], nursery: trio.Nursery) -> None:
        self._connection = connection
        self._nursery = nursery
        self._pings = Pings()
        self._violation_by = math.inf  # a violation that was read ahead is told then, if not before

    def __repr__(self) -> str:
        return f"<Attendant of {self._connection!r}>"

    @property
    def tick(self) -> float:
        """How many seconds there may be between two looks."""
        return self._connection.options.tick

    def look(self, now: float) -> None:
        """Do what is due at `now`, in seconds of Trio's clock."""
        connection = self._connection
        if connection.is_disconnecting:
            return
        if now >= connection.close_by:
            return self._start_disconnecting(at_once=True)
        if now >= self._violation_by and connection.receive_buffer.holds_violation:
            return connection.fail(connection.receive_buffer.take_violation())
        if not connection.is_being_read:
            if connection.handler is RECEIVED:
                connection.handler = AWAY
            elif connection.closing.state.may_receive:
                self._start_reading_ahead()
            else:
                self._start_disconnecting()
        # Once a close frame is sent, the peer has until `close_by` to answer, and needs no ping.
        if connection.closing.state in (State.OPEN, State.SENDING_BROKEN):
            self._look_after_peer(now)

    def close_for_shutdown(self) -> None:
        """Begin to close, since the server shuts down."""
        self._connection.close_for_server(CloseCode.GOING_AWAY, "the server is shutting down")

    def _look_after_peer(self, now: float) -> None:
        """Find out whether a silent peer is still there."""
        connection, send_buffer = self._connection, self._connection.send_buffer
        takes_bytes = send_buffer.has_progressed and not send_buffer.is_empty
        was_heard = connection.was_heard or takes_bytes or connection.receive_buffer.is_full
        connection.was_heard = send_buffer.has_progressed = False
        match self._pings.due(now, was_heard, self._connection.options):
            case "ping":
                send_buffer.put(encode_frame(FIN | Opcode.PING, b""))
            case "listen":
                self._start_reading_ahead()
            case "drop":
                connection.mark_lost(
                    f"nothing was heard for {self._connection.options.ping_timeout} seconds after a ping"
                )
                self._start_disconnecting(at_once=True)

    # ---- reading ahead

    def _start_reading_ahead(self) -> None:
        """Start a task that reads, unless somebody reads or the receive buffer is full."""
        connection = self._connection
        if not (connection.is_being_read or connection.receive_buffer.is_full):
            connection.is_reading_ahead = True
            self._nursery.start_soon(self._read_ahead)

    async def _read_ahead(self) -> None:
        """Read until the handler receives, the receive buffer is full, or nothing more can arrive."""
        connection = self._connection
        try:
            while self._may_read_ahead():
                if connection.receive_buffer.pending:
                    await checkpoint()
                else:
                    await connection.read()
                connection.parse_ahead()
                self._set_time_for_violation()
        except Exception:
            log_bug("reading %r ahead failed inside the server", connection)
            connection.mark_lost("reading failed")
        finally:
            connection.is_reading_ahead = False
            connection.notify_change()
        if not (connection.closing.state.may_receive or connection.handler is RECEIVES):
            self._start_disconnecting()

    def _may_read_ahead(self) -> bool:
        connection = self._connection
        return (
            connection.closing.state.may_receive
            and connection.handler is not RECEIVES
            and not connection.receive_buffer.is_full
        )

    def _set_time_for_violation(self) -> None:
        """Give the handler `close_timeout` seconds to receive the messages before a violation."""
        if self._connection.receive_buffer.holds_violation and self._violation_by == math.inf:
            self._violation_by = trio.current_time() + self._connection.options.close_timeout

    # ---- the end

    def _start_disconnecting(self, at_once: bool = False) -> None:
        if self._connection.claim_disconnect():
            self._nursery.start_soon(self._disconnect, at_once)

    async def _disconnect(self, at_once: bool) -> None:
        """Close the connection below a WebSocket that is closed, while its handler does something else."""
        try:
            try:
                with trio.move_on_after(0 if at_once else self._connection.options.close_timeout):
                    await self._connection.send_buffer.wait_sent()
            finally:
                await self._connection.disconnect(at_once)
        except Exception:
            log_bug("closing %r failed inside the server", self._connection)
