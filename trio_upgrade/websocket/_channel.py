"""The WebSocket: a channel of messages.

`receive` reads the connection itself, so an idle WebSocket needs no task but its handler's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._request import Request, transport_of
from ._close_codes import encode_close
from ._endpoint import RECEIVED, RECEIVES, Endpoint
from ._frames import encode_message
from ._send_buffer import BROKEN

__all__ = ["WebSocket"]

T = TypeVar("T", str, bytes, str | bytes)


class WebSocket(trio.abc.Channel[T], Generic[T]):
    """An open WebSocket, as a channel of messages: str for text, bytes for binary.

    `accept` makes it. One task may receive at a time, and any number of tasks may send.

    Attributes:
      subprotocol: the subprotocol that was agreed on, a str; or None.
    """

    __slots__ = ("_endpoint", "subprotocol")

    def __init__(self, endpoint: Endpoint[T], subprotocol: str | None) -> None:
        self._endpoint: Endpoint[T] = endpoint
        self.subprotocol = subprotocol

    def __repr__(self) -> str:
        return repr(self._endpoint)

    @property
    def request(self) -> Request:
        """The request of the handshake."""
        return self._endpoint.request

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455 section 7.4), or None while the WebSocket is open.

        It is the code of the close frame that came first, ours or the peer's. It is 1005 for a close frame without a
        code, and 1006 if the connection ended without a close frame.
        """
        close = self._endpoint.closing.close
        return None if close is None else close.code

    @property
    def close_reason(self) -> str:
        """The reason that belongs to `close_code`; "" while the WebSocket is open."""
        close = self._endpoint.closing.close
        return "" if close is None else close.reason

    async def receive(self) -> T:
        """Receive a message.

        What the peer sent before the WebSocket was closed is received first.

        Raises:
          trio.EndOfChannel: the peer closed the WebSocket with 1000, 1001 or no code; or this side closed it: a task
            called `aclose`, the server shuts down, or a `broadcast` found the send buffer full.
          ConnectionClosed: the peer closed the WebSocket with another code, vanished or broke the protocol.
          trio.BusyResourceError: another task is receiving.

        If it is cancelled, it has taken no message.
        """
        endpoint = self._endpoint
        if endpoint.handler is RECEIVES:
            raise trio.BusyResourceError("another task is already receiving from this WebSocket")
        if endpoint.closing.channel_closed:
            await checkpoint()
            raise endpoint.closing.receive_error(transport_of(endpoint.request))
        endpoint.handler = RECEIVES
        try:
            if endpoint.receive_buffer.is_ready or not endpoint.closing.state.may_receive:
                await checkpoint()
            while (message := endpoint.take()) is None:
                if endpoint.receive_buffer.pending:
                    await checkpoint()
                elif endpoint.is_reading_ahead:
                    await endpoint.wait_change()
                else:  # a copy of `Endpoint.read`, whose frame would be kept for as long as this waits
                    try:
                        endpoint.feed(await endpoint.stream.receive_some())
                    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                        endpoint.mark_lost(str(exc))
            return message
        finally:
            endpoint.handler = RECEIVED
            if endpoint.change is not None:
                endpoint.notify_change()

    async def send(self, message: T) -> None:
        """Send a message, and wait until the transport has taken it.

        It waits while the peer does not read, until its host has acknowledged nothing for `send_timeout`. Several tasks
        may send at once: each message goes out whole, and they go out in the order in which the calls came.

        Args:
          message: str for text, bytes for binary.

        Raises:
          TypeError: the message is neither str nor bytes.
          ValueError: the message is a str with a lone surrogate, which UTF-8 cannot have.
          ConnectionClosed: the WebSocket is closed, whoever closed it, or the connection broke.

        If it is cancelled, either nothing was sent, or the whole message still goes out.
        """
        await checkpoint_if_cancelled()
        endpoint = self._endpoint
        endpoint.check_sendable()
        buffer = endpoint.send_buffer
        if buffer.has_line:
            await buffer.wait_turn()
            endpoint.check_sendable()
        if buffer.put(encode_message(message, endpoint.deflate)):
            await cancel_shielded_checkpoint()
        else:
            await buffer.wait_sent()
        if buffer.state is BROKEN:
            endpoint.check_sendable()

    def send_nowait(self, message: T) -> None:
        """Send a message, or buffer it if the peer is slow. Not a checkpoint.

        Args:
          message: str for text, bytes for binary.

        Raises:
          trio.WouldBlock: the send buffer is full.
          And what `send` raises.
        """
        endpoint = self._endpoint
        endpoint.check_sendable()
        if endpoint.send_buffer.is_full:
            raise trio.WouldBlock("the send buffer is full")
        endpoint.send_buffer.put(encode_message(message, endpoint.deflate))
        endpoint.check_sendable()

    async def wait_closed(self) -> None:
        """Wait until the WebSocket is closed: by the peer, by its vanishing, or by our side. Always a checkpoint.

        For a handler that only sends. From then on, `close_code` says why, and nothing more can be sent. Messages that
        came before may still be received. If it is closed already, this returns at once.

        An end that our side does not cause is found out within half a second after it arrives, without receiving: what
        comes is read ahead, until `receive_buffer` is full. While that is full, the end of the connection and a reset
        are still seen, but a close frame after the unread messages only when those are received; and so is the end, if
        more is unread than the system holds. A stream that is no socket cannot tell an end after unread messages.
        """
        with self._endpoint.closed_scope():
            await trio.sleep_forever()

    def cancel_on_close(self) -> AbstractContextManager[trio.CancelScope]:
        """A `trio.CancelScope` that is cancelled when the WebSocket is closed; at once if it is closed already.

        For a handler that only sends, and sees to something else meanwhile::

            with ws.cancel_on_close():
                async for event in events:
                    await ws.send(event)

        It finds out as `wait_closed` does.
        """
        return self._endpoint.closed_scope()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket: send a close frame, wait for the peer's, and close the connection.

        Any task may call it: that is how to throw somebody out. What the peer still sends is discarded. A task that is
        receiving gets `trio.EndOfChannel` once the close is complete, which takes at most `close_timeout` seconds,
        unless the peer reads slowly. If the WebSocket is already closed, or another task is closing it, this waits
        until the connection is closed.

        Args:
          code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4); 1000 by default.
          reason: at most 123 bytes of UTF-8; empty by default.

        Raises:
          TypeError: the code is not an int, or the reason is not a str.
          ValueError: no close frame may have this code, or the reason is too long.

        If it is cancelled, it drops the connection at once.
        """
        encode_close(code, reason)  # raises before anything has happened
        endpoint, closing = self._endpoint, self._endpoint.closing
        if closing.channel_closed:
            return await endpoint.wait_disconnected()
        closing.channel_closed = True
        if not endpoint.claim_disconnect():
            return await endpoint.wait_disconnected()
        try:
            if not endpoint.is_over:
                endpoint.close_for_handler(code, reason)
                with endpoint.begin_farewell():
                    await endpoint.send_buffer.wait_sent()
                    while closing.state.may_receive:
                        await endpoint.discard()
        finally:
            await endpoint.disconnect(at_once=not endpoint.is_over)

    async def _drop(self) -> None:
        """Drop the connection at once, without a close frame."""
        self._endpoint.closing.channel_closed = True
        await self._endpoint.disconnect(at_once=True)
