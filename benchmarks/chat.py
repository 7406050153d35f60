"""`python -m benchmarks.chat`: what a person, a message and its deliveries cost a node of the chat.

People come from addresses of their own on loopback, since the chat limits each. In turns, every one of them
says something and hears all that is said in their room. Processor time and memory are the nodes' own, as the
system counts them: they do not depend on how fast the people are. It needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from websockets.frames import Opcode

from .speed.connections import HOST, PATIENCE, Address
from .speed.machine import describe, pin, processors, raise_descriptors
from .speed.process import TOP, Running
from .speed.wire import KEYS, Wrong, check_switch, client_frame, complete_length, upgrade

TEXT = "x" * 100
TURN = 0.5  # seconds, at least: nobody may say more than two things a second
TEXT_FRAME, PING = 0x81, b"\x89\0"  # with FIN (RFC 6455 section 5.2)
PONG = b"\x8a\x80mask"


class Person:
    """Somebody in a room.

    Attributes:
      heard: messages.
    """

    def __init__(self, port: int, number: int) -> None:
        self.heard = 0
        self._number = number
        self._received = b""
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        self.sock.connect((HOST, port))

    def enter(self, room: str) -> None:
        """Come in, and wait for the welcome."""
        self.sock.sendall(upgrade("websocket", "/chat"))
        head = b""
        while complete_length(head) is None:
            head += self._receive()
        check_switch(head, "websocket", KEYS[0])
        session = f"session-of-{self._number:06}"
        self._send(type="enter", name=f"Person {self._number}", room=room, last="", session=session)
        while not any(frame.startswith(b'{"type": "welcome"') for frame in self._frames()):
            self._received += self._receive()

    def say(self, turn: int) -> None:
        """Say something."""
        self._send(type="say", uid=f"uid-{self._number:06}-{turn:06}", text=TEXT)

    def listen(self) -> None:
        """Take what has arrived."""
        self._received += self._receive()
        self.heard += sum(frame.startswith(b'{"type": "message"') for frame in self._frames())

    def _frames(self) -> Iterator[bytes]:
        """The text frames that have arrived whole; a ping is answered."""
        data, at = self._received, 0
        while len(data) - at >= 2:
            if data[at : at + 2] == PING:
                self.sock.sendall(PONG)
                at += 2
                continue
            if len(data) - at < 4:
                break
            begin, size = at + 2, data[at + 1]
            if size == 126:
                begin, size = at + 4, int.from_bytes(data[at + 2 : at + 4])
            if size == 127 or data[at] != TEXT_FRAME:
                raise Wrong(f"a frame that begins with {data[at : at + 2]!r}")
            if len(data) < begin + size:
                break
            at = begin + size
            yield data[begin:at]
        self._received = data[at:]

    def _send(self, **message: str) -> None:
        self.sock.sendall(client_frame(json.dumps(message).encode(), Opcode.TEXT))

    def _receive(self) -> bytes:
        if data := self.sock.recv(1 << 16):
            return data
        raise Wrong("the chat has ended a connection")


@contextmanager
def node(processor: int | None, redis: str | None) -> Iterator[Running]:
    """A node of the chat, as an operator starts it."""
    command = [sys.executable, "-m", "trio_upgrade", "examples.chat:server", "--grace", "1", "--fd"]
    with socket.create_server((HOST, 0), backlog=4096) as listener, tempfile.TemporaryFile() as said:
        number = listener.fileno()
        environment = {**os.environ, **({"CHAT_REDIS_URL": redis} if redis else {})}
        process = subprocess.Popen(
            [*command, str(number)], pass_fds=[number], cwd=TOP, env=environment, stdout=said, stderr=said
        )
        if processor is not None:
            os.sched_setaffinity(process.pid, {processor})
        running = Running(process, Address(listener.getsockname()[1]), said)
        try:
            listener.close()  # those who come before it is ready wait in the queue that it inherits
            yield running
        except (OSError, Wrong) as exc:
            raise running.explain(exc) from exc
        finally:
            process.terminate()
            process.wait(20)


def come_in(nodes: Sequence[Running], numbers: range, size: int, run: str) -> list[Person]:
    """Fill rooms of this size, each with people on every node."""
    inside = []
    for number in numbers:
        inside.append(Person(nodes[number % len(nodes)].address.port, number))
        inside[-1].enter(f"{run} {number // size}")
    return inside


def wait_until_open(one: Running) -> None:
    """Wait until a node lets people in: until it has reached its Redis."""
    for _ in range(50):
        person = Person(one.address.port, 62_500)
        try:
            person.enter("the waiting room")
        except (OSError, Wrong):
            time.sleep(0.1)
        else:
            return
        finally:
            person.sock.close()
    raise Wrong("it lets nobody in")


def redis_clock(url: str | None) -> float:
    """Seconds of processor time that Redis has taken so far; 0 without one."""
    if url is None:
        return 0.0
    place = urlsplit(url)
    with socket.create_connection((place.hostname or HOST, place.port or 6379), PATIENCE) as sock:
        sock.sendall(b"INFO cpu\r\n")
        said = sock.recv(1 << 16).decode()
    if not (found := re.findall(r"^used_cpu_(?:user|sys):(\S+)", said, re.MULTILINE)):
        raise Wrong(f"Redis does not tell its processor time: {said[:80]!r}")
    return sum(map(float, found))


def talk(inside: Sequence[Person], size: int, turns: int) -> None:
    """Let everybody say something, `turns` times, and wait until everybody has heard it."""
    with selectors.DefaultSelector() as selector:
        for person in inside:
            selector.register(person.sock, selectors.EVENT_READ, person)
        for turn in range(turns):
            begin = time.monotonic()
            expected = len(inside) * size + sum(person.heard for person in inside)
            for person in inside:
                person.say(turn)
            while sum(person.heard for person in inside) < expected:
                ready = selector.select(PATIENCE)
                if not ready:
                    raise Wrong("what was said has not arrived")
                for key, _ in ready:
                    key.data.listen()
            time.sleep(max(0.0, begin + TURN - time.monotonic()))


def measure(people: int, size: int, turns: int, nodes: int, redis: str | None, empty: bool) -> None:
    """Print what one size of room costs."""
    servers, _ = processors()
    run = secrets.token_hex(4)  # Redis may remember others
    with ExitStack() as stack:
        running = [stack.enter_context(node(servers, redis)) for _ in range(nodes)]

        def clock() -> float:
            return sum(one.clock() for one in running)

        def resident() -> int:
            return sum(one.resident() for one in running)

        aside = [stack.enter_context(node(servers, redis)) for _ in range(empty)]
        for one in [*running, *aside]:
            wait_until_open(one)
        warm = come_in(running, range(people, people + size), size, run)  # what a process needs once
        talk(warm, size, 2)
        for person in warm:
            person.sock.close()
        memory, begin = resident(), clock()
        inside = come_in(running, range(people), size, run)
        grown, entered = resident() - memory, clock() - begin
        begin, redis_begin, aside_begin = clock(), redis_clock(redis), [one.clock() for one in aside]
        talk(inside, size, turns)
        spent, redis_spent = clock() - begin, redis_clock(redis) - redis_begin
        aside_spent = sum(one.clock() for one in aside) - sum(aside_begin)
        for person in inside:
            person.sock.close()
    said = people * turns
    print(
        f"rooms of {size:>3}, on {nodes} {'node' if nodes == 1 else 'nodes'}: "
        f"to come in {entered / people * 1e6:,.0f} us and {grown / people:,.0f} bytes; "
        f"a message {spent / said * 1e6:,.0f} us, or {spent / said / size * 1e6:.1f} us a delivery"
        + (f"; in Redis {redis_spent / said * 1e6:.0f} us a message" if redis else "")
        + (f", on a node that nobody is on {aside_spent / said * 1e6:.0f} us" if empty else ""),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat", description="What the chat costs a node.")
    parser.add_argument("--people", type=int, default=1000, help="at once (default: 1000)")
    parser.add_argument("--rooms", default="2,10,50,200", help="sizes of the rooms (default: 2,10,50,200)")
    parser.add_argument("--turns", type=int, default=10, help="messages of each (default: 10)")
    parser.add_argument("--nodes", type=int, default=1, help="processes, which need --redis (default: 1)")
    parser.add_argument("--redis", metavar="URL", help="what the nodes share (default: a node keeps it in memory)")
    parser.add_argument("--empty", action="store_true", help="with --redis: one more node, that nobody is on")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.rooms.split(",") if size.isdecimal()]
    if (arguments.nodes > 1 or arguments.empty) and arguments.redis is None:
        parser.error("--nodes and --empty need --redis")
    if not (
        0 < arguments.people <= 60_000 and arguments.turns > 0 and arguments.nodes > 0 and sizes and min(sizes) > 0
    ):
        parser.error("there must be 1 to 60,000 people, and at least one of everything else")
    raise_descriptors()
    pin(processors()[1])
    print(", ".join(describe().values()))
    for size in sizes:
        people = max(arguments.people // size, 1) * size
        measure(people, size, arguments.turns, arguments.nodes, arguments.redis, arguments.empty)


if __name__ == "__main__":
    main()
