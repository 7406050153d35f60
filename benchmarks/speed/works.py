"""What is measured: each work's name, what it needs of a server, and how it is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import exchanges
from .answers import MIB
from .event_streams import EventStreams
from .exchanges import Exchange
from .loads import Broadcast, Bulk, Echo, Handshake, Load, Requests
from .process import Running
from .transfers import Download, Upload
from .work import AnyWork, Memory, Peak, Timed

__all__ = ["GROWTH", "GROWTH_GROUP", "RAW", "WORKS"]

GROWTH_GROUP = "growth"
RAW = "echo"  # the protocol of our own after an Upgrade
KIB = 1024
MakeLoad = Callable[[Running, int], Load]


def _requests(repeated: list[Exchange]) -> MakeLoad:
    return lambda server, connections: Requests(server.address, connections, repeated)


def _handshakes(repeated: list[Exchange]) -> MakeLoad:
    return lambda server, connections: Handshake(server.address, connections, repeated)


def _echo(protocol: str, size: int) -> MakeLoad:
    return lambda server, connections: Echo(server.address, connections, protocol, size)


def _bulk(server: Running, connections: int) -> Load:
    return Bulk(server.address, connections, RAW, MIB)


def _broadcast(server: Running, connections: int) -> Load:
    return Broadcast(server.address, connections, 64)


def _events(server: Running, connections: int) -> Load:
    return EventStreams(server.address, connections)


def _upload(chunk: int | None = None, part: int = 1) -> MakeLoad:
    return lambda server, _: Upload(server.address, server.size // part, chunk)


def _download(target: str) -> MakeLoad:
    return lambda server, _: Download(server.address, server.size, target)


_requests_of = partial(Timed, unit="requests/s")
_handshakes_of = partial(Timed, unit="handshakes/s")
_echoes_of = partial(Timed, unit="echoes/s")
_transfer = partial(Timed, unit="MiB/s", kind="web", connections=1, quick=1)
_deliveries = partial(Timed, unit="deliveries/s")


def _growth(connections: int, quick: int) -> Timed:
    return _echoes_of(
        name=f"growth-{connections}",
        group=GROWTH_GROUP,
        title="raw echo of 64 bytes",
        kind="raw",
        connections=connections,
        quick=quick,
        load=_echo(RAW, 64),
    )


def _peak(name: str, group: str, title: str, tls: bool = False) -> Peak:
    return Peak(
        name=name,
        group=group,
        title=title,
        unit="MiB",
        kind="web",
        tls=tls,
        content=True,
        connections=1,
        quick=1,
        target="/download",
    )


GROWTH = ("growth-100", "growth-5000")  # the rate at the second over the rate at the first is the figure

_HTTP: list[AnyWork] = [
    _requests_of(name="get", title="GET", kind="http", load=_requests(exchanges.gets())),
    _requests_of(
        name="fields",
        group="requests",
        title="GET whose response has 20 fields",
        kind="web",
        load=_requests(exchanges.gets_with_fields()),
    ),
    _requests_of(
        name="post",
        group="requests",
        title="POST of 1 KiB with a Content-Length",
        kind="web",
        load=_requests(exchanges.posts(KIB)),
    ),
    _requests_of(
        name="post-chunked",
        group="requests",
        title="POST of 1 KiB in a chunk",
        kind="web",
        load=_requests(exchanges.posts(KIB, chunked=True)),
    ),
    _transfer(name="upload", group="uploads", title="upload with a Content-Length", load=_upload()),
    _transfer(name="upload-64k", group="uploads", title="upload in chunks of 64 KiB", load=_upload(64 * KIB)),
    _transfer(name="upload-1k", group="uploads", title="upload in chunks of 1 KiB", load=_upload(KIB, part=5)),
    _peak("download-peak", "downloads", "peak of memory in a download of bytes"),
    _transfer(
        name="download",
        group="downloads",
        title="download of bytes",
        content=True,
        load=_download("/download"),
    ),
    _transfer(
        name="stream",
        group="downloads",
        title="download in pieces of 64 KiB",
        content=True,
        load=_download("/stream"),
    ),
    _transfer(name="file", group="downloads", title="download of a file", content=True, load=_download("/file")),
    _deliveries(
        name="events",
        title="event to all event streams",
        kind="web",
        connections=1000,
        quick=100,
        load=_events,
    ),
]
_UPGRADES: list[AnyWork] = [
    _handshakes_of(
        name="handshake",
        title="connect, upgrade to one's own protocol, close",
        kind="raw",
        load=_handshakes(exchanges.switches(RAW)),
    ),
    _handshakes_of(
        name="upgrade-body",
        title="connect, send a body of 1 KiB, upgrade, close",
        kind="raw-body",
        load=_handshakes(exchanges.switches_with_body(RAW, KIB)),
    ),
    _handshakes_of(
        name="ws-handshake",
        title="connect, WebSocket handshake, close",
        kind="websocket",
        load=_handshakes(exchanges.switches("websocket")),
    ),
    _echoes_of(name="raw-64", title="raw echo of 64 bytes", kind="raw", load=_echo(RAW, 64)),
    Timed(name="raw-1m", title="raw echo of 1 MiB", unit="MiB/s", kind="raw", connections=4, quick=4, load=_bulk),
    _echoes_of(name="ws-64", title="WebSocket echo of 64 bytes", kind="websocket", load=_echo("websocket", 64)),
    _echoes_of(name="ws-64k", title="WebSocket echo of 64 KiB", kind="websocket", load=_echo("websocket", 64 * KIB)),
    _deliveries(
        name="broadcast",
        title="WebSocket broadcast of 64 bytes to all",
        kind="broadcast",
        connections=500,
        quick=100,
        load=_broadcast,
    ),
]
_TLS: list[AnyWork] = [
    _handshakes_of(
        name="tls-handshake",
        group="tls-requests",
        title="connect, TLS handshake, GET, close",
        kind="http",
        tls=True,
        connections=8,
        quick=8,
        load=_handshakes(exchanges.gets()),
    ),
    _requests_of(
        name="tls-get",
        group="tls-requests",
        title="GET over TLS",
        kind="http",
        tls=True,
        load=_requests(exchanges.gets()),
    ),
    _peak("tls-download-peak", "tls-downloads", "peak of memory in a download of bytes over TLS", tls=True),
    _transfer(
        name="tls-download",
        group="tls-downloads",
        title="download of bytes over TLS",
        tls=True,
        content=True,
        load=_download("/download"),
    ),
    _echoes_of(
        name="tls-raw-64",
        group="tls-raw",
        title="raw echo of 64 bytes over TLS",
        kind="raw",
        tls=True,
        load=_echo(RAW, 64),
    ),
    Timed(
        name="tls-raw-1m",
        group="tls-raw",
        title="raw echo of 1 MiB over TLS",
        unit="MiB/s",
        kind="raw",
        tls=True,
        connections=4,
        quick=4,
        load=_bulk,
    ),
    _echoes_of(
        name="tls-ws-64",
        group="tls-websocket",
        title="WebSocket echo of 64 bytes over TLS",
        kind="websocket",
        tls=True,
        load=_echo("websocket", 64),
    ),
    _echoes_of(
        name="tls-ws-64k",
        group="tls-websocket",
        title="WebSocket echo of 64 KiB over TLS",
        kind="websocket",
        tls=True,
        load=_echo("websocket", 64 * KIB),
    ),
    _deliveries(
        name="tls-broadcast",
        title="WebSocket broadcast of 64 bytes to all over TLS",
        kind="broadcast",
        tls=True,
        connections=500,
        quick=100,
        load=_broadcast,
    ),
]
_CONNECTIONS: list[AnyWork] = [
    Memory(
        name="memory-raw",
        title="memory of an idle upgraded connection",
        unit="KiB",
        kind="raw",
        connections=2000,
        quick=300,
        protocol=RAW,
    ),
    Memory(
        name="memory-ws",
        title="memory of an idle WebSocket",
        unit="KiB",
        kind="websocket",
        connections=2000,
        quick=300,
        protocol="websocket",
    ),
    Memory(
        name="memory-silent",
        title="memory of a connection that has sent nothing",
        unit="KiB",
        kind="raw",
        connections=2000,
        quick=300,
        protocol=None,
    ),
    Memory(
        name="tls-memory-silent",
        title="memory of a connection that has sent nothing where TLS is spoken",
        unit="KiB",
        kind="raw",
        tls=True,
        connections=2000,
        quick=300,
        protocol=None,
    ),
    _growth(10, 10),
    _growth(100, 100),
    _growth(1000, 300),
    _growth(5000, 1000),
]
WORKS = {work.name: work for work in [*_HTTP, *_UPGRADES, *_TLS, *_CONNECTIONS]}
