"""What carries one connection: a stream with a little more, the same for a socket and for any other stream.

It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import math
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio

from ._exceptions import ConnectionBroken
from ._patience import Patience, Progress
from ._peer_state import AnySocket, Peer
from ._tls_info import TlsState

__all__ = [
    "RECEIVE_SIZE",
    "Buffer",
    "Transport",
    "close_at_once",
    "deadline_in",
    "discard_until_end",
    "quiet",
    "wait_patiently",
]

LOOK = 1.0  # seconds between two looks at a peer for whom somebody waits
FIRST_LOOK = 0.01  # seconds: mostly, the peer's host is quick
FILE_PIECE = 256 * 1024  # bytes that a thread reads at a time
RECEIVE_SIZE = 96 * 1024  # a frame of 64 KiB in one call, and less than malloc would have to map

Buffer: TypeAlias = bytes | bytearray | memoryview


class Transport(trio.abc.HalfCloseableStream):
    """A stream that one connection owns.

    Its failures are `ConnectionBroken` errors of this transport. A wait for bytes can be interrupted
    without losing any, a wait for a peer that does not read is bounded, and the connection can end
    without destroying what was sent.

    Attributes:
      peername: the address of the peer, as `socket.getpeername` gives it; None if it has no address.
      bytes_received, bytes_sent: so far; over TLS, of the data inside.
      sent_when_heard: what `bytes_sent` was when bytes last came from the peer.
      send_timeout: how many seconds the peer may acknowledge nothing of what is sent; then sending
        raises `ConnectionBroken`. On a socket, less than 30 counts as 30; see `_patience`. None, as at
        first, means for ever.
      on_close: called with this transport just before it closes its socket; None for nobody.
    """

    __slots__ = ("_sockname", "bytes_received", "bytes_sent", "on_close", "peername", "send_timeout", "sent_when_heard")

    def __init__(self, peername: Any) -> None:
        self.peername = peername
        self.bytes_received = 0
        self.bytes_sent = 0
        self.sent_when_heard = 0
        self.send_timeout: float | None = None
        self.on_close: Callable[[Transport], object] | None = None
        self._sockname: Any = None

    @property
    @abstractmethod
    def stream(self) -> trio.abc.Stream:
        """The stream that was accepted or handed over: what has socket options."""

    @property
    def carrier(self) -> Transport | None:
        """The transport of the connection that this one's stream was upgraded on: of a server around this one."""
        return None

    @property
    def is_tls(self) -> bool:
        """The bytes are encrypted with TLS."""
        return self.tls_state is not None

    @property
    @abstractmethod
    def tls_state(self) -> TlsState | None:
        """What tells the state of TLS, once its handshake is done; None without TLS."""

    @property
    @abstractmethod
    def socket(self) -> AnySocket | None:
        """The socket, also below TLS; None if there is no socket."""

    @property
    def sockname(self) -> Any:
        """The address on this side, as `socket.getsockname` gives it; None if there is no socket."""
        if self._sockname is None and self.socket is not None:
            with contextlib.suppress(OSError):  # it was closed
                self._sockname = self.socket.getsockname()
        return self._sockname

    def peer_state(self) -> Peer:
        """Whether the peer is still there, without reading anything. It costs a system call."""
        return Peer.UNKNOWN

    def unacknowledged(self) -> int | None:
        """How many of the bytes that were sent the peer's host has not acknowledged; None if nobody knows.

        It costs a system call. What is kept because the kernel does not take it is included.
        """
        return None

    def patience(self, timeout: float) -> Patience:
        """Begin to wait for the peer's next word, which it gives within `timeout` seconds of reading everything."""
        unheard = self.bytes_sent - self.sent_when_heard
        return Patience(timeout, self.send_timeout, unheard, self.unacknowledged(), trio.current_time())

    @abstractmethod
    async def start(self, timeout: float | None) -> None:
        """Do the TLS handshake. Without TLS, it does nothing, and is not a checkpoint.

        Raises:
          ConnectionBroken: it failed, or took longer than `timeout` seconds.
        """

    async def receive_before(self, deadline: float, max_bytes: int) -> bytes | bytearray | None:
        """Like `receive_some`, but None if nothing has arrived by a time of `trio.current_time`."""
        with trio.CancelScope(deadline=deadline):
            return await self.receive_some(max_bytes)
        return None

    @abstractmethod
    async def receive_interruptibly(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Like `receive_some`, but `interrupt` ends it, and it need not be a checkpoint if bytes have arrived.

        Raises:
          trio.WouldBlock: it was interrupted, and no byte had arrived.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End the call of `receive_interruptibly` that waits.

        A call that begins to wait later may be interrupted, too: call `clear_interrupt` when no wait is to end.
        """

    @abstractmethod
    def clear_interrupt(self) -> None:
        """Forget an interrupt that came too late to end its wait."""

    @abstractmethod
    def send_nowait(self, data: Buffer) -> int:
        """Send what can be sent at once. Not a checkpoint.

        Returns:
          How many bytes were taken, from the front of `data`; 0 if sending would block.

        Raises:
          NotImplementedError: this transport cannot do that.
        """

    async def send_file(self, file: int, size: int) -> None:
        """Send the first `size` bytes of an open file, by its descriptor.

        Raises:
          EOFError: the file has fewer.
          ConnectionBroken: see `send_timeout`.
        """
        offset = 0
        while offset < size:
            data = await trio.to_thread.run_sync(os.pread, file, min(FILE_PIECE, size - offset), offset)
            if not data:
                raise EOFError(f"the file has {offset} bytes, not {size}")
            await self.send_all(data)
            offset += len(data)

    @abstractmethod
    async def linger(self, seconds: float) -> None:
        """Close in order: end our side, read and discard until the peer's end, then close.

        The peer has so many seconds for its end, once it has read what was sent; see `_patience`. With 0
        seconds, nothing is awaited. A task
        that waits to receive or send here wakes with `trio.ClosedResourceError`. Cancelled, it closes at
        once. It raises no failure of the peer.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Close at once, without waiting for anything. Not a checkpoint."""

    @abstractmethod
    async def reset(self) -> None:
        """Close at once, so that the peer sees a failure and not our end. Not a checkpoint.

        TCP resets the connection, and what the peer has not received yet is lost. Over TLS, there is no
        close_notify either. A transport that cannot tell the peer of a failure does the same as `abort`: a Unix
        socket, a stream in memory.
        """


async def close_at_once(resource: trio.abc.AsyncResource) -> None:
    """Close a resource without waiting. Not a checkpoint: a Cancelled here would hide what ends the task."""
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(resource)


async def wait_patiently(transport: Transport, timeout: float | None, wait: Callable[[], Awaitable[object]]) -> None:
    """Wait for something that happens when the peer takes some of what was sent.

    Args:
      timeout: how long the peer may acknowledge nothing; see `Transport.send_timeout`.
      wait: waits for it. It can be cancelled and called again.

    Raises:
      ConnectionBroken: the time is up.
    """
    if timeout is None:
        await wait()
        return
    progress = Progress(timeout, transport.unacknowledged(), trio.current_time())
    while True:
        with trio.CancelScope(deadline=min(trio.current_time() + LOOK, progress.deadline)):
            await wait()
            return
        if progress.has_stalled(transport.unacknowledged(), trio.current_time()):
            raise ConnectionBroken(f"the peer took no byte of what we sent for {timeout} seconds", transport)


async def discard_until_end(transport: Transport, seconds: float) -> None:
    """Read and discard until the peer's end, or until it has had its time; see `Transport.linger`."""
    if not seconds:
        return
    patience = transport.patience(seconds)
    pause = FIRST_LOOK
    while not patience.is_over(transport.unacknowledged(), now := trio.current_time()):
        with trio.CancelScope(deadline=min(now + pause, patience.deadline)) as scope:
            while await transport.receive_some():
                if trio.current_time() >= scope.deadline:
                    break
            else:
                return
        pause = min(2 * pause, LOOK)


def deadline_in(timeout: float | None) -> float:
    """The time so many seconds from now; None means never."""
    return math.inf if timeout is None else trio.current_time() + timeout


def quiet() -> contextlib.suppress:
    """Ignore the failures of a connection while it is closed."""
    return contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
