"""Whom to measure: our server, two floors, and whatever peers are installed."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass
from importlib.metadata import version

from .machine import find_executable

__all__ = ["FLOOR", "FLOOR_H11", "OURS", "PEERS", "Peer"]

OURS = "trio-upgrade"
FLOOR = "floor"
FLOOR_H11 = "floor-h11"


@dataclass(frozen=True)
class Peer:
    """A server that can be measured.

    Attributes:
      speaks: which kinds of work it can do: `http` (GET /), `web` (the rest of HTTP), `raw` (a protocol of one's own
        after an Upgrade), `raw-body` (with a body in front), `websocket`, `broadcast`; and `tls` (the same over TLS).
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
        if self.executable is not None and find_executable(self.executable) is None:
            missing.append(self.executable)
        return missing

    def versions(self) -> dict[str, str]:
        """The versions of what it is made of."""
        versions = {name: version(name) for name in self.needs}
        if self.executable is not None:
            command = [find_executable(self.executable) or self.executable, "--version"]
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
            "http web raw raw-body websocket broadcast tls",
            "ours",
            "trio-upgrade trio h11 websockets",
        ),
        _peer(FLOOR, "trio.serve_tcp and its SocketStream, nothing parsed", "http raw tls", "floor", "trio"),
        _peer(
            FLOOR_H11, "the same with h11, the least that a correct parser costs", "http raw", "floor_h11", "h11 trio"
        ),
        _peer("websockets-trio", "websockets on trio", "websocket broadcast tls", "websockets_trio", "websockets trio"),
        _peer(
            "trio-websocket", "trio-websocket", "websocket broadcast tls", "trio_websocket_peer", "trio-websocket trio"
        ),
        _peer(
            "hypercorn-trio", "Hypercorn's trio worker", "http web websocket tls", "hypercorn_trio", "hypercorn trio"
        ),
        _peer(
            "anycorn-trio",
            "anycorn, Hypercorn's fork, on trio",
            "http web websocket tls",
            "anycorn_trio",
            "anycorn trio",
        ),
        _peer(
            "websockets-uvloop",
            "websockets on asyncio with uvloop",
            "websocket broadcast tls",
            "websockets_uvloop",
            "websockets uvloop",
        ),
        _peer("uvicorn-h11", "uvicorn with h11 on asyncio", "http", "uvicorn_peer h11", "uvicorn h11"),
        _peer(
            "uvicorn-uvloop",
            "uvicorn with httptools and websockets on uvloop",
            "http web websocket tls",
            "uvicorn_peer httptools",
            "uvicorn httptools uvloop websockets",
        ),
        _peer("aiohttp", "aiohttp on asyncio", "http web websocket broadcast tls", "aiohttp_peer", "aiohttp"),
        _peer("picows", "picows on uvloop", "websocket broadcast tls", "picows_peer", "picows uvloop"),
        _peer("node", "node:http and node:https", "http web raw raw-body tls", "node", executable="node"),
    ]
)
