"""What has been sent in answer to one request, and what may still be sent.

A reading of the body sends a 100 (Continue), the exchange sends the response, and the upgraded stream
switches to another protocol. They all send through the `Reply` of their request, which alone knows
what was sent, also after a send that was cancelled.

This module knows nothing of what a response says.
"""

from __future__ import annotations

from enum import IntEnum

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ._exceptions import ConnectionBroken
from ._transport import Transport

__all__ = ["Reply", "Sent"]


class Sent(IntEnum):
    """How much of the answer to a request was sent."""

    AWAITED = 0  # nothing was sent, and the client waits for a 100 (Continue)
    NOTHING = 1  # nothing was sent, or complete interim responses only
    INTERIM = 2  # an interim response is being sent
    RESPONSE = 3  # the response is being sent: its head, content or trailer section
    COMPLETE = 4  # the response was sent
    SWITCHING = 5  # the head of the response that hands the connection over is being sent
    SWITCHED = 6  # the connection was handed over: what the handler sends goes out as it is
    CUT = 7  # a cancelled send may have cut a message short: nothing can follow it
    CLOSED = 8  # the handler has closed the upgraded stream


AWAITED, NOTHING, INTERIM, RESPONSE, COMPLETE, SWITCHING, SWITCHED, CUT, CLOSED = Sent

# What may follow what. Another interim response, or a trailer section, adds no state.
NEXT: dict[Sent, tuple[Sent, ...]] = {
    AWAITED: (INTERIM, RESPONSE, CLOSED),
    NOTHING: (INTERIM, RESPONSE, SWITCHING, CLOSED),
    INTERIM: (NOTHING, CUT, CLOSED),
    RESPONSE: (COMPLETE,),
    COMPLETE: (),
    SWITCHING: (SWITCHED, CUT, CLOSED),
    SWITCHED: (CLOSED,),
    CUT: (CLOSED,),
    CLOSED: (),
}


class Reply:
    """The sending side of one exchange.

    Args:
      transport: where it is sent.
      timeout: how many seconds the peer may take nothing of what is sent; None for ever.
      awaited: the client waits for a 100 (Continue).

    Attributes:
      sent: how much was sent.
    """

    __slots__ = ("_begin", "_interim_done", "_timeout", "_transport", "sent")

    def __init__(self, transport: Transport, timeout: float | None, awaited: bool) -> None:
        self._transport = transport
        self._timeout = timeout
        self._begin: int | None = None  # what the transport had sent when the response, or the switch, began
        self._interim_done: trio.Event | None = None
        self.sent = AWAITED if awaited else NOTHING

    def _move(self, to: Sent) -> None:
        if to not in NEXT[self.sent]:
            raise AssertionError(f"{self.sent.name} cannot become {to.name}")
        self.sent = to

    @property
    def has_begun(self) -> bool:
        """A response was begun, or the stream was switched or closed: no other response can be sent."""
        return self._begin is not None or self.sent is CLOSED

    @property
    def has_switched(self) -> bool:
        """For an upgraded stream: the head that hands the connection over was begun."""
        return self._begin is not None

    @property
    def size(self) -> int:
        """How many bytes were sent since the response, or the switch, began."""
        return 0 if self._begin is None else self._transport.bytes_sent - self._begin

    # ---- interim responses

    async def send_interim(self, data: bytes) -> None:
        """Send an interim response: a 100 (Continue).

        Cancelled, it has sent nothing, or has broken the connection.
        """
        await checkpoint_if_cancelled()
        self._move(INTERIM)
        self._interim_done = trio.Event()
        try:
            await self._transport.send_within(data, self._timeout)
        except BaseException:
            self._cut(INTERIM)
            raise
        else:
            if self.sent is INTERIM:
                self._move(NOTHING)
        finally:
            self._interim_done.set()
            self._interim_done = None

    async def wait_for_interim(self) -> None:
        """Let an interim response that another task sends go out whole.

        Raises:
          ConnectionBroken: a message was cut short.
        """
        while self.sent is INTERIM:
            assert self._interim_done is not None
            await self._interim_done.wait()
        if self.sent is CUT:
            raise ConnectionBroken("a cancelled send may have cut a message short", self._transport)

    def _cut(self, during: Sent) -> None:
        if self.sent is during:
            self._move(CUT)

    # ---- the response

    async def begin(self, data: bytes) -> None:
        """Send the begin of the response, at least its head.

        Cancelled, it has broken the connection.

        Raises:
          ConnectionBroken: the peer took nothing of it in time, or an earlier message was cut short.
        """
        if self.sent > NOTHING:
            await self.wait_for_interim()
        self._move(RESPONSE)
        self._begin = self._transport.bytes_sent
        await self._transport.send_within(data, self._timeout)

    async def send(self, data: bytes) -> None:
        """Send more of the response."""
        await self._transport.send_within(data, self._timeout)

    def complete(self) -> None:
        """All of the response was sent."""
        self._move(COMPLETE)

    # ---- the switch to another protocol

    async def switch(self, head: bytes) -> None:
        """Send the head of the response that hands the connection over. No 100 (Continue) can be due.

        Cancelled, it has sent nothing and can be called again, or has broken the connection.

        Raises:
          RuntimeError: a response was sent already.
          trio.ClosedResourceError: the stream was closed meanwhile.
          ConnectionBroken: the peer took nothing of it in time, or an earlier message was cut short.
        """
        if self.sent is not NOTHING:
            self._check_not_begun()
            await self.wait_for_interim()
            self._check_not_begun()
        await checkpoint_if_cancelled()
        self._move(SWITCHING)
        self._begin = self._transport.bytes_sent
        try:
            await self._transport.send_within(head, self._timeout)
        except BaseException:
            self._cut(SWITCHING)
            raise
        if self.sent is SWITCHING:
            self._move(SWITCHED)

    def _check_not_begun(self) -> None:
        if self.sent is CLOSED:
            raise trio.ClosedResourceError("this stream was already closed")
        if self.has_begun and self.sent is not CUT:
            raise RuntimeError("a response was already sent on this stream")

    def close(self) -> None:
        """Nothing more will be sent: the handler has closed the stream."""
        self._move(CLOSED)
