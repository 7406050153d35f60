"""A socket as the transport of a connection: every socket call that moves bytes is made here.

It knows nothing of TLS or HTTP.
"""

from __future__ import annotations

import contextlib
import operator
import os
import socket as stdlib_socket
from collections.abc import Coroutine
from typing import Any

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
    wait_writable,
)

from ._exceptions import ConnectionBroken
from ._peer_state import Peer, peer_state, unacknowledged
from ._socket_options import end_both_ways, reset_on_close
from ._socket_states import CLOSED, ENDED, EVICTION, INTERRUPT, OPEN, Theirs, Wake
from ._transport import RECEIVE_SIZE, Buffer, Transport, discard_until_end, quiet, wait_patiently

__all__ = ["SocketTransport"]


SENDFILE_PIECE = 256 * 1024  # bytes: what the kernel copies is still in the cache when the peer takes it


class SocketTransport(Transport):
    """A connected stream socket, with every socket call made right here.

    `trio.SocketStream` does the same through three more layers of calls; for small messages they
    cost more than the system call itself.

    Each operation tries its call first and waits only if it would block. Around a call that
    succeeds at once are the two halves of a checkpoint, as in trio's own sockets: a plain
    checkpoint after `recv` would lose the bytes when it is cancelled.

    Args:
      sock: connected, of type SOCK_STREAM. It is made non-blocking and is owned from now on.
      peername: the address of the peer, as `socket.accept` gave it.

    Attributes:
      socket: the socket.
    """

    socket: stdlib_socket.socket

    __slots__ = ("_ours", "_receive_deadline", "_receiving", "_sending", "_theirs", "_wake", "socket")

    def __init__(self, sock: stdlib_socket.socket, peername: Any = None) -> None:
        super().__init__(peername)
        sock.setblocking(False)
        self.socket = sock
        self._ours = OPEN
        self._theirs = Theirs.OPEN
        self._receive_deadline: float | None = None  # of the receive that a task is inside of
        self._receiving = False  # a task is inside of a receive
        self._sending = False  # a task is inside of a send
        self._wake: Wake | None = None

    def __repr__(self) -> str:
        return f"<SocketTransport {self.peername!r}{' closed' if self._ours is CLOSED else ''}>"

    @property
    def stream(self) -> trio.abc.Stream:
        """This transport itself."""
        return self

    @property
    def tls_state(self) -> None:
        """A bare socket has no TLS."""

    def peer_state(self) -> Peer:
        """See `Transport.peer_state`."""
        if self._ours is CLOSED or self._theirs is Theirs.BROKEN:
            return Peer.GONE
        return peer_state(self.socket, self._ours is ENDED)

    def unacknowledged(self) -> int | None:
        """See `Transport.unacknowledged`."""
        return None if self._ours is CLOSED else unacknowledged(self.socket)

    async def start(self, timeout: float | None) -> None:
        """There is no handshake on a bare socket."""

    async def receive_some(self, max_bytes: int | None = None, always_yields: bool = True) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`. A cancelled call has taken no byte.

        Args:
          max_bytes: how many bytes to receive at most; None for 96 KiB.
          always_yields: also if bytes have arrived already, other tasks have their turn.
        """
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._ours is CLOSED:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving on this connection")
        self._receiving = True
        try:
            await checkpoint_if_cancelled()
            data: bytes | None
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                data = None
            else:
                if always_yields:
                    await cancel_shielded_checkpoint()
            while data is None:
                if self._wake is INTERRUPT:  # and the last call to recv found nothing
                    self._wake = None
                    await checkpoint()
                    raise trio.WouldBlock("the wait for bytes was interrupted")
                try:
                    if self._receive_deadline is None:
                        await wait_readable(self.socket)
                    else:
                        await self._wait_readable_before(self._receive_deadline)
                except trio.ClosedResourceError:
                    self._check_still_open()
                try:
                    data = self.socket.recv(max_bytes)
                except BlockingIOError:
                    pass
            if not data:
                self._theirs = Theirs.ENDED
            self.bytes_received += len(data)
            self.sent_when_heard = self.bytes_sent
            return data
        except OSError as exc:
            raise self._error_for(exc) from exc
        finally:
            self._receiving = False

    def receive_interruptibly(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes]:
        """See `Transport.receive_interruptibly`."""
        return self.receive_some(max_bytes, False)

    async def receive_before(self, deadline: float, max_bytes: int) -> bytes | None:
        """See `Transport.receive_before`. The cancel scope costs more than a call: it is only for a wait."""
        self._receive_deadline = deadline
        try:
            return await self.receive_some(max_bytes)
        except trio.TooSlowError:
            return None
        finally:
            self._receive_deadline = None

    async def _wait_readable_before(self, deadline: float) -> None:
        # Apart from `receive_some`, where it would make the frame of every idle connection larger. `trio.fail_at` would
        # keep the Cancelled, and all that waits, in a reference cycle with Python 3.13.
        with trio.CancelScope(deadline=deadline):
            return await wait_readable(self.socket)
        raise trio.TooSlowError

    def interrupt(self) -> None:
        """See `Transport.interrupt`. A call that has not begun to wait is interrupted when it does."""
        if self._ours is not CLOSED and self._wake is None:
            self._wake = INTERRUPT
            if self._receiving:
                notify_closing(self.socket)

    def clear_interrupt(self) -> None:
        """See `Transport.clear_interrupt`."""
        if self._wake is INTERRUPT:
            self._wake = None

    async def send_all(self, data: Buffer) -> None:
        """See `trio.abc.SendStream.send_all`. A cancelled call may have sent a part."""
        self._check_sending()
        self._sending = True
        try:
            await checkpoint_if_cancelled()
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            self.bytes_sent += sent
            if type(data) is bytes and sent == len(data):
                await cancel_shielded_checkpoint()
            else:
                await self._send_rest(data, sent)
        except OSError as exc:
            raise self._error_for(exc) from exc
        finally:
            self._sending = False

    async def _send_rest(self, data: Buffer, sent: int) -> None:
        with memoryview(data) as view, view.cast("B") as octets:
            if sent == octets.nbytes:
                await cancel_shielded_checkpoint()
            while sent < octets.nbytes:
                await self._wait_room(self.send_timeout)
                with contextlib.suppress(BlockingIOError), octets[sent:] as rest:
                    more = self.socket.send(rest)
                    sent += more
                    self.bytes_sent += more

    async def wait_room(self, timeout: float | None) -> None:
        """Wait until the kernel takes more bytes.

        Raises:
          ConnectionBroken: the peer acknowledged nothing for `timeout` seconds; see `Transport.send_timeout`.
        """
        self._check_sending()
        self._sending = True
        try:
            await self._wait_room(timeout)
        finally:
            self._sending = False

    async def _wait_room(self, timeout: float | None) -> None:
        await wait_patiently(self, timeout, self._wait_writable)

    async def _wait_writable(self) -> None:
        try:
            await wait_writable(self.socket)
        except trio.ClosedResourceError:
            raise trio.ClosedResourceError("this connection was closed by another task") from None

    def send_nowait(self, data: Buffer) -> int:
        """Hand the kernel what it takes at once; see `Transport.send_nowait`."""
        self._check_sending()
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._error_for(exc) from exc
        self.bytes_sent += sent
        return sent

    async def send_file(self, file: int, size: int) -> None:
        """See `Transport.send_file`. The kernel copies the file to the socket."""
        self._check_sending()
        self._sending = True
        offset = 0
        try:
            while offset < size:
                await checkpoint_if_cancelled()
                try:
                    sent = os.sendfile(self.socket.fileno(), file, offset, min(SENDFILE_PIECE, size - offset))
                except BlockingIOError:
                    await self._wait_room(self.send_timeout)
                    continue
                if not sent:
                    raise EOFError(f"the file has {offset} bytes, not {size}")
                offset += sent
                self.bytes_sent += sent
                await cancel_shielded_checkpoint()
        except OSError as exc:
            raise self._error_for(exc) from exc
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_sending()
        self._sending = True
        try:
            await self._wait_writable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        if self._ours is CLOSED:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")
        await checkpoint()
        if self._ours is not OPEN:
            return
        self._ours = ENDED
        try:
            self.socket.shutdown(stdlib_socket.SHUT_WR)
        except OSError as exc:
            raise self._error_for(exc) from exc

    async def linger(self, seconds: float) -> None:
        """See `Transport.linger`."""
        try:
            await self.evict()
            if self._theirs is Theirs.OPEN:
                with quiet():
                    await self.send_eof()
                    await discard_until_end(self, seconds)
        finally:
            self.close()

    async def evict(self) -> None:
        """Wake the tasks that wait on this socket with `trio.ClosedResourceError`, but leave it open."""
        if self._ours is CLOSED or not (self._receiving or self._sending):
            return
        self._wake = EVICTION
        notify_closing(self.socket)
        try:
            while self._receiving or self._sending:
                await checkpoint()
        finally:
            self._wake = None

    async def abort(self) -> None:
        """See `Transport.abort`."""
        self.close()

    async def reset(self) -> None:
        """See `Transport.reset`."""
        if self._ours is not CLOSED:
            reset_on_close(self.socket)
            self._close()

    def close(self) -> None:
        """Close at once; tasks that wait here wake with `trio.ClosedResourceError`."""
        if self._ours is OPEN and self._theirs is not Theirs.BROKEN:
            end_both_ways(self.socket)
        if self._ours is not CLOSED:
            self._close()

    def _close(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close(self)
        self._ours = CLOSED
        notify_closing(self.socket)
        self.socket.close()

    async def aclose(self) -> None:
        """Close at once."""
        self.close()
        await checkpoint()

    def _check_still_open(self) -> None:
        """`notify_closing` wakes a task that receives when the socket is closed, and for an interrupt, too."""
        if self._ours is CLOSED or self._wake is not INTERRUPT:
            raise trio.ClosedResourceError("this connection was closed by another task") from None

    def _check_sending(self) -> None:
        if self._ours is not OPEN:
            if self._ours is CLOSED:
                raise trio.ClosedResourceError("this connection was already closed")
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")

    def _error_for(self, exc: OSError) -> Exception:
        if self._ours is CLOSED:
            return trio.ClosedResourceError("this connection was closed by another task")
        if isinstance(exc, ConnectionError | TimeoutError):
            self._theirs = Theirs.BROKEN
        return ConnectionBroken(f"the connection to the peer is broken: {exc}", self)
