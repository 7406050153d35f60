"""Nodes of the chat, each in a process of its own, which share a Redis."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import connect

from .chat_people import Person, Talker, talking, visitor
from .programs import ROOT, Program, running
from .redis import RedisServer

__all__ = ["Node", "a_node", "talk"]

TIMEOUT = 120  # seconds for whatever is waited for


class Node:
    """A process of the chat."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.port = port

    def send_signal(self, number: signal.Signals) -> None:
        self.program.process.send_signal(number)

    async def kill(self) -> None:
        self.program.process.kill()
        await self.program.process.wait()

    @contextlib.asynccontextmanager
    async def person(self) -> AsyncIterator[Person]:
        async with connect(f"ws://127.0.0.1:{self.port}/chat", max_size=None) as ws:
            yield Person(ws)

    def visitor(self, name: str, room: str = "lobby", last: str = "") -> AbstractAsyncContextManager[Person]:
        """Somebody who is in a room."""
        return visitor(self.person, name, room, last)


@contextlib.asynccontextmanager
async def a_node(redis: RedisServer) -> AsyncIterator[Node]:
    """A node that is connected to Redis."""
    async with running("-m", "tests.support.chat_node", "0", redis.url, cwd=ROOT, patience=TIMEOUT) as program:
        found = (await program.prints(r"^Serving on http://127\.0\.0\.1:(\d+) "))[0]
        node = Node(program, int(found[1]))
        await until_it_lets_in(node)
        yield node
        if program.process.returncode is None:
            program.process.send_signal(signal.SIGCONT)
            program.process.terminate()
        assert "Traceback" not in await program.ends()


async def until_it_lets_in(node: Node) -> None:
    """Wait until its store is there."""
    with trio.fail_after(20):
        while True:
            async with node.person() as person:
                await person.enter("Early", "the waiting room")
                with contextlib.suppress(ConnectionClosed):
                    if json.loads(await person.ws.recv())["type"] == "welcome":
                        return
            await trio.sleep(0.05)


@contextlib.asynccontextmanager
async def talk(redis: RedisServer, talkers: int, count: int) -> AsyncIterator[tuple[Node, Talker]]:
    """People on two nodes say so many things each, while the block runs; then all must have heard all.

    Gives the first node, and somebody who is on it.
    """
    async with a_node(redis) as one, a_node(redis) as two:
        doors = [one.person, two.person]
        everybody = [Talker(f"Talker {n}", doors[n % 2 :] + doors[: n % 2], count) for n in range(talkers)]
        with trio.fail_after(TIMEOUT):
            async with talking(everybody, count):
                yield one, everybody[0]
