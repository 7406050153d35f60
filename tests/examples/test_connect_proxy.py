"""The CONNECT proxy."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from examples import connect_proxy
from trio_upgrade import Request, Response, Server

from ..support.client import open_client, post, serving

ROOT = Path(__file__).parents[2]
CURL = shutil.which("curl")


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def address_of(listener: trio.SocketListener) -> str:
    return f"127.0.0.1:{listener.socket.getsockname()[1]}"


async def say_what_came(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} {len(await request.body.read())}\n")


async def test_curl_goes_through_it() -> None:
    if CURL is None:
        if "CI" in os.environ:
            pytest.fail("there is no curl, and CI must have one")
        pytest.skip("there is no curl: get it with `apt-get install curl`")
    async with serving(Server(say_what_came)) as target:
        async with serving(connect_proxy.make_server(["127.0.0.1:*"])) as proxy:
            command = [CURL, "-sS", "-p", "-x", f"http://{address_of(proxy)}", "--data-binary", "@-"]
            done = await trio.run_process(
                [*command, f"http://{address_of(target)}/there"], stdin=bytes(100_000), capture_stdout=True
            )
    assert done.stdout == b"POST /there 100000\n"


@pytest.mark.parametrize("target", ["127.0.0.1:1", "other.test:443", "127.0.0.2:80", "a.example.com.evil.test:443"])
async def test_other_targets_are_refused(target: str) -> None:
    async with serving(connect_proxy.make_server(["127.0.0.1:80", "*.example.com:443"])) as proxy:
        client = await open_client(proxy)
        await client.send(connect(target))
        reply = await client.reply("CONNECT")
        assert (reply.status, reply.closes) == (403, True)
        await client.aclose()


@pytest.mark.parametrize("allowed", ["127.0.0.1:1", "LOCALHOST:*"])
async def test_a_target_that_does_not_listen_is_502(allowed: str) -> None:
    async with serving(connect_proxy.make_server([allowed])) as proxy:
        client = await open_client(proxy)
        await client.send(connect(allowed.replace("*", "1")))
        assert (await client.reply("CONNECT")).status == 502
        await client.aclose()


async def test_a_target_may_be_an_ipv6_address() -> None:
    async with serving(connect_proxy.make_server(["[::1]:*"])) as proxy:
        for target, status in [("[::1]:1", 502), ("[::2]:1", 403)]:
            client = await open_client(proxy)
            await client.send(connect(target))
            assert (await client.reply("CONNECT")).status == status
            await client.aclose()


async def test_the_end_of_each_direction_is_carried_through(nursery: trio.Nursery) -> None:
    received = trio.Event()

    async def answer_at_the_end(stream: trio.SocketStream) -> None:
        data = b"".join([bytes(part) async for part in stream])
        received.set()
        await stream.send_all(data[::-1])

    (target,) = await nursery.start(partial(trio.serve_tcp, answer_at_the_end, 0, host="127.0.0.1"))
    async with serving(connect_proxy.make_server(["127.0.0.1:*"])) as proxy:
        client = await open_client(proxy)
        await client.send(connect(address_of(target)) + b"early ")
        assert (await client.reply("CONNECT")).status == 200
        await client.send(b"late")
        await client.send_eof()
        await received.wait()
        assert await client.rest() == b"early late"[::-1]
        await client.aclose()
    nursery.cancel_scope.cancel()


async def test_it_is_no_proxy_for_plain_http() -> None:
    async with serving(connect_proxy.make_server(["*"])) as proxy:
        client = await open_client(proxy)
        await client.send(post(b"x", target="http://other.test/"))
        reply = await client.reply()
        assert (reply.status, reply.headers["allow"]) == (405, "CONNECT")
        await client.aclose()


def test_without_targets_it_says_what_is_missing() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples.connect_proxy"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "nothing is allowed: give a target with --allow" in ended.stderr
