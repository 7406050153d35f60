"""A server's figures for Prometheus, as curl gets them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from trio_upgrade import Limits, Request, Response, Server, websocket
from trio_upgrade.prometheus import LOCAL, Metrics, ServerCollector
from trio_upgrade.testing import open_upgrade

from ..support.client import get, open_client, post, serving
from ..support.programs import ROOT
from ..support.websocket_client import frame, shake

Figures = dict[str, float]

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


async def curl(*arguments: str) -> str:
    """What curl prints on standard output."""
    command = ["curl", "--silent", "--show-error", "--max-time", "10", "--noproxy", "*", *arguments]
    with trio.fail_after(15):
        done = await trio.run_process(command, capture_stdout=True)
    assert isinstance(done.stdout, bytes)
    return done.stdout.decode()


def url_of(listener: trio.SocketListener) -> str:
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/metrics"


async def figures_of(listener: trio.SocketListener) -> Figures:
    """This library's metrics, by their names and states."""
    return {
        sample.name.removeprefix("trio_upgrade_")
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in read_text(await curl(url_of(listener)))
        for sample in family.samples
        if sample.name.startswith("trio_upgrade_")
    }


def serve_metrics(metrics: Metrics) -> Server:
    async def on_request(request: Request) -> Response:
        return metrics(request)

    return Server(on_request)


async def test_each_figure_moves_when_it_should(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    members: list[websocket.WebSocket[Any]] = []
    go = trio.Event()

    async def on_request(request: Request) -> Response:
        match request.path:
            case "/metrics":
                return metrics(request)
            case "/broken":
                raise LookupError
            case "/slow":
                await go.wait()
        return Response(200, b"x" * int(request.query or 0))

    async def talk(ws: websocket.WebSocket[Any]) -> None:
        members.append(ws)
        async for message in ws:
            websocket.broadcast(members, message)

    server = Server(
        on_request,
        on_upgrade=websocket.handler(talk, send_buffer=1000, close_timeout=60),
        should_upgrade=websocket.is_handshake,
        limits=Limits(max_connections=4),
    )
    seen: Figures = {}
    moved = set()
    async with serving(server) as listener:

        async def moves(**expected: int) -> None:
            """What has moved since the last look: exactly this, besides what a look itself moves."""
            nonlocal seen
            await trio.testing.wait_all_tasks_blocked(0.05)
            now = await figures_of(listener)
            step = {name: now[name] - seen.get(name, 0) for name in now}
            step["connections_total"] -= 1
            step["requests_total"] -= 1
            for name in ("received_bytes_total", "sent_bytes_total"):  # exactly: tests/server/test_observability.py
                by = step.pop(name)
                if least := expected.pop(name, 0):
                    assert least <= by < least + 50_000
                    moved.add(name)
            assert {name: by for name, by in step.items() if by} == {
                name.replace("__", " "): by for name, by in expected.items()
            }
            moved.update(name for name, by in step.items() if by)
            seen = now

        await moves(open_connections__active=1)  # the one that asks
        client = await open_client(listener)
        await moves(open_connections__idle=1, connections_total=1)
        await client.send(post(bytes(100_000), target="/?200000"))
        await client.reply()
        await moves(requests_total=1, received_bytes_total=100_000, sent_bytes_total=200_000)
        await client.send(get("/slow"))
        await moves(requests_total=1, open_connections__idle=-1, open_connections__active=1)
        go.set()
        await client.reply()
        await moves(open_connections__idle=1, open_connections__active=-1)
        await client.send(get("/broken"))
        assert (await client.reply()).status == 500
        await client.aclose()
        await moves(requests_total=1, handler_errors_total=1, open_connections__idle=-1)

        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16384)
        peers = [await shake(await open_client(listener)) for _ in range(2)]
        opened = {"connections_total": 2, "requests_total": 2, "upgrades_total": 2, "open_connections__upgraded": 2}
        await moves(**opened)
        await peers[0].send(frame(1, b"hello"))
        for peer in peers:
            assert await peer.message() == "hello"
        await moves(broadcasts_total=1)
        while members[1].close_code is None:  # it does not read
            websocket.broadcast(members[1:], bytes(10_000))
        broadcasts = int(server.statistics().broadcasts - seen["broadcasts_total"])
        websocket.broadcast(members[1:], b"not counted again")
        await moves(broadcasts_total=broadcasts + 1, slow_readers_dropped_total=1)
        others = [await open_client(listener) for _ in range(2)]
        refused = await open_client(listener)
        assert (await refused.reply()).status == 503
        for closed in (*others, refused):
            await closed.aclose()
        await moves(connections_total=2, refused_connections_total=1)
        for peer in peers:
            await peer.aclose()
    assert moved == set(seen)
    levels = [record.levelno for record in caplog.records if record.levelno >= logging.WARNING]
    assert levels == [logging.ERROR, logging.WARNING]  # the broken handler, and the one that is refused
    caplog.clear()


