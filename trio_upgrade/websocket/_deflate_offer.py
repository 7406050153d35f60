"""A client's offer of permessage-deflate, and our answer to it (RFC 7692 section 7.1).

The answer says only what the client cannot do without, and nothing that its offer does not allow, since many clients
refuse a parameter that they did not ask for, and some overlook it:

- A client that offers nothing about our side has an inflater with the largest window, which is kept between messages.
  That inflates everything. So that we compress with a smaller window, or each message by itself, needs no word.
- What the client may be told about its own side, it says in its offer (sections 7.1.1.2 and 7.1.2.2). A client that did
  not offer `client_no_context_takeover` may refer to earlier messages, so we keep the end of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from websockets.typing import ExtensionParameter

__all__ = ["Agreed", "agree"]

# A window of 4 KiB: nearly the best ratio for messages of a chat's size, at a third of the memory of zlib's default.
WINDOW_BITS = 12
MIN_WINDOW_BITS = 9  # zlib can inflate with a window of 8 bits, but not compress
MAX_WINDOW_BITS = 15

BITS = tuple(str(bits) for bits in range(8, MAX_WINDOW_BITS + 1))

# What each parameter may have as its value; None is no value.
VALUES: dict[str, tuple[str | None, ...]] = {
    "server_no_context_takeover": (None,),
    "client_no_context_takeover": (None,),
    "server_max_window_bits": BITS,
    "client_max_window_bits": (None, *BITS),
}


class Agreed(NamedTuple):
    """How the messages of one connection are compressed.

    Attributes:
      our_bits: the window of what we send, as a power of two.
      our_takeover: what we send may refer to our earlier messages.
      their_bits, their_takeover: the same for what the client sends.
    """

    our_bits: int
    our_takeover: bool
    their_bits: int
    their_takeover: bool


def agree(offer: Sequence[ExtensionParameter], takeover: bool) -> tuple[Agreed, list[ExtensionParameter]] | None:
    """Agree to an offer.

    Args:
      offer: its parameters.
      takeover: our messages may refer to earlier ones, if the client lets them.

    Returns:
      What is agreed on, and the parameters of the answer; None if the offer is to be declined (section 7).
    """
    offered = dict(offer)
    if len(offered) < len(offer) or not all(value in VALUES.get(name, ()) for name, value in offer):
        return None
    answer: list[ExtensionParameter] = [(name, None) for name in offered if name.endswith("_no_context_takeover")]
    our_bits, their_bits = WINDOW_BITS, MAX_WINDOW_BITS
    if limit := offered.get("server_max_window_bits"):
        if int(limit) < MIN_WINDOW_BITS:
            return None
        our_bits = min(our_bits, int(limit))
        answer.append(("server_max_window_bits", limit))  # some clients accept no other than the one they offered
    if "client_max_window_bits" in offered:
        their_bits = min(WINDOW_BITS, int(offered["client_max_window_bits"] or MAX_WINDOW_BITS))
        answer.append(("client_max_window_bits", str(their_bits)))
    return (
        Agreed(
            our_bits=our_bits,
            our_takeover=takeover and "server_no_context_takeover" not in offered,
            their_bits=max(their_bits, MIN_WINDOW_BITS),  # some versions of zlib compress with 9 bits when told 8
            their_takeover="client_no_context_takeover" not in offered,
        ),
        answer,
    )
