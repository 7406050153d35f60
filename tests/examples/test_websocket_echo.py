from __future__ import annotations

import subprocess
import sys

import trio
import trio.testing
from websockets.trio.client import connect

from examples.websocket_echo import server


async def test_it_echoes(nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    async with connect("ws://test/", stream=ours) as ws:
        for message in ("hello", b"\xff"):
            await ws.send(message)
            assert await ws.recv() == message


def test_without_the_extra_its_absence_is_told() -> None:
    """Importing trio_upgrade alone needs no websockets."""
    program = "import sys; sys.modules['websockets'] = None; import trio_upgrade; import trio_upgrade.websocket"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'trio-upgrade[websocket]'" in ended.stderr
