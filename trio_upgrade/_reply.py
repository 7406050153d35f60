"""What has been sent in answer to one request: interim responses, then the response, or a 101.

Three objects send: the body, which may have to send a 100 (Continue) first; the exchange, which sends
the response; and the upgraded stream, which switches to another protocol. They all go through the
`Reply`, which alone knows what may still be sent.

It knows nothing of what a response says.
"""

from __future__ import annotations

from enum import IntEnum

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ._exceptions import ConnectionBroken
from ._transport import Transport

__all__ = ["Reply", "Sent"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Sent(IntEnum):
    """How much of the answer to a request was sent."""

    # The client holds its body back until it sees a 100 (RFC 9110 section 10.1.1).
    AWAITED = 0  # nothing was sent, and the client waits for a 100 (Continue)
    NOTHING = 1  # nothing was sent, or complete interim responses only
    INTERIM = 2  # an interim response is being sent
    RESPONSE = 3  # the response is being sent: its head, content or trailer section
    COMPLETE = 4  # the response was sent
    SWITCHING = 5  # the head of the response that hands the connection over is being sent
    LIVE = 6  # the connection was handed over: what the handler sends goes out as it is
    CUT = 7  # a cancelled send may have cut a message short: nothing can follow it
    CLOSED = 8  # the handler has closed the upgraded stream


NEXT: dict[Sent, tuple[Sent, ...]] = {
    Sent.AWAITED: (Sent.INTERIM, Sent.RESPONSE, Sent.SWITCHING, Sent.CLOSED),
    Sent.NOTHING: (Sent.INTERIM, Sent.RESPONSE, Sent.SWITCHING, Sent.CLOSED),
    Sent.INTERIM: (Sent.NOTHING, Sent.CUT, Sent.CLOSED),
    Sent.RESPONSE: (Sent.COMPLETE,),
    Sent.COMPLETE: (),
    Sent.SWITCHING: (Sent.LIVE, Sent.CUT, Sent.CLOSED),
    Sent.LIVE: (Sent.CLOSED,),
    Sent.CUT: (Sent.CLOSED,),
    Sent.CLOSED: (),
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
        self.sent = Sent.AWAITED if awaited else Sent.NOTHING

    def _move(self, to: Sent) -> None:
        if to not in NEXT[self.sent]:
            raise AssertionError(f"{self.sent.name} cannot become {to.name}")
        self.sent = to

    @property
    def has_begun(self) -> bool:
        """A response was begun, or the stream was switched or closed: no other response can be sent."""
        return self._begin is not None or self.sent is Sent.CLOSED

    @property
    def has_switched(self) -> bool:
        """For an upgraded stream: the head that hands the connection over was begun."""
        return self._begin is not None

    @property
    def owes_continue(self) -> bool:
        """A 100 (Continue) has to go out before anything is read, or is on its way."""
        return self.sent is Sent.AWAITED or self.sent is Sent.INTERIM

    @property
    def size(self) -> int:
        """How many bytes were sent since the response, or the switch, began."""
        return 0 if self._begin is None else self._transport.bytes_sent - self._begin

    # ---- interim responses

    async def send_continue(self) -> None:
        """Send the 100 (Continue) if the client still waits for it, once.

        Cancelled, it has sent nothing, or has broken the connection.

        Raises:
          ConnectionBroken: an earlier message was cut short.
        """
        await self._wait_for_interim()
        if self.sent is Sent.AWAITED:
            await self._send_interim(CONTINUE)

    async def _send_interim(self, data: bytes) -> None:
        await checkpoint_if_cancelled()
        self._move(Sent.INTERIM)
        self._interim_done = trio.Event()
        try:
            await self._transport.send_within(data, self._timeout)
        except BaseException:
            self._cut(Sent.INTERIM)
            raise
        else:
            if self.sent is Sent.INTERIM:
                self._move(Sent.NOTHING)
        finally:
            self._interim_done.set()
            self._interim_done = None

    async def _wait_for_interim(self) -> None:
        """Let an interim response that another task sends go out whole."""
        while self.sent is Sent.INTERIM:
            assert self._interim_done is not None
            await self._interim_done.wait()
        if self.sent is Sent.CUT:
            raise ConnectionBroken("a cancelled send may have cut a message short", self._transport)

    def _cut(self, during: Sent) -> None:
        if self.sent is during:
            self._move(Sent.CUT)

    # ---- the response

    async def begin(self, data: bytes) -> None:
        """Send the begin of the response, at least its head.

        Cancelled, it has broken the connection.

        Raises:
          ConnectionBroken: the peer took nothing of it in time, or an earlier message was cut short.
        """
        if self.sent > Sent.NOTHING:
            await self._wait_for_interim()
        self._move(Sent.RESPONSE)
        self._begin = self._transport.bytes_sent
        await self._transport.send_within(data, self._timeout)

    async def send(self, data: bytes) -> None:
        """Send more of the response."""
        await self._transport.send_within(data, self._timeout)

    def complete(self) -> None:
        """All of the response was sent."""
        self._move(Sent.COMPLETE)

    # ---- the switch to another protocol

    async def switch(self, head: bytes) -> None:
        """Send the head of the response that hands the connection over, after a 100 if one is due.

        Cancelled, it has sent nothing and can be called again, or has broken the connection.

        Raises:
          RuntimeError: a response was sent already.
          trio.ClosedResourceError: the stream was closed meanwhile.
          ConnectionBroken: the peer took nothing of it in time, or an earlier message was cut short.
        """
        self._check_not_begun()
        if self.sent is not Sent.NOTHING:
            await self.send_continue()
            self._check_not_begun()
        await checkpoint_if_cancelled()
        self._move(Sent.SWITCHING)
        self._begin = self._transport.bytes_sent
        try:
            await self._transport.send_within(head, self._timeout)
        except BaseException:
            self._cut(Sent.SWITCHING)
            raise
        if self.sent is Sent.SWITCHING:
            self._move(Sent.LIVE)

    def _check_not_begun(self) -> None:
        if self.sent is Sent.CLOSED:
            raise trio.ClosedResourceError("this stream was already closed")
        if self.has_begun and self.sent is not Sent.CUT:
            raise RuntimeError("a response was already sent on this stream")

    def close(self) -> None:
        """Nothing more will be sent: the handler has closed the stream."""
        self._move(Sent.CLOSED)
