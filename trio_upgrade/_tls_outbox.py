"""What is encrypted, on its way to the socket.

Whatever is encrypted is committed: the peer cannot read on unless it gets it, whole and in order. So what the
kernel does not take is kept, and goes out before anything else. If a send that must not wait leaves something, a
task sends it, and lives no longer than that takes. A send that was cancelled leaves its rest to whoever sends
next, or closes.
"""

from __future__ import annotations

import trio

from ._socket_transport import SocketTransport
from ._tls_engine import TlsEngine
from ._transport import quiet, wait_patiently

__all__ = ["TlsOutbox"]


class TlsOutbox:
    """What one connection has encrypted, and the kernel has not taken.

    Its errors are those of the socket.

    Args:
      engine: gives what else is to be sent.
      below: the socket.
      nursery: runs the task of `flush_later`.
    """

    __slots__ = ("_below", "_engine", "_flushed", "_nursery", "_unsent")

    def __init__(self, engine: TlsEngine, below: SocketTransport, nursery: trio.Nursery) -> None:
        self._engine = engine
        self._below = below
        self._nursery = nursery
        self._unsent = b""
        self._flushed: trio.Event | None = None  # set when the task of `flush_later` ends

    @property
    def size(self) -> int:
        """How many bytes the kernel has not taken, those included that the engine wants to send."""
        return len(self._unsent) + self._engine.pending

    def offer(self, encrypted: bytes) -> bool:
        """Offer the kernel what it has not taken yet, and then this; returns whether it took all."""
        encrypted = self._unsent + encrypted
        self._unsent = encrypted[self._below.send_nowait(encrypted) :]
        return not self._unsent

    @property
    def is_empty(self) -> bool:
        """The kernel has taken all that was encrypted: more may be."""
        return not self._unsent

    async def flush(self, timeout: float | None) -> None:
        """Send all, and wait while the kernel takes nothing. Not always a checkpoint.

        Raises:
          ConnectionBroken: it broke, or the peer acknowledged nothing for `timeout` seconds.
        """
        while not self.offer(self._engine.take()):
            await self._below.wait_room(timeout)

    @property
    def has_task(self) -> bool:
        """The task of `flush_later` is running. Nobody else may send."""
        return self._flushed is not None

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
