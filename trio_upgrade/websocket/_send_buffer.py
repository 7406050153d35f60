"""The send buffer: frames on their way to one peer. They go out whole and in order, also if a sender is cancelled.

What the transport takes at once is sent at once. A task in the nursery of the serving sends the rest; it runs only
while there is something to send. On a stream that cannot send without waiting, this task sends everything.

It does not know what the frames say.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import trio
from trio.lowlevel import checkpoint

from .._exceptions import log_bug
from .._upgraded_stream import UpgradedStream

__all__ = ["BROKEN", "OVERHEAD", "SendBuffer"]

OVERHEAD = 64  # bytes that a buffered message counts in addition to its own
PIECE = 65536  # bytes that are sent at a time, so that progress shows on a stream in memory


class Sending(Enum):
    """What becomes of a frame that is put into the send buffer now.

    DIRECT and BUFFERED follow each other; BROKEN is the end.
    """

    DIRECT = "it goes to the transport"
    BUFFERED = "it waits for those before it, which a task is sending"
    BROKEN = "it is dropped: the connection takes no more"


DIRECT, BUFFERED, BROKEN = Sending


class SendBuffer:
    """Frames on their way to one peer.

    Args:
      stream: where they are sent.
      nursery: runs the task that sends what is buffered.
      limit: how many bytes may be buffered before `is_full`.

    Attributes:
      state: what becomes of a frame now.
      size: how many bytes are buffered; a frame counts `OVERHEAD` more than it has.
    """

    __slots__ = (
        "_change",
        "_direct",
        "_frames",
        "_limit",
        "_line",
        "_number",
        "_nursery",
        "_pong",
        "_sent",
        "_stream",
        "size",
        "state",
    )

    def __init__(self, stream: trio.abc.SendStream, nursery: trio.Nursery, limit: int) -> None:
        self._stream = stream
        self._direct = stream if isinstance(stream, UpgradedStream) else None
        self._nursery = nursery
        self._limit = limit
        self._frames: deque[bytes] | None = None  # those that are buffered; None when there are none
        self._number = 0  # how many frames were ever buffered
        self._sent = 0  # how many of these were sent
        self._pong: bytes | None = None  # it waits for room
        self._line: trio.StrictFIFOLock | None = None  # of senders that wait for room; made when somebody must
        self._change: trio.lowlevel.ParkingLot | None = None  # likewise
        self.state = DIRECT
        self.size = 0

    @property
    def is_full(self) -> bool:
        """No more should be put."""
        return self.size >= self._limit

    @property
    def is_empty(self) -> bool:
        """Nothing is buffered: all was sent, or dropped."""
        return self.state is not BUFFERED

    @property
    def has_line(self) -> bool:
        """A sender must wait for its turn."""
        return self.size >= self._limit or (self._line is not None and self._line.locked())

    def put(self, frame: bytes) -> bool:
        """Send a frame, or buffer what is not taken at once. Never waits.

        Returns:
          True if nothing of it is buffered.
        """
        if self.state is DIRECT:
            taken = self._send_direct(frame)
            if taken == len(frame):
                return True
            frame = frame[taken:]
        if self.state is BROKEN:
            return True
        if self._frames is None:
            self._frames = deque()
            self.state = BUFFERED
            self._nursery.start_soon(self._send_buffered, self._frames)
        self._frames.append(frame)
        self.size += len(frame) + OVERHEAD
        self._number += 1
        return False

    def put_pongs(self, pongs: bytes, newest: bytes) -> None:
        """Send pongs. While the buffer is full, only the newest waits for room (RFC 6455 section 5.5.3)."""
        if self.is_full:
            self._pong = newest
        else:
            self.put(pongs)

    def _put_waiting_pong(self) -> None:
        if self._pong is not None and not self.is_full:
            pong, self._pong = self._pong, None
            self.put(pong)

    def _send_direct(self, frame: bytes) -> int:
        """Send what the transport takes at once; returns how many bytes that is."""
        if self._direct is None:
            return 0
        try:
            return self._direct.send_nowait(frame)
        except NotImplementedError:
            self._direct = None
            return 0
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
            return 0

    async def wait_sent(self) -> None:
        """Wait until what has been put so far is sent, or dropped. Always a checkpoint."""
        number = self._number
        await checkpoint()
        while self._sent < number and self.state is not BROKEN:
            await self._wait_change()

    async def wait_turn(self) -> None:
        """Wait until there is room, and nobody waits who came earlier; or until the connection breaks."""
        if self._line is None:
            self._line = trio.StrictFIFOLock()
        async with self._line:
            while self.is_full and self.state is not BROKEN:
                await self._wait_change()

    async def _wait_change(self) -> None:
        if self._change is None:
            self._change = trio.lowlevel.ParkingLot()
        await self._change.park()

    def _notify_change(self) -> None:
        if self._change is not None:
            self._change.unpark_all()

    def _break(self) -> None:
        """Drop what is buffered, and all that is put from now on."""
        self.state = BROKEN
        self._frames = None
        self.size = 0
        self._notify_change()

    async def _send_buffered(self, frames: deque[bytes]) -> None:
        try:
            while frames:
                number, data = take_piece(frames)
                with memoryview(data) as view:
                    for start in range(0, len(data), PIECE):
                        with view[start : start + PIECE] as piece:
                            await self._stream.send_all(piece)
                self._sent += number
                self.size -= len(data) + number * OVERHEAD
                self._put_waiting_pong()
                self._notify_change()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
        except Exception:
            log_bug("sending to a WebSocket failed inside the server")
            self._break()
        except BaseException:
            self._break()  # a frame may have been cut: nothing may follow it
            raise
        else:
            self._frames = None
            self.state = DIRECT


def take_piece(frames: deque[bytes]) -> tuple[int, bytes]:
    """Take the next frames, as many as make a piece: how many they are, and their bytes."""
    batch = [frames.popleft()]
    size = len(batch[0])
    while frames and size + len(frames[0]) <= PIECE:
        batch.append(frames.popleft())
        size += len(batch[-1])
    return len(batch), b"".join(batch)
