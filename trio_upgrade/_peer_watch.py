"""Notices that peers have left while nobody reads their connections or sends anything.

The kernel is asked, and nothing is read: what has arrived stays where it is. On Linux one `epoll` has the
sockets of all that somebody waits for, and Trio waits for the `epoll`. So a wait costs nothing while nothing
happens. Elsewhere, and where no descriptor is free for the `epoll`, a task looks at them four times a second.

This module knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import trio

from ._exceptions import ConnectionBroken
from ._peer_state import END_OR_RESET, RESET_ONLY, Peer
from ._transport import Transport

__all__ = ["PeerWatch", "Watch"]

LOOK = 0.25  # seconds between two looks, where there is no epoll


class State(Enum):
    """Whether a `PeerWatch` watches."""

    UNUSED = "nobody has asked for it yet"
    RUNNING = "its task waits"
    ENDED = "the serving was cancelled, and so is whoever still asks"


UNUSED, RUNNING, ENDED = State


class Watch:
    """A wait for one peer to leave.

    Args:
      transport: has a socket.
      ends: an end of the peer counts; otherwise only a reset does.
      notice: called once, when the peer has left, or the connection is closed on this side.
    """

    __slots__ = ("ends", "notice", "transport")

    def __init__(self, transport: Transport, ends: bool, notice: Callable[[], object]) -> None:
        self.transport = transport
        self.ends = ends
        self.notice = notice

    def is_met(self) -> bool:
        """Whether the peer has left."""
        state = self.transport.peer_state()
        return state is Peer.GONE or (self.ends and state is Peer.ENDED)


class PeerWatch:
    """Watches the peers of one serving.

    Args:
      poller: an `epoll` or `poll` object; None for the best that there is.
    """

    def __init__(self, poller: Any = None) -> None:
        self._watches: dict[int, set[Watch]] = {}  # by the descriptor of their socket
        self._poller = poller
        self._state = UNUSED

    def add(self, watch: Watch, nursery: trio.Nursery) -> None:
        """Watch a peer, until `discard`. The task for it runs in `nursery`, which must outlive the watch."""
        socket = watch.transport.socket
        assert socket is not None
        descriptor = socket.fileno()
        if descriptor == -1:
            watch.notice()
            return
        if self._state is ENDED:
            return
        if self._state is UNUSED:
            self._poller = self._poller or make_poller()
            self._state = RUNNING
            nursery.start_soon(self._run)
        watches = self._watches.setdefault(descriptor, set())
        watches.add(watch)
        watch.transport.on_close = self._close
        self._listen(descriptor, watches, self._poller.register if len(watches) == 1 else self._poller.modify)

    def discard(self, watch: Watch) -> None:
        """Watch no longer. It may be called twice."""
        for descriptor, watches in self._of(watch.transport):
            watches.discard(watch)
            if not watches:
                self._forget(descriptor, watch.transport)

    async def run_until_reset(self, transport: Transport, nursery: trio.Nursery, sending: Awaitable[None]) -> None:
        """Await `sending` until the peer resets the connection. Without a socket nobody knows.

        Raises:
          ConnectionBroken: the peer has reset it, so `sending` was cancelled.
        """
        if transport.socket is None:
            return await sending
        with trio.CancelScope() as scope:
            watch = Watch(transport, False, scope.cancel)
            self.add(watch, nursery)
            try:
                return await sending
            finally:
                self.discard(watch)
        raise ConnectionBroken("the peer has reset the connection", transport)

    def _of(self, transport: Transport) -> list[tuple[int, set[Watch]]]:
        """The descriptor and the watches of a transport, if it has any."""
        socket = transport.socket
        watches = None if socket is None else self._watches.get(socket.fileno())
        return [] if socket is None or watches is None else [(socket.fileno(), watches)]

    def _listen(self, descriptor: int, watches: set[Watch], how: Callable[[int, int], object]) -> None:
        ends = any(watch.ends for watch in watches)
        events = END_OR_RESET if ends else RESET_ONLY
        if hasattr(self._poller, "fileno"):
            events |= select.EPOLLONESHOT  # what has been reported once is not reported again
        how(descriptor, events)

    def _forget(self, descriptor: int, transport: Transport) -> None:
        transport.on_close = None
        del self._watches[descriptor]
        # It must be done before the socket is closed: a forked child may hold a copy of it.
        self._poller.unregister(descriptor)

    def _close(self, transport: Transport) -> None:
        """The transport is about to be closed."""
        for descriptor, watches in self._of(transport):
            self._forget(descriptor, transport)
            for watch in watches:
                watch.notice()

    async def _run(self) -> None:
        try:
            while True:
                await self._wait()
                for descriptor, events in self._poller.poll(0):
                    self._look(descriptor, events)
        finally:
            self._state = ENDED
            self._watches.clear()
            if hasattr(self._poller, "close"):
                self._poller.close()

    async def _wait(self) -> None:
        if hasattr(self._poller, "fileno"):
            await trio.lowlevel.wait_readable(self._poller.fileno())
        else:
            await trio.sleep(LOOK)

    def _look(self, descriptor: int, events: int) -> None:
        """Find out what the kernel has reported about a socket."""
        watches = self._watches.get(descriptor, set())
        met = [watch for watch in watches if watch.is_met()]
        for watch in met:
            self.discard(watch)
            watch.notice()
        if watches and not events & (select.POLLERR | select.POLLHUP):  # these would be reported again and again
            self._listen(descriptor, watches, self._poller.modify)


def make_poller() -> Any:
    """Make the best poller that there is; an `epoll` needs a descriptor, and perhaps no more is free."""
    if hasattr(select, "epoll"):
        with contextlib.suppress(OSError):
            return select.epoll()
    return select.poll()
