"""`Expect: 100-continue`: the client holds its body back until it sees a 100 (RFC 9110 section 10.1.1)."""

from __future__ import annotations

from ._request_head import Head
from ._sending_state import AWAITED, INTERIM, INTERIM_CUT, Reply

__all__ = ["is_awaited", "owes_continue", "send_continue"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def is_awaited(head: Head, has_begun: bool) -> bool:
    """Whether the client waits for a 100. A client that has begun to send its body does not wait any more."""
    return head.expects_continue and not has_begun


def owes_continue(reply: Reply) -> bool:
    """Whether a 100 must be sent, or is being sent, before anything else. It is also true if a 100 was cut short."""
    return reply.sent is AWAITED or reply.sent is INTERIM or reply.sent is INTERIM_CUT


async def send_continue(reply: Reply) -> None:
    """Send the 100 (Continue), once, if the client still waits for it.

    If it is cancelled, either nothing was sent, or the connection is broken.

    Raises:
      ConnectionBroken: an earlier call was cut short.
    """
    await reply.wait_for_interim()
    if reply.sent is AWAITED:
        await reply.send_interim(CONTINUE, is_continue=True)