async def test_a_clients_fault_is_no_error_of_a_handler() -> None:
    async def read(request: Request) -> Response:
        return Response(200, await request.body.read())

    server = Server(read)
    async with serving(server) as listener:
        client = await open_client(listener)
        await client.send(get(fields=b"Transfer-Encoding: chunked\r\n", method="POST") + b"nonsense\r\n")
        assert (await client.reply()).status == 400
        await client.aclose()
    assert server.statistics().handler_errors == 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
        ("text/plain;version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_the_format_is_negotiated(accept: str, content_type: str) -> None:
    async with serving(serve_metrics(Metrics())) as listener:
        arguments = ["--write-out", "\n%{content_type}", "--header", f"Accept: {accept}", url_of(listener)]
        text, _, given = (await curl(*arguments)).rpartition("\n")
    assert given == content_type
    read = read_openmetrics if given.startswith("application/openmetrics-text") else read_text
    families = {family.name: family for family in read(text)}
    assert families["trio_upgrade_requests"].samples[0].value == 1
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000


async def test_an_applications_own_metrics_are_beside_the_servers() -> None:
    registry = CollectorRegistry()
    Counter("cups", "Cups of tea.", registry=registry).inc(3)
    async with serving(serve_metrics(Metrics(registry=registry))) as listener:
        families = {family.name for family in read_text(await curl(url_of(listener)))}
    assert {"cups", "trio_upgrade_requests"} <= families
    assert "process_open_fds" not in families


async def test_a_server_may_be_asked_by_way_of_another() -> None:
    registry = CollectorRegistry()
    server = Server()
    registry.register(ServerCollector(server))
    async with open_upgrade(server):
        assert registry.get_sample_value("trio_upgrade_requests_total") == 1
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(ServerCollector(server))


@pytest.mark.parametrize(
    ("networks", "field", "status"),
    [
        (LOCAL, "X-Other: 1", "200"),
        (["127.0.0.1", "10.0.0.0/8"], "X-Other: 1", "200"),
        (["10.0.0.0/8", "unix"], "X-Other: 1", "403"),
        (LOCAL, "X-Forwarded-For: 127.0.0.1", "403"),
        (LOCAL, "Forwarded: for=127.0.0.1", "403"),
        (LOCAL, "X-Real-IP: 127.0.0.1", "403"),
        (LOCAL, "Via: 1.1 nginx", "403"),
    ],
)
async def test_who_may_ask(networks: list[str], field: str, status: str) -> None:
    server = serve_metrics(Metrics(networks))
    server.trusted_proxies = ["127.0.0.0/8"]
    async with serving(server) as listener:
        printed = await curl("--write-out", "%{http_code}", "--header", field, url_of(listener))
    assert printed.endswith(status)
    assert ("trio_upgrade_requests_total 1.0" in printed) == (status == "200")


@pytest.mark.parametrize(("networks", "status"), [(LOCAL, "200"), (["127.0.0.0/8"], "403")])
async def test_who_may_ask_through_a_unix_socket(tmp_path: Path, networks: list[str], status: str) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_metrics(Metrics(networks)).serve_unix, tmp_path / "socket")
        arguments = ["--unix-socket", str(tmp_path / "socket"), "http://localhost/metrics"]
        assert (await curl("--write-out", "%{http_code}", *arguments)).endswith(status)
        nursery.cancel_scope.cancel()


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Metrics(["nonsense"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    command = [sys.executable, "-c", "import trio_upgrade.prometheus"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=30)
    assert "pip install 'trio-upgrade[prometheus]'" in done.stderr.splitlines()[-1]
