"""The sending side of a WebSocket: whole frames, in order, that are never cut by a cancellation.

What the kernel takes at once is sent at once. For the rest, and on streams that have no
`send_nowait`, a task in the server's nursery sends, only while there is something to be sent.

It knows nothing of what the frames say.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import trio

__all__ = ["OVERHEAD", "Outgoing"]

OVERHEAD = 64  # bytes that a buffered message counts besides its own
PIECE = 65536  # bytes sent at a time: so progress shows while a large message is sent

logger = logging.getLogger("trio_upgrade")


class Outgoing:
    """Frames on their way to one peer.

    Args:
      stream: where they are sent.
      nursery: in which the rest is sent.
      limit: how many bytes may be buffered before `is_full`.

    Attributes:
      broken: the stream takes no more; frames are dropped from now on.
      progressed: something of what was buffered was taken; for its reader to reset.
    """

    __slots__ = (
        "_frames",
        "_limit",
        "_line",
        "_number",
        "_nursery",
        "_pong",
        "_send_nowait",
        "_sending",
        "_sent",
        "_size",
        "_stream",
        "_waiting",
        "broken",
        "progressed",
    )

    def __init__(self, stream: trio.abc.SendStream, nursery: trio.Nursery, limit: int) -> None:
        self._stream = stream
        self._send_nowait: Callable[[bytes], int] | None = getattr(stream, "send_nowait", None)
        self._nursery = nursery
        self._limit = limit
        self._frames: deque[bytes] | None = None  # while there are any
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._line: trio.StrictFIFOLock | None = None  # of senders that wait for room
        self._pong: bytes | None = None  # that waits for room
        self._size = 0
        self._number = 0  # of frames that were ever buffered
        self._sent = 0  # of these
        self._sending = False
        self.broken = False
        self.progressed = False

    @property
    def is_full(self) -> bool:
        """No more should be put."""
        return self._size >= self._limit

    @property
    def is_empty(self) -> bool:
        """Everything was handed on."""
        return not self._sending

    def put(self, frame: bytes) -> bool:
        """Send a frame, or buffer what is not taken at once. Never waits.

        Returns:
          True if all of it was taken.
        """
        if self.broken:
            return True
        if not self._sending:
            taken = self._offer(frame)
            if taken == len(frame) or self.broken:
                return True
            frame = frame[taken:]
            self._frames = deque()
            self._sending = True
            self._nursery.start_soon(self._send_rest, self._frames)
        assert self._frames is not None
        self._frames.append(frame)
        self._size += len(frame) + OVERHEAD
        self._number += 1
        return False

    def put_pongs(self, pongs: bytes, newest: bytes) -> None:
        """Send pongs; while there is no room, the newest alone waits for some (RFC 6455 section 5.5.3)."""
        if self.is_full:
            self._pong = newest
        else:
            self.put(pongs)

    def _put_pong(self) -> None:
        if self._pong is not None and not self.is_full:
            pong, self._pong = self._pong, None
            self.put(pong)

    def _offer(self, frame: bytes) -> int:
        if self._send_nowait is None:
            return 0
        try:
            return self._send_nowait(frame)
        except NotImplementedError:
            self._send_nowait = None
            return 0
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
            return 0

    async def wait_sent(self) -> None:
        """Wait until what has been put by now was taken, or the stream broke. Always a checkpoint."""
        number = self._number
        await trio.lowlevel.checkpoint()
        while self._sent < number and not self.broken:
            await self._wait()

    async def wait_turn(self) -> None:
        """Wait until more may be put, behind all that wait already, or until the stream broke."""
        if self.is_full or (self._line is not None and self._line.locked()):
            if self._line is None:
                self._line = trio.StrictFIFOLock()
            async with self._line:
                while self.is_full and not self.broken:
                    await self._wait()

    async def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        await self._waiting.park()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.unpark_all()

    def _break(self) -> None:
        self.broken = True
        self._size = 0
        self._wake()

    async def _send_rest(self, frames: deque[bytes]) -> None:
        try:
            while frames:
                number, data = take(frames)
                with memoryview(data) as view:
                    for start in range(0, len(data), PIECE):
                        with view[start : start + PIECE] as piece:
                            await self._stream.send_all(piece)
                        self.progressed = True
                self._sent += number
                self._size -= len(data) + number * OVERHEAD
                self._put_pong()
                self._wake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
        except Exception:
            logger.exception("sending to a WebSocket failed inside the server; please report this")
            self._break()
        except BaseException:
            self._break()  # a frame may have been cut: nothing may follow it
            raise
        finally:
            self._sending = False
            self._frames = None


def take(frames: deque[bytes]) -> tuple[int, bytes]:
    """The next frames, as many as make a piece: how many, and their bytes."""
    batch = [frames.popleft()]
    size = len(batch[0])
    while frames and size + len(frames[0]) <= PIECE:
        batch.append(frames.popleft())
        size += len(batch[-1])
    return len(batch), b"".join(batch)
