"""TLS as the transport of a connection, on a socket of our own.

It decides what may be done when, and knows nothing of HTTP. `_tls_engine` knows TLS, `_tls_outbox` how what is
encrypted reaches the kernel, and `_socket_transport` makes the socket calls.
"""

from __future__ import annotations

import operator
import socket as stdlib_socket
import ssl

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ._exceptions import ConnectionBroken
from ._patience import LINGERING_SEND_TIMEOUT
from ._peer_state import Peer
from ._socket_options import acknowledge_now
from ._socket_transport import SocketTransport
from ._tls_engine import TlsEngine
from ._tls_info import TlsState
from ._tls_outbox import PIECE, TlsOutbox, pieces_of
from ._tls_states import BROKEN, CLOSED, ENDED, HANDSHAKE, OPEN, follow
from ._transport import RECEIVE_SIZE, Buffer, Transport, deadline_in, quiet

__all__ = ["TlsTransport"]


class TlsTransport(Transport):
    """A connected stream socket with TLS on it; this is the server's side.

    Until the client's first byte arrives, it is hardly more than the socket: a TLS object takes
    twenty times as much memory.

    Args:
      below: the socket. It is owned from now on.
      context: has the server's certificate.
      nursery: runs the task that sends what `send_nowait` has left.
    """

    __slots__ = ("_below", "_context", "_engine", "_nursery", "_outbox", "_receive_deadline", "_receiving", "_state")

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

    def __repr__(self) -> str:
        return f"<TlsTransport {self.peername!r}{' closed' if self._state is CLOSED else ''}>"

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

    @property
    def sent(self) -> int:
        """See `Transport.sent`."""
        return self._below.bytes_sent + self._outbox.size

    @property
    def heard_at(self) -> int:
        """See `Transport.heard_at`."""
        return self._below.sent_when_heard

    # ---- the handshake

    async def start(self, timeout: float | None) -> None:
        """See `Transport.start`."""
        with trio.CancelScope(deadline=deadline_in(timeout)) as scope:
            try:
                await self._handshake()
            except (ssl.SSLError, ConnectionBroken) as exc:
                raise self._error_for(exc) from exc
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
        elif not self._engine.is_holding:
            acknowledge_now(self.socket)  # TLS 1.3 sends nothing that would acknowledge the end of the handshake
        self._state = follow(self._state, OPEN)

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
                    self._outbox.check_answers()
                    self._outbox.offer_pending()
                if data is not None:
                    self.bytes_received += len(data)
                    self.sent_when_heard = self.bytes_sent
                    return data
                self._check_usable()  # a task that closes it waits for this one, which must not wait again
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._error_for(exc) from exc
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
        self._outbox.in_use = True
        try:
            if not self._outbox.is_empty:
                await self._wait_empty()
            if type(data) is bytes and 0 < len(data) <= PIECE:
                await self._send_piece(data)
            elif data:
                for piece in pieces_of(data):
                    await self._send_piece(piece)
            else:
                await checkpoint()
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._error_for(exc) from exc
        finally:
            self._outbox.in_use = False

    async def _send_piece(self, piece: Buffer) -> None:
        await checkpoint_if_cancelled()
        self._check_usable()
        if self._encrypt_and_offer(piece):
            await cancel_shielded_checkpoint()
        else:
            await self._outbox.flush(self.send_timeout)

    def _encrypt_and_offer(self, piece: Buffer) -> bool:
        encrypted = self._engine.encrypt(piece)
        self.bytes_sent += len(piece)
        return self._outbox.offer(encrypted)

    async def _wait_empty(self) -> None:
        """Wait until the kernel has taken all that was encrypted. Otherwise, cancelled sends would pile up."""
        if self._outbox.has_task:
            await self._outbox.wait_task(self.send_timeout)
            self._check_usable()
        if not self._outbox.is_empty:
            await self._outbox.flush(self.send_timeout)

    def send_nowait(self, data: Buffer) -> int:
        """See `Transport.send_nowait`. What it takes and the kernel does not, a task sends."""
        self._check_sending()
        before = self.bytes_sent
        try:
            if self._outbox.has_task or not (self._outbox.is_empty or self._outbox.offer(b"")):
                return 0
            for piece in [data] if type(data) is bytes and 0 < len(data) <= PIECE else pieces_of(data):
                if not self._encrypt_and_offer(piece):
                    self._outbox.flush_later()
                    break
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._error_for(exc) from exc
        return self.bytes_sent - before

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        self._check_sending()
        self._outbox.in_use = True
        try:
            if not self._outbox.is_empty:
                await self._wait_empty()
            await self._below.wait_send_all_might_not_block()
        except ConnectionBroken as exc:
            raise self._error_for(exc) from exc
        finally:
            self._outbox.in_use = False

    # ---- the end

    async def send_eof(self) -> None:
        """Send close_notify; see `trio.abc.HalfCloseableStream.send_eof`.

        The socket stays open in both directions. Many peers close when they receive it.
        """
        self._check_usable()
        self._outbox.check_unused()
        self._outbox.in_use = True
        try:
            await checkpoint()
            self._check_usable()
            await self._wait_empty()
            if self._state is OPEN:
                self._state = follow(self._state, ENDED)
                self._engine.encrypt_close_notify()
                await self._outbox.flush(self.send_timeout)
        except (ssl.SSLError, ConnectionBroken) as exc:
            raise self._error_for(exc) from exc
        finally:
            self._outbox.in_use = False

    async def linger(self, seconds: float) -> None:
        """See `Transport.linger`. Our side ends with close_notify, and then with the socket's own end."""
        try:
            self._below.send_timeout = self.send_timeout
            self._below.on_close = self._before_close
            with quiet():
                await self._send_close_notify()
                await self._below.linger(seconds)
        finally:
            self._close()

    async def aclose(self) -> None:
        """Send close_notify, and close without waiting for the peer's."""
        try:
            with quiet():
                await self._send_close_notify()
        finally:
            self._close()
        await checkpoint()

    async def abort(self) -> None:
        """See `Transport.abort`."""
        self._close()

    async def reset(self) -> None:
        """See `Transport.reset`."""
        self._before_close()
        await self._below.reset()

    async def _send_close_notify(self) -> None:
        """Send the rest and close_notify, once the tasks that wait on this connection have left."""
        before = self._state
        self._mark_closed()
        await self._below.evict()
        if before is HANDSHAKE:
            return
        while self._receiving or self._outbox.is_being_sent:
            await checkpoint()
        if before is OPEN:
            try:
                self._engine.encrypt_close_notify()
            except ssl.SSLError:
                return  # it has just broken
        if before in (OPEN, ENDED):
            await self._outbox.flush(self.send_timeout or LINGERING_SEND_TIMEOUT)

    def _close(self) -> None:
        self._before_close()
        self._below.close()

    def _before_close(self, below: Transport | None = None) -> None:
        """Take note that the socket is about to be closed. Where the socket lingers, it calls this."""
        self._mark_closed()
        if self.on_close is not None:
            self.on_close(self)

    def _mark_closed(self) -> None:
        if self._state is not CLOSED:
            self._state = follow(self._state, CLOSED)

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
        self._outbox.check_unused()

    def _error_for(self, exc: ssl.SSLError | ConnectionBroken) -> Exception:
        """The error to raise for `exc`. A peer that broke TLS gets an alert, if the kernel takes that at once."""
        if self._state is CLOSED:
            return trio.ClosedResourceError("this connection was closed by another task")
        if isinstance(exc, ConnectionBroken):
            return ConnectionBroken(str(exc), self)
        reason = str(exc)
        if isinstance(exc, ssl.SSLEOFError):
            reason = "it ended without TLS's close_notify, and what the peer sent may be cut short"
        elif self._engine.pending:
            self._outbox.offer_pending()
        if self._state is not BROKEN:
            self._state = follow(self._state, BROKEN)
        return ConnectionBroken(f"the connection to the peer is broken: {reason}", self)
