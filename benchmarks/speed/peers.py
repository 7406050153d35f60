"""Whom to measure: our server, two floors, and whatever peers are installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version

__all__ = ["FLOOR", "OURS", "PEERS", "Peer"]

OURS = "trio-upgrade"
FLOOR = "floor"


@dataclass(frozen=True)
class Peer:
    """A server that can be measured.

    Attributes:
      speaks: which kinds of work it can do: `http`, `raw` (a protocol of one's own behind Upgrade),
        `websocket`, `broadcast`.
      program: its module in `servers`, with arguments.
      needs: the distributions it is made of.
      executable: a program that it needs on the PATH.
    """

    name: str
    title: str
    speaks: frozenset[str]
    program: tuple[str, ...]
    needs: tuple[str, ...] = ()
    executable: str | None = None

    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        missing = [name for name in self.needs if importlib.util.find_spec(name.replace("-", "_")) is None]
        if self.executable is not None and shutil.which(self.executable) is None:
            missing.append(self.executable)
        return missing

    def versions(self) -> dict[str, str]:
        """The versions of what it is made of."""
        versions = {name: version(name) for name in self.needs}
        if self.executable is not None:
            command = [self.executable, "--version"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
            versions[self.executable] = said.strip().lstrip("v")
        return versions


def _peer(
    name: str, title: str, speaks: str, program: str, needs: str = "", executable: str | None = None
) -> tuple[str, Peer]:
    return name, Peer(name, title, frozenset(speaks.split()), tuple(program.split()), tuple(needs.split()), executable)


PEERS: dict[str, Peer] = dict(
    [
        _peer(
            OURS,
            "this server, as it is by default",
            "http raw websocket broadcast",
            "ours",
            "trio-upgrade trio h11 websockets",
        ),
        _peer(FLOOR, "trio.serve_tcp and its SocketStream, nothing parsed", "http raw", "floor", "trio"),
        _peer(
            "floor-h11", "the same with h11, the least that a correct parser costs", "http raw", "floor_h11", "h11 trio"
        ),
        _peer("websockets-trio", "websockets on trio", "websocket broadcast", "websockets_trio", "websockets trio"),
        _peer("trio-websocket", "trio-websocket", "websocket broadcast", "trio_websocket_peer", "trio-websocket trio"),
        _peer("hypercorn-trio", "Hypercorn's trio worker", "http websocket", "hypercorn_trio", "hypercorn trio"),
        _peer(
            "websockets-uvloop",
            "websockets on asyncio with uvloop",
            "websocket broadcast",
            "websockets_uvloop",
            "websockets uvloop",
        ),
        _peer("uvicorn-h11", "uvicorn with h11 on asyncio", "http", "uvicorn_peer h11", "uvicorn h11"),
        _peer(
            "uvicorn-uvloop",
            "uvicorn with httptools and websockets on uvloop",
            "http websocket",
            "uvicorn_peer httptools",
            "uvicorn httptools uvloop websockets",
        ),
        _peer("aiohttp", "aiohttp on asyncio", "http websocket broadcast", "aiohttp_peer", "aiohttp"),
        _peer("node", "node:http", "http raw", "node", executable="node"),
    ]
)
