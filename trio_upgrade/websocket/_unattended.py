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
from websockets.frames import Opcode

from .._exceptions import log_bug
from .._shutdown import Shutdown
from ._closing import State
from ._endpoint import AWAY, RECEIVED, RECEIVES, Endpoint
from ._frames import FIN, encode_frame
from ._ping_times import Pings

__all__ = ["Attendant"]


class Attendant:
    """Sees to one WebSocket while its handler does something else.

    Args:
      endpoint: that of the WebSocket.
      nursery: runs its tasks.
    """

    __slots__ = ("_endpoint", "_nursery", "_pings", "_violation_by")

    def __init__(self, endpoint: Endpoint[Any], nursery: trio.Nursery) -> None:
        self._endpoint = endpoint
        self._nursery = nursery
        self._pings = Pings()
        self._violation_by = math.inf  # a violation that was read ahead is told then, if not before

    def __repr__(self) -> str:
        return f"<Attendant of {self._endpoint!r}>"

    @property
    def tick(self) -> float:
        """How many seconds there may be between two looks."""
        return self._endpoint.options.tick

    def look(self, now: float) -> None:
        """Do what is due at `now`, in seconds of Trio's clock."""
        endpoint = self._endpoint
        if endpoint.is_disconnecting:
            return
        if now >= endpoint.close_by:
            return self._start_disconnecting(at_once=True)
        if now >= self._violation_by and endpoint.receive_buffer.holds_violation:
            return endpoint.fail(endpoint.receive_buffer.take_violation())
        if not endpoint.is_being_read:
            if endpoint.handler is RECEIVED:
                endpoint.handler = AWAY
            elif endpoint.closing.state.may_receive:
                self._start_reading_ahead()
            else:
                self._start_disconnecting()
        # Once a close frame is sent, the peer has until `close_by` to answer, and needs no ping.
        if endpoint.closing.state in (State.OPEN, State.SENDING_BROKEN):
            self._look_after_peer(now)

    def close_for_shutdown(self, shutdown: Shutdown, now: float) -> float:
        """Begin to close, if it is time for that in the server's shutdown; return when it is."""
        options = self._endpoint.options
        begin = -math.inf if options.shutdown_code is not None else shutdown.last_call(options.close_timeout)
        if now >= begin and self._endpoint.closing.state.may_send:
            self._endpoint.close_for_server(options.code_in_shutdown, "the server is shutting down")
        return math.inf if now >= begin else begin

    def _look_after_peer(self, now: float) -> None:
        """Find out whether a silent peer is still there."""
        endpoint, send_buffer = self._endpoint, self._endpoint.send_buffer
        takes_bytes = send_buffer.has_progressed and not send_buffer.is_empty
        was_heard = endpoint.was_heard or takes_bytes or endpoint.receive_buffer.is_full
        endpoint.was_heard = send_buffer.has_progressed = False
        match self._pings.due(now, was_heard, self._endpoint.options):
            case "ping":
                send_buffer.put(encode_frame(FIN | Opcode.PING, b""))
            case "listen":
                self._start_reading_ahead()
            case "drop":
                endpoint.mark_lost(f"nothing was heard for {self._endpoint.options.ping_timeout} seconds after a ping")
                self._start_disconnecting(at_once=True)

    # ---- reading ahead

    def _start_reading_ahead(self) -> None:
        """Start a task that reads, unless somebody reads or the receive buffer is full."""
        endpoint = self._endpoint
        if not (endpoint.is_being_read or endpoint.receive_buffer.is_full):
            endpoint.is_reading_ahead = True
            self._nursery.start_soon(self._read_ahead)

    async def _read_ahead(self) -> None:
        """Read until the handler receives, the receive buffer is full, or nothing more can arrive."""
        endpoint = self._endpoint
        try:
            while self._may_read_ahead():
                if endpoint.receive_buffer.pending:
                    await checkpoint()
                else:
                    await endpoint.read()
                endpoint.parse_ahead()
                self._set_time_for_violation()
        except Exception:
            log_bug("reading %r ahead failed inside the server", endpoint)
            endpoint.mark_lost("reading failed")
        finally:
            endpoint.is_reading_ahead = False
            endpoint.notify_change()
        if not (endpoint.closing.state.may_receive or endpoint.handler is RECEIVES):
            self._start_disconnecting()

    def _may_read_ahead(self) -> bool:
        endpoint = self._endpoint
        return (
            endpoint.closing.state.may_receive
            and endpoint.handler is not RECEIVES
            and not endpoint.receive_buffer.is_full
        )

    def _set_time_for_violation(self) -> None:
        """Give the handler `close_timeout` seconds to receive the messages before a violation."""
        if self._endpoint.receive_buffer.holds_violation and self._violation_by == math.inf:
            self._violation_by = trio.current_time() + self._endpoint.options.close_timeout

    # ---- the end

    def _start_disconnecting(self, at_once: bool = False) -> None:
        if self._endpoint.claim_disconnect():
            self._nursery.start_soon(self._disconnect, at_once)

    async def _disconnect(self, at_once: bool) -> None:
        """Close the connection below a WebSocket that is closed, while its handler does something else."""
        try:
            try:
                with trio.move_on_after(0 if at_once else self._endpoint.options.close_timeout):
                    await self._endpoint.send_buffer.wait_sent()
            finally:
                await self._endpoint.disconnect(at_once)
        except Exception:
            log_bug("closing %r failed inside the server", self._endpoint)
