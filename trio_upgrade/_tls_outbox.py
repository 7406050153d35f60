"""What is encrypted, on its way to the socket.

Once something is encrypted, it has to be sent whole and in order: without it, the peer cannot decrypt what follows.
So what the kernel does not take is kept, and goes out before anything else. If a send that must not wait leaves
something, a task sends it, and ends when that is done. A send that was cancelled leaves its rest to whoever sends
next, or closes.

This module does not know what may be sent when.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import trio

from ._socket_transport import SocketTransport
from ._tls_engine import TlsEngine
from ._transport import Buffer, quiet, wait_patiently

__all__ = ["PIECE", "TlsOutbox", "pieces_of"]

PIECE = 64 * 1024  # so much is encrypted at a time: other connections have their turn between two pieces
MAX_ANSWERS = 128 * 1024  # bytes that TLS wants to send, and a peer that makes it do so does not take


class TlsOutbox:
    """What one connection has encrypted, and the kernel has not taken.

    Its errors are those of the socket.

    Args:
      engine: gives what else is to be sent.
      below: the socket.
      nursery: runs the task of `flush_later`.

    Attributes:
      in_use: a task is inside of a send. Nobody else may send, and it sends all that is kept.
    """

    __slots__ = ("_below", "_engine", "_flushed", "_nursery", "_unsent", "in_use")

    def __init__(self, engine: TlsEngine, below: SocketTransport, nursery: trio.Nursery) -> None:
        self._engine = engine
        self._below = below
        self._nursery = nursery
        self._unsent = b""
        self._flushed: trio.Event | None = None  # set when the task of `flush_later` ends
        self.in_use = False

    @property
    def size(self) -> int:
        """How many bytes the kernel has not taken, those included that the engine wants to send."""
        return len(self._unsent) + self._engine.pending

    def check_unused(self) -> None:
        """Refuse a second task that sends.

        Raises:
          trio.BusyResourceError: a task is inside of a send.
        """
        if self.in_use:
            raise trio.BusyResourceError("another task is already sending on this connection")

    def offer(self, encrypted: bytes) -> bool:
        """Offer the kernel what it has not taken yet, and then this; returns whether it took all."""
        encrypted = self._unsent + encrypted
        self._unsent = encrypted[self._below.send_nowait(encrypted) :]
        return not self._unsent

    @property
    def is_empty(self) -> bool:
        """The kernel has taken all that was encrypted, so more may be."""
        return not self._unsent

    def offer_pending(self) -> None:
        """Offer the kernel what TLS itself wants to send, unless a task sends it anyway. It raises no failure."""
        if not self.is_being_sent:
            with quiet():
                self.offer(self._engine.take())

    def check_answers(self) -> None:
        """Refuse a peer that makes TLS answer all the time, and does not take the answers.

        Raises:
          ssl.SSLError: more than 128 KiB are kept.
        """
        if self.size > MAX_ANSWERS:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the peer takes no answers, and makes TLS answer all the time")

    async def flush(self, timeout: float | None) -> None:
        """Send all, and wait while the kernel takes nothing. Not always a checkpoint.

        Raises:
          ConnectionBroken: it broke, or the peer acknowledged nothing for `timeout` seconds.
        """
        while not self.offer(self._engine.take()):
            await self._below.wait_room(timeout)

    @property
    def has_task(self) -> bool:
        """The task of `flush_later` is running."""
        return self._flushed is not None

    @property
    def is_being_sent(self) -> bool:
        """A task sends all that is kept, or is about to."""
        return self.in_use or self._flushed is not None

    def flush_later(self) -> None:
        """Send all in a task, which ends when the kernel has taken it, or the connection breaks or is closed."""
        self._flushed = trio.Event()
        self._nursery.start_soon(self._run, self._flushed)

    async def wait_task(self, timeout: float | None) -> None:
        """Wait for the end of the task of `flush_later`, which must be running.

        Raises:
          ConnectionBroken: the peer acknowledged nothing for `timeout` seconds.
        """
        assert self._flushed is not None
        await wait_patiently(self._below, timeout, self._flushed.wait)

    async def _run(self, flushed: trio.Event) -> None:
        try:
            with quiet():  # whoever uses the connection next is told
                await self.flush(None)
        finally:
            self._flushed = None
            flushed.set()


def pieces_of(data: Buffer) -> Iterator[memoryview]:
    """Cut data into the pieces that are encrypted one at a time."""
    with memoryview(data) as view, view.cast("B") as octets:
        for start in range(0, len(octets), PIECE):
            with octets[start : start + PIECE] as piece:
                yield piece
