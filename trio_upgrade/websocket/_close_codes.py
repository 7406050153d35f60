"""Close codes, and the payload of a close frame that carries one (RFC 6455 sections 5.5.1 and 7.4)."""

from __future__ import annotations

import functools

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode

from ._errors import Violation

__all__ = ["ORDERLY", "decode_close", "encode_close"]

# A peer that closes with one of these has said all that it wanted to say.
ORDERLY = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)

MAX_REASON = 123  # bytes; a control frame has 125, and the code takes two


@functools.lru_cache(maxsize=32, typed=True)
def encode_close(code: int, reason: str) -> bytes:
    """Make the payload of a close frame.

    Raises:
      TypeError: the code is not an int, or the reason is not a str.
      ValueError: a close frame cannot have this code or this reason.
    """
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {code!r}")
    if not isinstance(reason, str):
        raise TypeError(f"the reason of a close is a str, not {reason!r}")
    try:
        payload = Close(code, reason).serialize()
    except ProtocolError:
        raise ValueError(f"no close frame may have the code {code!r}") from None
    if len(payload) > 2 + MAX_REASON:
        raise ValueError(f"the reason of a close has at most {MAX_REASON} bytes in UTF-8")
    return payload


def decode_close(payload: bytes) -> Close:
    """Read the payload of a close frame; an empty one has the code 1005.

    Raises:
      Violation: the code or the reason is invalid.
    """
    try:
        return Close.parse(payload)
    except ProtocolError as exc:
        raise Violation(CloseCode.PROTOCOL_ERROR, str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise Violation(CloseCode.INVALID_DATA, "a close reason that is not UTF-8") from exc
