"""People at the chat, without a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection


def session_of(name: str) -> str:
    return f"session-of-{name.encode().hex()}"


class Person:
    """Somebody at a browser."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws

    async def send(self, **message: object) -> None:
        await self.ws.send(json.dumps(message))

    async def enter(self, name: str, room: str = "lobby", last: str = "", session: str = "") -> None:
        await self.send(type="enter", name=name, room=room, last=last, session=session or session_of(name))

    async def say(self, text: str, uid: str) -> None:
        await self.send(type="say", uid=uid, text=text)

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others are passed over."""
        with trio.fail_after(10):
            while (message := json.loads(await self.ws.recv()))["type"] != kind:
                pass
        assert isinstance(message, dict)
        return message

    async def closing(self) -> tuple[int, str]:
        """The code and the reason with which the server closes."""
        with trio.fail_after(10), pytest.raises(ConnectionClosed) as caught:
            while True:
                await self.ws.recv()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason
