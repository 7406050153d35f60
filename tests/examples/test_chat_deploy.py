"""The chat's configuration for nginx, in front of nodes that are started as the systemd unit starts them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.trio.client import connect
from websockets.typing import Origin

from trio_upgrade import Limits
from trio_upgrade.websocket._options import Options

from ..support.chat_people import Person, Talker, talking
from ..support.client import Client, get, upgrade
from ..support.nginx import DEPLOY, NAME, Front, Node, nginx
from ..support.programs import APPLICATION, ROOT
from ..support.redis import redis_server

pytestmark = pytest.mark.once

CHAT = "examples.chat:server"

# Notes each request before it breaks it off, or refuses it the first time.
UNWILLING = """
import socket
from pathlib import Path

from trio_upgrade import Response, Server

NOTES = Path("notes")

async def on_request(request):
    with NOTES.open("a") as notes:
        notes.write(request.method + "\\n")
    if request.path == "/break":
        request.transport.socket.shutdown(socket.SHUT_RDWR)
    return Response(503 if len(NOTES.read_text().splitlines()) == 1 else 200, "at last")

server = Server(on_request)
"""

# The chat, in which nobody writes too fast.
UNLIMITED = """
from examples.chat import connection, server

connection.RATE = connection.BURST = connection.ADDRESS_RATE = connection.ADDRESS_BURST = 10**9
connection.ENTER_RATE = connection.ENTER_BURST = 10**9
"""


@asynccontextmanager
async def deployed(
    folder: Path, application: str = "app:server", nodes: int = 2, redis: str | None = None
) -> AsyncIterator[tuple[Front, list[Node]]]:
    """nginx, and nodes behind it."""
    (folder / "app.py").write_text(APPLICATION)
    (folder / "unwilling.py").write_text(UNWILLING)
    (folder / "unlimited.py").write_text(UNLIMITED)
    cwd = ROOT if application.startswith("examples.") else folder
    async with trio.open_nursery() as nursery:
        started = [Node(nursery, application, cwd, redis) for _ in range(nodes)]
        for node in started:
            await node.start()
        async with nginx(folder, [node.port for node in started]) as front:
            yield front, started
        for node in started:
            if node.is_running:
                await node.stop()


def tls_of(front: Front) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=front.authority)


async def open_client(front: Front) -> Client:
    """A connection over TLS."""
    stream = await trio.open_tcp_stream("127.0.0.1", front.port)
    return Client(trio.SSLStream(stream, tls_of(front), server_hostname=NAME))


@asynccontextmanager
async def visitor(front: Front) -> AsyncIterator[Person]:
    """Somebody at a browser."""
    stream = await trio.open_tcp_stream("127.0.0.1", front.port)
    page = f"{NAME}:{front.port}"
    async with connect(
        f"wss://{page}/chat", stream=stream, ssl=tls_of(front), server_hostname=NAME, origin=Origin(f"https://{page}")
    ) as ws:
        yield Person(ws)


def at_the_chats_name(data: bytes) -> bytes:
    return data.replace(b"Host: test", f"Host: {NAME}".encode())


# ---- pages


async def test_the_page_comes_over_http_2(tmp_path: Path) -> None:
    async with deployed(tmp_path, CHAT, 1) as (front, _):
        printed = await front.curl("/", "--http2", "--include", "--write-out", "%{http_code} %{http_version}")
        assert printed.endswith("</html>\n200 2")
        assert "\nstrict-transport-security: max-age=31536000" in printed


async def test_without_tls_there_is_only_the_way_to_it(tmp_path: Path) -> None:
    async with (
        deployed(tmp_path, CHAT, 1) as (front, _),
        await trio.open_tcp_stream("127.0.0.1", front.plain_port) as s,
    ):
        client = Client(s)
        await client.send(at_the_chats_name(get("/a?b")))
        reply = await client.reply()
        assert (reply.status, reply.headers["location"]) == (301, f"https://{NAME}/a?b")


async def test_what_is_compressed_on_the_way_is_known_again(tmp_path: Path) -> None:
    async with deployed(tmp_path, CHAT, 1) as (front, _):
        head = await front.curl("/chat.css", "--compressed", "--dump-header", "-", "--output", "/dev/null")
        assert "\ncontent-encoding: gzip\r\n" in head
        tag = re.findall(r"\netag: (.*)\r\n", head)[0]
        again = ["--compressed", "--header", f"If-None-Match: {tag}", "--write-out", "%{http_code}"]
        assert await front.curl("/chat.css", *again) == "304"


async def test_a_node_sees_the_clients_address_and_scheme(tmp_path: Path) -> None:
    async with deployed(tmp_path, nodes=1) as (front, _):
        forged = ["--header", "X-Forwarded-For: 192.0.2.1", "--header", "X-Forwarded-Proto: http"]
        seen = await front.curl("/", *forged, address="127.0.0.5")
        assert seen.split()[1:] == ["127.0.0.5", "https"]


@pytest.mark.parametrize("path", ["/metrics", "/metrics?x", "/%6detrics", "//metrics", "/x/../metrics", "/metrics/"])
async def test_the_figures_are_not_for_the_world(tmp_path: Path, path: str) -> None:
    async with deployed(tmp_path, CHAT, 1) as (front, _):
        printed = await front.curl(path, "--path-as-is", "--write-out", "%{http_code}")
        assert printed.endswith("404")
        assert "trio_upgrade" not in printed
        assert await front.curl("/healthz") == "ok\n"


async def test_connections_to_a_node_are_kept(tmp_path: Path) -> None:
    async with deployed(tmp_path, CHAT, 1) as (front, (node,)):
        client = await open_client(front)
        for _ in range(20):
            await client.send(at_the_chats_name(get("/")))
            assert (await client.reply()).status == 200
        await client.aclose()
        async with await trio.open_tcp_stream("127.0.0.1", node.port) as stream:
            direct = Client(stream)
            await direct.send(get("/metrics"))
            assert b"\ntrio_upgrade_connections_total 2.0\n" in (await direct.reply()).content


async def test_events_are_not_held_back(tmp_path: Path) -> None:
    async with deployed(tmp_path, "examples.server_sent_events:server", 1) as (front, _):
        client = await open_client(front)
        await client.send(at_the_chats_name(get("/events")))
        for number in range(3):
            received = b""
            while f"data: {number}\n\n".encode() not in received:
                received += await client.stream.receive_some()
            await front.curl("/more", "--request", "POST")
        await trio.aclose_forcefully(client.stream)


# ---- upgrades


async def test_people_talk_through_it(tmp_path: Path) -> None:
    async with deployed(tmp_path, CHAT, 1) as (front, _), visitor(front) as ann, visitor(front) as ben:
        for person, name in [(ann, "Ann"), (ben, "Ben")]:
            await person.enter(name)
            await person.hear("welcome")
        await ann.say("hello", "uid-00001")
        assert (await ben.hear("message"))["text"] == "hello"


async def test_another_protocol_passes_too(tmp_path: Path) -> None:
    async with deployed(tmp_path, nodes=1) as (front, _):
        client = await open_client(front)
        await client.send(at_the_chats_name(upgrade(target="/")))
        assert (await client.reply()).status == 101
        await client.exactly(7)
        await client.send(b"x" * 100_000)
        assert await client.exactly(100_000) == b"x" * 100_000
        await trio.aclose_forcefully(client.stream)


async def test_one_address_may_not_take_all_connections(tmp_path: Path) -> None:
    async with deployed(tmp_path, nodes=1) as (front, _):
        clients = []
        for _ in range(201):
            clients.append(await open_client(front))
            await clients[-1].send(at_the_chats_name(upgrade()))
            reply = await clients[-1].reply()
        assert reply.status == 429
        assert (await front.curl("/", address="127.0.0.5")).split()[1] == "127.0.0.5"
        for client in clients:
            await trio.aclose_forcefully(client.stream)


def test_its_times_suit_the_servers() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    seconds = {name: int(value) for name, value in re.findall(r"^ *(\w+) (\d+)s;", text, re.MULTILINE)}
    keep_alive, options = Limits().keep_alive_timeout, Options()
    assert keep_alive is not None
    assert options.ping_interval is not None
    assert options.ping_timeout is not None
    assert seconds["keepalive_timeout"] < keep_alive
    longest_silence = options.ping_interval + options.ping_timeout
    assert seconds["proxy_read_timeout"] > longest_silence
    assert seconds["proxy_send_timeout"] > longest_silence


# ---- a node that fails


@pytest.mark.parametrize(("method", "path", "asked"), [("GET", "/break", 2), ("POST", "/break", 1), ("GET", "/", 2)])
async def test_only_what_is_harmless_is_tried_again(tmp_path: Path, method: str, path: str, asked: int) -> None:
    async with deployed(tmp_path, "unwilling:server") as (front, _):
        printed = await front.curl(path, "--request", method, "--write-out", " %{http_code}")
        assert printed.endswith("at last 200" if path == "/" else " 502")
        assert (tmp_path / "notes").read_text().splitlines() == [method] * asked


async def test_who_comes_goes_to_the_node_that_is_left(tmp_path: Path) -> None:
    async with deployed(tmp_path) as (front, (first, second)):
        upgraded: dict[int, Client] = {}
        while len(upgraded) < 2:
            client = await open_client(front)
            await client.send(at_the_chats_name(upgrade()))
            assert (await client.reply()).status == 101
            upgraded[int(await client.exactly(7))] = client
        killed, left = upgraded[first.program.process.pid], upgraded[second.program.process.pid]
        await first.stop(signal.SIGKILL)
        assert await killed.rest() == b""
        for _ in range(20):
            assert int((await front.curl("/")).split()[0]) == second.program.process.pid
        await left.send(b"still here")
        assert await left.exactly(10) == b"still here"
        await trio.aclose_forcefully(left.stream)
        await killed.aclose()


# ---- a rolling restart


async def test_no_request_fails_while_one_node_after_the_other_is_restarted(tmp_path: Path) -> None:
    async with deployed(tmp_path) as (front, nodes), trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            while True:
                answers.append(await front.curl("/", "--write-out", " %{http_code}"))

        nursery.start_soon(ask)
        for node in nodes:
            client = await open_client(front)
            await client.send(at_the_chats_name(upgrade()))
            await client.reply()
            await client.exactly(7)
            await node.stop()
            before = len(answers)
            with trio.fail_after(20):
                while len(answers) < before + 5:  # the other one answers
                    await front.curl("/")
            await node.start()
            with trio.fail_after(20):
                while int((await front.curl("/")).split()[0]) != node.program.process.pid:
                    pass
            await trio.aclose_forcefully(client.stream)
        nursery.cancel_scope.cancel()
    assert {answer.split()[-1] for answer in answers} == {"200"}


async def test_no_message_is_lost_or_doubled_while_one_node_after_the_other_is_restarted(tmp_path: Path) -> None:
    count = 150
    with redis_server(tmp_path) as redis:
        async with deployed(tmp_path, "unlimited:server", redis=redis.url) as (front, nodes):
            # Who comes back finds what was said meanwhile in what is kept of the room: hence the pause.
            doors = [partial(visitor, front)]
            talkers = [Talker(f"Talker {number}", doors, count, pause=0.05) for number in range(4)]
            with trio.fail_after(50):
                async with talking(talkers, count):
                    for number, node in enumerate(nodes, 1):
                        await talkers[0].milestones[number * count // 3].wait()
                        await node.stop()
                        await node.start()


# ---- systemd


def test_the_units_are_valid(tmp_path: Path) -> None:
    """Where they name what an operator has installed, they name something that is here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        if "CI" in os.environ:
            pytest.fail("there is no systemd-analyze, and CI must have one")
        pytest.skip("there is no systemd-analyze: get it with `apt-get install systemd`")
    (tmp_path / "chat@443.service.d").mkdir()
    for name in ("chat@.service", "chat@443.service.d/socket.conf", "chat@.socket"):
        text = (DEPLOY / name).read_text().replace("/opt/chat/.venv/bin/trio-upgrade", sys.executable)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", "chat@8001.service", "chat@443.service", "chat@443.socket"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "")
