"""How long to wait for a peer: for its host to acknowledge, and for the peer to answer.

A peer that reads slowly looks like one that has vanished; `_patience` says how they are told apart. A wait follows that
rule while more and more is sent. It knows times and numbers of bytes, and nothing of I/O.
"""

from __future__ import annotations

import math
from enum import Enum

from .._patience import LEAST_SEND_TIMEOUT, extra_time

__all__ = ["CLOSE", "NOTHING", "PONG", "Wait", "least_send_timeout"]


class Answer(Enum):
    """What a peer is to answer."""

    NOTHING = "nothing: it is enough that its host acknowledges what is sent"
    PONG = "a ping; anything that it sends is an answer"
    CLOSE = "our close frame; only a close frame is an answer"


NOTHING, PONG, CLOSE = Answer


class Wait:
    """A wait for one peer.

    Args:
      now: when it begins, in seconds.

    Attributes:
      answer: what is awaited.
      asked_at: how many bytes were sent up to and including the ping or close frame that is to be answered.
      is_for_host: at the last look, the peer's host had not acknowledged everything.
      was_warned: the time was nearly up at the last look. Whoever looks sets it.
    """

    __slots__ = (
        "_acknowledged",
        "_answer_from",
        "_begun",
        "_extra",
        "_progress_at",
        "answer",
        "asked_at",
        "is_for_host",
        "was_warned",
    )

    def __init__(self, now: float) -> None:
        self._begun = now
        self._acknowledged = -1  # how many bytes were acknowledged at the last look; -1 before the first
        self._progress_at = now  # when a look last found that more was acknowledged, or was the first
        self._answer_from: float | None = None  # since when the peer could answer
        self._extra = 0.0  # seconds that it gets to read what came before
        self.answer = NOTHING
        self.asked_at = 0
        self.is_for_host = False
        self.was_warned = False

    def ask(self, answer: Answer, sent: int, unheard: int) -> None:
        """Await an answer to what was just sent.

        Args:
          sent: how many bytes were sent so far.
          unheard: how many of them were sent since the peer was last heard. They give it whole seconds, so that a
            few bytes make no difference.
        """
        self.answer = answer
        self.asked_at = sent
        self._extra = extra_time(max(unheard, 0)) // 1
        self._answer_from = None

    def stop_asking(self) -> None:
        """Await no answer any more."""
        self.answer = NOTHING
        self._answer_from = None
        self.was_warned = False

    def postpone(self) -> None:
        """Let the time for an answer begin at the next look: until now, nobody would have seen the answer."""
        self._answer_from = None

    def deadline(self, now: float, sent: int, unacknowledged: int, timeout: float, send_timeout: float) -> float:
        """Return when the time is up, as far as is known now; to be asked at every look.

        Args:
          now: the time, in seconds.
          sent: how many bytes were sent so far.
          unacknowledged: how many of them the peer's host has not acknowledged.
          timeout: the seconds that the peer has for its answer, or infinity.
          send_timeout: the seconds in which its host must acknowledge something, or infinity.
        """
        acknowledged = sent - unacknowledged
        is_first = self._acknowledged < 0
        if not unacknowledged or acknowledged > self._acknowledged:
            self._progress_at = now
        self._acknowledged = acknowledged
        self.is_for_host = unacknowledged > 0
        has_arrived = not unacknowledged or acknowledged >= self.asked_at
        if self._answer_from is None and has_arrived and self.answer is not NOTHING:
            self._answer_from = self._begun if is_first else now
        if unacknowledged:
            return self._progress_at + send_timeout
        if self._answer_from is None:
            return math.inf
        return self._answer_from + timeout + self._extra


def least_send_timeout(send_timeout: float | None, is_measured: bool) -> float:
    """Return the send timeout to go by.

    Args:
      send_timeout: the option.
      is_measured: the kernel says what was acknowledged. A reader that is slow and steady may then seem to do nothing
        for half a minute.
    """
    if send_timeout is None:
        return math.inf
    return max(send_timeout, LEAST_SEND_TIMEOUT) if is_measured else send_timeout
