"""`Expect: 100-continue`: the client holds its body back until it sees a 100 (RFC 9110 section 10.1.1)."""

from __future__ import annotations

from ._request_head import Head
from ._sending_state import AWAITED, CUT, INTERIM, Reply

__all__ = ["is_awaited", "owes_continue", "send_continue"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def is_awaited(head: Head, has_begun: bool) -> bool:
    """Whether the client waits for a 100. A client that has begun to send its body does not wait any more."""
    return head.expects_continue and not has_begun


def owes_continue(reply: Reply) -> bool:
    """Whether a 100 has to go out before anything else, or is on its way; or was cut short."""
    return reply.sent is AWAITED or reply.sent is INTERIM or reply.sent is CUT


async def send_continue(reply: Reply) -> None:
    """Send the 100 (Continue), once, if the client still waits for it.

    Cancelled, it has sent nothing, or has broken the connection.

    Raises:
      ConnectionBroken: an earlier message was cut short.
    """
    await reply.wait_for_interim()
    if reply.sent is AWAITED:
        await reply.send_interim(CONTINUE)
