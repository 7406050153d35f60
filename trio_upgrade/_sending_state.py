"""What has been sent in answer to one request, and what may still be sent.

A reading of the body sends a 100 (Continue), the exchange sends the response, and the upgraded stream
switches to another protocol. They all send through the `Reply` of their request, which alone knows
what was sent, also after a send that was cancelled.

This module knows nothing of what a response says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from enum import Enum
from typing import Any

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ._exceptions import ConnectionBroken
from ._transport import Transport

__all__ = ["Reply", "Sent"]


JOINED = 64 * 1024  # bytes: to copy a longer content, so that it goes out with its head, costs more than a second call


class Sent(Enum):
    """How much of the answer to a request was sent.

    Attributes:
      has_begun: a response was begun, so no other one can be sent.
    """

    has_begun: bool

    def __init__(self, description: str, has_begun: bool) -> None:
        self.has_begun = has_begun

    AWAITED = "nothing, and the client waits for a 100 (Continue)", False
    NOTHING = "nothing, or complete interim responses only", False
    INTERIM = "an interim response is being sent", False
    INTERIM_CUT = "a part of an interim response: nothing can follow it", False
    RESPONSE = "the response is being sent: its head, content or trailer section", True
    UNFRAMED = "the same, and only the end of the connection will tell that it is whole", True
    COMPLETE = "the response", True
    SWITCHING = "the head of the response that hands the connection over is being sent", True
    SWITCH_CUT = "a part of that head: nothing can follow it", True
    SWITCHED = "that head, and whatever the handler sends", True

    __hash__ = object.__hash__  # that of Enum is slow, since it is written in Python


# As names of the module: Python 3.11 looks an enum's member up ten times as slowly.
AWAITED, NOTHING, INTERIM, INTERIM_CUT, RESPONSE, UNFRAMED, COMPLETE, SWITCHING, SWITCH_CUT, SWITCHED = Sent

# What may follow what. A trailer section adds no state.
NEXT: dict[Sent, tuple[Sent, ...]] = {
    AWAITED: (INTERIM, RESPONSE, UNFRAMED),
    NOTHING: (INTERIM, RESPONSE, UNFRAMED, SWITCHING),
    INTERIM: (AWAITED, NOTHING, INTERIM_CUT),
    INTERIM_CUT: (),
    RESPONSE: (COMPLETE,),
    UNFRAMED: (COMPLETE,),
    COMPLETE: (),
    SWITCHING: (SWITCHED, SWITCH_CUT),
    SWITCH_CUT: (),
    SWITCHED: (),
}


class Reply:
    """The sending side of one exchange.

    Args:
      transport: where it is sent.
      awaited: the client waits for a 100 (Continue).

    Attributes:
      sent: how much was sent.
    """

    __slots__ = ("_interim_done", "_sent_before", "_transport", "sent")

    def __init__(self, transport: Transport, awaited: bool) -> None:
        self._transport = transport
        self._sent_before = 0  # what the transport has sent before the content
        self._interim_done: trio.Event | None = None
        self.sent = AWAITED if awaited else NOTHING

    def _move(self, to: Sent) -> None:
        if to not in NEXT[self.sent]:
            raise AssertionError(f"{self.sent.name} cannot become {to.name}")
        self.sent = to

    @property
    def has_switched(self) -> bool:
        """The head that hands the connection over was begun."""
        return self.sent in (SWITCHING, SWITCH_CUT, SWITCHED)

    @property
    def content_size(self) -> int:
        """How many bytes of the response's content, with the overhead of its chunks, or of the stream were sent."""
        return max(self._transport.bytes_sent - self._sent_before, 0) if self.sent.has_begun else 0

    # ---- interim responses

    async def send_interim(self, data: bytes, is_continue: bool = False) -> None:
        """Send an interim response: a 100 (Continue), or another one, after which the client still waits for a 100.

        If it is cancelled, either nothing was sent, or the connection is broken.

        Raises:
          RuntimeError: a response was begun.
          ConnectionBroken: the peer took nothing of it in time, or an earlier one was cut short.
        """
        await checkpoint_if_cancelled()
        await self.wait_for_interim()
        if self.sent.has_begun:
            raise RuntimeError("a response was already begun; an interim one comes before it")
        after = AWAITED if self.sent is AWAITED and not is_continue else NOTHING
        self._move(INTERIM)
        self._interim_done = trio.Event()
        try:
            await self._transport.send_all(data)
        except BaseException:
            self._move(INTERIM_CUT)
            raise
        else:
            self._move(after)
        finally:
            self._interim_done.set()
            self._interim_done = None

    async def wait_for_interim(self) -> None:
        """Let an interim response that another task sends go out whole.

        Raises:
          ConnectionBroken: an interim response was cut short.
        """
        while self.sent is INTERIM:
            assert self._interim_done is not None
            await self._interim_done.wait()
        if self.sent is INTERIM_CUT:
            raise ConnectionBroken("an interim response was cut short", self._transport)

    # ---- the response

    async def send_head(self, head: bytes, content: bytes = b"", framed: bool = True) -> None:
        """Send the head of the response, and the first of its content, in one write if that is small.

        Args:
          framed: a length or chunks tell where the content ends, and not the end of the connection.

        If it is cancelled, the connection is broken.

        Raises:
          ConnectionBroken: the peer took nothing of it in time, or an interim response was cut short.
        """
        if self.sent is INTERIM or self.sent is INTERIM_CUT:
            await self.wait_for_interim()
        self._move(RESPONSE if framed else UNFRAMED)
        self._sent_before = self._transport.bytes_sent + len(head)
        if len(content) <= JOINED:
            await self._transport.send_all(head + content)
        else:
            await self._transport.send_all(head)
            await self._transport.send_all(content)

    async def send_whole(self, head: bytes, content: bytes) -> None:
        """Like `send_head` for a whole response, but no checkpoint if a plain socket takes all of it at once.

        So the task that waits for the end of the response runs one turn of the scheduler earlier.
        """
        transport = self._transport
        if len(content) > JOINED or transport.is_tls or transport.socket is None or self.sent in (INTERIM, INTERIM_CUT):
            return await self.send_head(head, content)
        self._move(RESPONSE)
        self._sent_before = transport.bytes_sent + len(head)
        data = head + content
        sent = 0
        with contextlib.suppress(NotImplementedError):  # a stream of another library, which has a socket
            sent = transport.send_nowait(data)
        if sent < len(data):
            await transport.send_all(data[sent:])

    def send(self, data: bytes) -> Coroutine[Any, Any, None]:
        """Send more of the response."""
        return self._transport.send_all(data)

    def send_file(self, file: int, size: int) -> Coroutine[Any, Any, None]:
        """Send an open file as the content of the response; see `Transport.send_file`."""
        return self._transport.send_file(file, size)

    def complete(self) -> None:
        """All of the response was sent."""
        self._move(COMPLETE)

    # ---- the switch to another protocol

    async def switch(self, head: bytes) -> None:
        """Send the head of the response that hands the connection over. Call `send_continue` first.

        If it is cancelled, either nothing was sent and it can be called again, or the connection is broken.

        Raises:
          RuntimeError: a response was sent already.
          ConnectionBroken: the peer took nothing of it in time, or an earlier call was cut short.
        """
        if self.sent is SWITCH_CUT:
            raise ConnectionBroken("the head of the response was cut short", self._transport)
        if self.sent.has_begun:
            raise RuntimeError("a response was already sent on this stream")
        await checkpoint_if_cancelled()
        self._move(SWITCHING)
        end = head.find(b"\r\n\r\n") + 4  # a handler that writes its own may send more at once
        self._sent_before = self._transport.bytes_sent + (end if end > 3 else len(head))
        try:
            await self._transport.send_all(head)
        except BaseException:
            self._move(SWITCH_CUT)
            raise
        self._move(SWITCHED)
        self._transport.send_timeout = None  # from now on it is the handler that waits
