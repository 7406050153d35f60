"""TLS as the transport of a connection, on a socket of our own.

It knows nothing of HTTP. `_tls_engine` knows TLS, `_tls_outbox` how what is encrypted reaches the kernel, and
`_socket_transport` makes the socket calls.
"""

from __future__ import annotations

import operator
import socket as stdlib_socket
import ssl

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ._exceptions import ConnectionBroken
from ._patience import LINGERING_SEND_TIMEOUT
from ._socket_state import Peer
from ._socket_transport import SocketTransport
from ._tls_engine import TlsEngine
from ._tls_info import TlsState
from ._tls_outbox import TlsOutbox
from ._tls_states import BROKEN, CLOSED, ENDED, HANDSHAKE, NEXT, OPEN, Tls
from ._transport import RECEIVE_SIZE, Buffer, Transport, deadline_in, quiet

__all__ = ["TlsTransport"]

PIECE = 64 * 1024  # so much is encrypted at a time: other connections have their turn between two pieces
MAX_ANSWERS = 128 * 1024  # bytes that TLS wants to send, and a peer that makes it do so does not take


class TlsTransport(Transport):
    """A connected stream socket with TLS on it; this is the server's side.

    Until the client's first byte arrives, it is hardly more than the socket: a TLS object takes
    twenty times as much memory.

    Args:
      below: the socket. It is owned from now on.
      context: has the server's certificate.
      nursery: runs the task that sends what `send_nowait` has left.
    """

    __slots__ = (
        "_below",
        "_context",
        "_engine",
        "_nursery",
        "_outbox",
        "_receive_deadline",
        "_receiving",
        "_sending",
        "_state",
    )

    # From the client's first byte on:
    _engine: TlsEngine
    _outbox: TlsOutbox

    def __init__(self, below: SocketTransport, context: ssl.SSLContext, nursery: trio.Nursery) -> None:
        super().__init__(below.peername)
        self._below = below
        self._context = context
        self._nursery = nursery
        self._state = HANDSHAKE
        self._receive_deadline: float | None = None  # of the receive that a task is inside of
        self._receiving = False  # a task is inside of a receive
        self._sending = False  # a task is inside of a send

    def __repr__(self) -> str:
        return f"<TlsTransport {self.peername!r}{' closed' if self._state is CLOSED else ''}>"

    def _move(self, to: Tls) -> None:
        if to not in NEXT[self._state]:
            raise AssertionError(f"{self._state.name} cannot become {to.name}")
        self._state = to

    @property
    def stream(self) -> trio.abc.Stream:
        """This transport itself."""
        return self

    @property
    def socket(self) -> stdlib_socket.socket:
        """The socket below TLS."""
        return self._below.socket

    @property
    def tls_state(self) -> TlsState:
        """See `Transport.tls_state`."""
        return self._engine.state

    def peer_state(self) -> Peer:
        """See `Transport.peer_state`. A close_notify is not seen, only the socket's end."""
        return self._below.peer_state()

    def unacknowledged(self) -> int | None:
        """See `Transport.unacknowledged`."""
        size = self._below.unacknowledged()
        return None if size is None else size + self._outbox.size

    # ---- the handshake

    async def start(self, timeout: float | None) -> None:
        """See `Transport.start`."""
        with trio.CancelScope(deadline=deadline_in(timeout)) as scope:
            try:
                await self._handshake()
            except (ssl.SSLError, ConnectionBroken) as exc:
                raise self._failure(exc) from exc
        if scope.cancelled_caught:
            raise ConnectionBroken(f"the TLS handshake took more than {timeout} seconds", self)

    async def _handshake(self) -> None:
        data = await self._receive_encrypted()
        if not data:
            raise ConnectionBroken("the peer left before the TLS handshake", self)
        self._engine = TlsEngine(self._context)
        self._outbox = TlsOutbox(self._engine, self._below, self._nursery)
        self._engine.feed(data)
        while not self._engine.handshake():
            await self._outbox.flush(self.send_timeout)
            self._engine.feed(await self._receive_encrypted())
        if self._engine.pending:
            await self._outbox.flush(self.send_timeout)
        self._move(OPEN)

    # ---- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`. A cancelled call has taken no byte.

        Raises:
          ConnectionBroken: the connection broke, or the peer broke TLS; also if the peer ends without
            close_notify: what it sent may have been cut short.
        """
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        self._check_usable()
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving on this connection")
        self._receiving = True
        try:
            while True:
                if self._engine.is_holding:
                    await checkpoint()
                else:
                    self._engine.feed(await self._receive_encrypted())
                data = self._engine.decrypt(max_bytes)
                if self._engine.pending:
                    self._send_answers()
                if data is not None:
                    self.bytes_received += len(data)
                    self.sent_when_heard = self.bytes_sent
                    return data
                self._check_usable()  # a task that closes it waits for this one, which must not wait again
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._failure(exc) from exc
        finally:
            self._receiving = False

    receive_interruptibly = receive_some

    async def receive_before(self, deadline: float, max_bytes: int) -> bytes | None:
        """See `Transport.receive_before`. The cancel scope is only for a wait, as the socket's."""
        self._receive_deadline = deadline
        try:
            return await self.receive_some(max_bytes)
        except trio.TooSlowError:
            return None
        finally:
            self._receive_deadline = None

    async def _receive_encrypted(self) -> bytes:
        if self._receive_deadline is None:
            return await self._below.receive_some()
        data = await self._below.receive_before(self._receive_deadline, RECEIVE_SIZE)
        if data is None:
            raise trio.TooSlowError
        return data

    def _send_answers(self) -> None:
        """Send what TLS answers to what it has received, if the kernel takes it. Whoever sends next sends the rest."""
        if self._outbox.size > MAX_ANSWERS:
            raise ssl.SSLError(
                ssl.SSL_ERROR_SSL, "the peer makes TLS answer all the time, and does not take the answers"
            )
        if not self._is_sending:
            with quiet():
                self._outbox.offer(self._engine.take())

    def interrupt(self) -> None:
        """See `Transport.interrupt`."""
        self._below.interrupt()

    def clear_interrupt(self) -> None:
        """See `Transport.clear_interrupt`."""
        self._below.clear_interrupt()

    # ---- sending

    async def send_all(self, data: Buffer) -> None:
        """See `trio.abc.SendStream.send_all`. A cancelled call may have sent a part."""
        self._check_sending()
        self._sending = True
        try:
            await self._wait_empty()
            if type(data) is bytes and 0 < len(data) <= PIECE:
                await self._send_piece(data)
            else:
                await self._send_pieces(data)
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._failure(exc) from exc
        finally:
            self._sending = False

    async def _send_pieces(self, data: Buffer) -> None:
        with memoryview(data) as view, view.cast("B") as octets:
            if not octets:
                await checkpoint()
            for start in range(0, len(octets), PIECE):
                with octets[start : start + PIECE] as piece:
                    await self._send_piece(piece)

    async def _send_piece(self, piece: Buffer) -> None:
        await checkpoint_if_cancelled()
        self._check_usable()
        encrypted = self._engine.encrypt(piece)
        self.bytes_sent += len(piece)
        if self._outbox.offer(encrypted):
            await cancel_shielded_checkpoint()
        else:
            await self._outbox.flush(self.send_timeout)

    async def _wait_empty(self) -> None:
        """Wait until the kernel has taken all that was encrypted, so that not more and more of it is kept."""
        if self._outbox.has_task:
            await self._outbox.wait_task(self.send_timeout)
            self._check_usable()
        if not self._outbox.is_empty:
            await self._outbox.flush(self.send_timeout)

    @property
    def _is_sending(self) -> bool:
        """A task is about to send all that is kept."""
        return self._sending or self._outbox.has_task

    def send_nowait(self, data: Buffer) -> int:
        """See `Transport.send_nowait`. What it takes and the kernel does not, a task sends."""
        self._check_sending()
        if self._outbox.has_task or not (self._outbox.is_empty or self._outbox.offer(b"")):
            return 0
        try:
            if type(data) is bytes and 0 < len(data) <= PIECE:
                self._send_piece_nowait(data)
                return len(data)
            taken = 0
            with memoryview(data) as view, view.cast("B") as octets:
                while taken < len(octets) and not self._outbox.has_task:
                    with octets[taken : taken + PIECE] as piece:
                        self._send_piece_nowait(piece)
                        taken += len(piece)
            return taken
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._failure(exc) from exc

    def _send_piece_nowait(self, piece: Buffer) -> None:
        encrypted = self._engine.encrypt(piece)
        self.bytes_sent += len(piece)
        if not self._outbox.offer(encrypted):
            self._outbox.flush_later()

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_sending()
        self._sending = True
        try:
            await self._wait_empty()
            await self._below.wait_send_all_might_not_block()
        except ConnectionBroken as exc:
            raise self._failure(exc) from exc
        finally:
            self._sending = False

    # ---- the end

    async def send_eof(self) -> None:
        """Send close_notify; see `trio.abc.HalfCloseableStream.send_eof`.

        The socket stays open in both directions. Many peers close when they receive it.
        """
        self._check_usable()
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")
        self._sending = True
        try:
            await checkpoint()
            self._check_usable()
            await self._wait_empty()
            if self._state is OPEN:
                self._move(ENDED)
                self._engine.end()
                await self._outbox.flush(self.send_timeout)
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._failure(exc) from exc
        finally:
            self._sending = False

    async def linger(self, seconds: float) -> None:
        """See `Transport.linger`. Our side ends with close_notify, and then with the socket's own end."""
        try:
            self._below.send_timeout = self.send_timeout
            with quiet():
                await self._end()
                await self._below.linger(seconds)
        finally:
            self._close()

    async def aclose(self) -> None:
        """Send close_notify, and close without waiting for the peer's."""
        try:
            with quiet():
                await self._end()
        finally:
            self._close()
        await checkpoint()

    async def abort(self) -> None:
        """See `Transport.abort`."""
        self._close()

    async def _end(self) -> None:
        """Send the rest and close_notify, once the tasks that wait on this connection have left."""
        before = self._state
        self._mark_closed()
        await self._below.evict()
        if before is HANDSHAKE:
            return
        while self._receiving or self._is_sending:
            await checkpoint()
        if before is OPEN:
            try:
                self._engine.end()
            except ssl.SSLError:
                return  # it has just broken
        if before in (OPEN, ENDED):
            await self._outbox.flush(self.send_timeout or LINGERING_SEND_TIMEOUT)

    def _close(self) -> None:
        self._mark_closed()
        if self.on_close is not None:
            self.on_close(self)
        self._below.close()

    def _mark_closed(self) -> None:
        if self._state is not CLOSED:
            self._move(CLOSED)

    # ---- what is not possible

    def _check_usable(self) -> None:
        if self._state is CLOSED:
            raise trio.ClosedResourceError("this connection was already closed")
        if self._state is BROKEN:
            raise ConnectionBroken("TLS is broken on this connection", self)

    def _check_sending(self) -> None:
        if self._state is not OPEN:
            self._check_usable()
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._sending:
            raise trio.BusyResourceError("another task is already sending on this connection")

    def _failure(self, exc: ssl.SSLError | ConnectionBroken) -> Exception:
        """What is to be raised. If the peer broke TLS, it is told so, if the kernel takes that."""
        if self._state is CLOSED:
            return trio.ClosedResourceError("this connection was closed by another task")
        if isinstance(exc, ConnectionBroken):
            return ConnectionBroken(str(exc), self)
        reason = str(exc)
        if isinstance(exc, ssl.SSLEOFError):
            reason = "it ended without TLS's close_notify, and what the peer sent may be cut short"
        elif self._engine.pending and not self._is_sending:
            with quiet():
                self._outbox.offer(self._engine.take())
        if self._state is not BROKEN:
            self._move(BROKEN)
        return ConnectionBroken(f"the connection to the peer is broken: {reason}", self)
