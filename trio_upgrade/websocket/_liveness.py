"""Whether the peer of a WebSocket is still there: when to ping it (RFC 6455 section 5.5.2), when to take it for gone.

A ping is due for each `ping_interval` of silence. Where something is awaited from the peer, a `Wait` says for how long.
Without a wait, nobody asks the kernel, and an idle WebSocket has none.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

from websockets.frames import Opcode

from .._request import transport_of
from ._closing import State
from ._endpoint import Endpoint
from ._frames import FIN, encode_frame
from ._waiting import CLOSE, NOTHING, PONG, Wait, least_send_timeout

__all__ = ["DROP", "LISTEN", "STAY", "Liveness"]


class Verdict(Enum):
    """What to do about a peer.

    LISTEN comes before DROP, and lets somebody read until the next look. Where the whole program was held up for longer
    than the timeout, the peer's answer has arrived, but nobody has had a turn to read it.
    """

    STAY = "it is still there, as far as anybody knows"
    LISTEN = "its time is nearly up"
    DROP = "it is gone"


STAY, LISTEN, DROP = Verdict


class Liveness:
    """Watches the peer of one WebSocket."""

    __slots__ = ("_heard_at", "_quiet_from", "_wait")

    def __init__(self) -> None:
        self._quiet_from = 0.0  # when the peer was last heard or pinged
        self._heard_at = 0  # how many bytes had been sent when it was last heard
        self._wait: Wait | None = None

    def look(self, endpoint: Endpoint[Any], now: float) -> Verdict:
        """Send the ping that is due, and say what to do about the peer; to be called at every look."""
        if endpoint.was_heard:
            endpoint.was_heard = False
            self._note_heard(endpoint, now)
        state = endpoint.closing.state
        if state is State.CLOSING:
            self._await_close(endpoint)
        if self._wait is not None:
            verdict = self._judge(endpoint, now, self._wait)
            if verdict is not STAY:
                return verdict
        if state is not State.CLOSING and state.may_receive and self._is_ping_due(endpoint, now):
            self._send_ping(endpoint, now)
        elif self._wait is None and endpoint.send_buffer.size:
            self._wait = Wait(now)
        return STAY

    def farewell_deadline(self, endpoint: Endpoint[Any], now: float) -> float:
        """Return the time until when the peer may take what is sent, and answer our close frame; as far as is known."""
        if endpoint.closing.state.may_receive:
            self._await_close(endpoint)
        if self._wait is None:
            self._wait = Wait(now)
        return self._deadline(endpoint, now, self._wait)

    def reason(self, endpoint: Endpoint[Any]) -> str:
        """Return why the peer is to be dropped."""
        options = endpoint.options
        if self._wait is not None and self._wait.is_for_host:
            return f"nothing of what we sent was taken for {options.send_timeout} seconds"
        return f"nothing was heard for {options.ping_timeout} seconds after a ping"

    def _note_heard(self, endpoint: Endpoint[Any], now: float) -> None:
        self._quiet_from = now  # the same object for all that are looked at together, so it takes no memory
        self._heard_at = transport_of(endpoint.request).heard_at
        wait = self._wait
        if wait is not None and wait.answer is PONG:
            self._heard_at = min(self._heard_at, wait.asked_at)  # it may not have read more, if this is the pong
            wait.stop_asking()

    def _is_ping_due(self, endpoint: Endpoint[Any], now: float) -> bool:
        """A look may come a tick late. So what is due in less than a tick is due now.

        While bytes wait in the send buffer, a ping would wait after them, and tell nothing that they don't.
        """
        interval, tick = endpoint.options.ping_interval, endpoint.options.tick
        return interval is not None and now >= self._quiet_from + interval - tick and not endpoint.send_buffer.size

    def _send_ping(self, endpoint: Endpoint[Any], now: float) -> None:
        endpoint.send_buffer.put(encode_frame(FIN | Opcode.PING, b""))
        self._quiet_from = now
        if self._wait is None:
            self._wait = Wait(now)
        if self._wait.answer is NOTHING:
            sent = sent_by(endpoint)
            self._wait.ask(PONG, sent, sent - self._heard_at)

    def _await_close(self, endpoint: Endpoint[Any]) -> None:
        """Await the peer's close frame, since ours was sent."""
        if self._wait is None or self._wait.answer is not CLOSE:
            self._wait = Wait(endpoint.closing_from)
            sent = sent_by(endpoint)
            self._wait.ask(CLOSE, sent, sent - self._heard_at)

    def _judge(self, endpoint: Endpoint[Any], now: float, wait: Wait) -> Verdict:
        deadline = self._deadline(endpoint, now, wait)
        if wait.answer is CLOSE:
            return DROP if now >= deadline else STAY
        if now < deadline - 2 * endpoint.options.tick:
            wait.was_warned = False
            if deadline == math.inf:
                self._wait = None
            return STAY
        if wait.was_warned:
            return DROP
        wait.was_warned = True
        return LISTEN

    def _deadline(self, endpoint: Endpoint[Any], now: float, wait: Wait) -> float:
        options = endpoint.options
        unacknowledged = transport_of(endpoint.request).unacknowledged()
        timeout = options.close_timeout if wait.answer is CLOSE else options.ping_timeout
        if wait.answer is PONG and endpoint.receive_buffer.is_full:
            wait.postpone()
        return wait.deadline(
            now,
            sent_by(endpoint),
            (unacknowledged or 0) + endpoint.send_buffer.size,
            math.inf if timeout is None else timeout,
            least_send_timeout(options.send_timeout, unacknowledged is not None),
        )


def sent_by(endpoint: Endpoint[Any]) -> int:
    """How many bytes were sent, those included that are buffered."""
    return transport_of(endpoint.request).sent + endpoint.send_buffer.size
