"""What happens to a WebSocket while its handler does not receive.

Nobody reads the connection then, so nobody would answer a ping, complete a close, or find out that the peer is gone.
The keepalive therefore looks at each WebSocket a few times a second, through its `Attendant`. If no task has received
since the last look, the attendant starts a task that reads ahead, into the receive buffer and only until that is full.
This task stops as soon as the handler receives again.

While the receive buffer is full, the kernel is asked about the peer, and no pong is awaited, since nobody would see it.
"""

from __future__ import annotations

import math
from typing import Any

import trio
from trio.lowlevel import checkpoint
from websockets.frames import CloseCode

from .._exceptions import log_bug
from .._patience import FLOOR_RATE
from .._peer_state import Peer
from .._request import transport_of
from .._shutdown import Shutdown
from ._closing import State
from ._endpoint import AWAY, RECEIVED, RECEIVES, Endpoint
from ._errors import Violation
from ._liveness import DROP, LISTEN, Liveness
from ._send_buffer import BROKEN

__all__ = ["Attendant"]


class Attendant:
    """Sees to one WebSocket while its handler does something else.

    Args:
      endpoint: that of the WebSocket.
      nursery: runs its tasks.
    """

    __slots__ = ("_endpoint", "_liveness", "_nursery", "_take_by")

    def __init__(self, endpoint: Endpoint[Any], nursery: trio.Nursery) -> None:
        self._endpoint = endpoint
        self._nursery = nursery
        self._liveness = Liveness()
        self._take_by = math.inf  # until then, the handler may take the messages before a violation or the peer's end

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
            if endpoint.farewell is not None:
                endpoint.farewell.deadline = self._liveness.farewell_deadline(endpoint, now)
            return
        if endpoint.receive_buffer.holds_violation:
            if now >= self._take_by:
                return endpoint.fail(endpoint.receive_buffer.take_violation())
        elif endpoint.handler is not AWAY:
            self._take_by = math.inf
        if not endpoint.is_being_read:
            if endpoint.handler is RECEIVED:
                endpoint.handler = AWAY
            elif endpoint.closing.state.may_receive:
                self._start_reading_ahead()
            else:
                self._start_disconnecting()
        if endpoint.receive_buffer.unfinished is not None:
            self._look_after_message(now)
        if not endpoint.is_disconnecting:
            self._look_after_peer(now)

    def close_for_shutdown(self, shutdown: Shutdown, now: float) -> float:
        """Begin to close, if it is time for that in the server's shutdown; return when it is."""
        options = self._endpoint.options
        begin = -math.inf if options.shutdown_code is not None else shutdown.last_call(options.close_timeout)
        if now >= begin and self._endpoint.closing.state.may_send:
            self._endpoint.close_for_server(options.code_in_shutdown, "the server is shutting down")
        return math.inf if now >= begin else begin

    # ---- the peer

    def _look_after_peer(self, now: float) -> None:
        """Find out whether the peer is still there."""
        endpoint = self._endpoint
        if endpoint.send_buffer.state is BROKEN:
            endpoint.mark_sending_broken()
        if endpoint.handler is AWAY and endpoint.receive_buffer.is_full:
            self._look_for_end(now)
        verdict = self._liveness.look(endpoint, now)
        if verdict is LISTEN:
            self._start_reading_ahead()
        elif verdict is DROP:
            if endpoint.closing.state is State.CLOSING:  # what is unread, the peer's close frame perhaps, is discarded
                return self._start_disconnecting(at_once=endpoint.is_being_read)
            endpoint.mark_lost(self._liveness.reason(endpoint))
            self._start_disconnecting(at_once=True)

    def _look_for_end(self, now: float) -> None:
        """Find out whether the peer has ended the connection after messages for which there is no room.

        The handler has `close_timeout` seconds to take the first of them, and again after each.
        """
        endpoint = self._endpoint
        transport = transport_of(endpoint.request)
        if endpoint.closing.state is State.OPEN and transport.peer_state() in (Peer.ENDED, Peer.GONE):
            endpoint.mark_peer_ended()
        if endpoint.closing.state in (State.PEER_ENDED, State.SENDING_BROKEN):
            if self._take_by == math.inf:
                self._take_by = now + endpoint.options.close_timeout
            elif now >= self._take_by:
                self._start_disconnecting()

    def _look_after_message(self, now: float) -> None:
        """Fail the connection if a message that has begun takes too long. Only time in which we read counts."""
        endpoint = self._endpoint
        message, timeout = endpoint.receive_buffer.unfinished, endpoint.options.message_timeout
        if message is None or timeout is None:
            return
        if message.looked_at is not None and endpoint.is_being_read:
            message.waited += now - message.looked_at
        message.looked_at = now
        if message.waited >= timeout + message.size / FLOOR_RATE:
            endpoint.fail(Violation(CloseCode.POLICY_VIOLATION, f"a message took more than {timeout} seconds"))
            self._start_disconnecting()

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
                if endpoint.receive_buffer.holds_violation:
                    self._take_by = min(self._take_by, trio.current_time() + endpoint.options.close_timeout)
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

    # ---- the end

    def _start_disconnecting(self, at_once: bool = False) -> None:
        if self._endpoint.claim_disconnect():
            self._nursery.start_soon(self._disconnect, at_once)

    async def _disconnect(self, at_once: bool) -> None:
        """Close the connection below a WebSocket that is closed, while its handler does something else."""
        endpoint = self._endpoint
        try:
            try:
                if not at_once:
                    with endpoint.begin_farewell():
                        await endpoint.send_buffer.wait_sent()
            finally:
                await endpoint.disconnect(at_once)
        except Exception:
            log_bug("closing %r failed inside the server", endpoint)
