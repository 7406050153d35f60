"""What the chat's operators ask it for: whether it is well, and its figures."""

import trio

from examples.chat import make_server

from ..support.client import Client, Reply, get, open_client, serving
from ..support.programs import ENVIRONMENT, ROOT, running
from ..support.websocket_client import shake, text


async def ask(client: Client, target: str = "/healthz", method: str = "GET", fields: bytes = b"") -> Reply:
    await client.send(get(target, fields, method=method))
    return await client.reply(method)


async def test_it_is_well_while_it_takes_connections() -> None:
    async with serving(make_server()) as listener:
        client = await open_client(listener)
        reply = await ask(client)
        assert (reply.status, reply.content, reply.headers["cache-control"]) == (200, b"ok\n", "no-store")
        assert (await ask(client, method="HEAD")).status == 200
        assert (await ask(client, method="POST")).status == 405
        await client.aclose()


async def test_it_says_that_it_shuts_down_to_who_can_still_ask() -> None:
    """Connections that are new, or queued, or in the middle of a request's head."""
    server = make_server()
    async with serving(server) as listener, trio.open_nursery() as nursery:
        visitor = await shake(await open_client(listener), target="/chat")
        new, begun = [await open_client(listener) for _ in range(2)]
        await begun.send(get("/healthz")[:20])
        while server.statistics().active < 1 or server.statistics().open < 3:
            await trio.lowlevel.checkpoint()
        queued = await open_client(listener)  # before the server has had a turn to accept it
        nursery.start_soon(server.shutdown, 10)
        await server.shutting_down.wait()
        await begun.send(get("/healthz")[20:])
        replies = [await begun.reply(), await ask(new), await ask(queued)]
        assert [(reply.status, reply.content, reply.closes) for reply in replies] == [
            (503, b"shutting down\n", True)
        ] * 3
        for client in (begun, new, queued, visitor):
            await client.aclose()


async def test_its_metrics_are_for_this_machine_and_not_for_those_behind_a_proxy() -> None:
    async with serving(make_server()) as listener:
        visitor = await shake(await open_client(listener), target="/chat")
        await visitor.send(text('{"type": "enter", "name": "Ann", "room": "lobby", "last": "", "session": "s-of-ann"}'))
        await visitor.message()
        client = await open_client(listener)
        reply = await ask(client, "/metrics")
        assert b"\ntrio_upgrade_upgrades_total 1.0\n" in reply.content
        assert b"\ntrio_upgrade_broadcasts_total 0.0\n" not in reply.content
        assert (await ask(client, "/metrics", fields=b"X-Forwarded-For: 192.0.2.1\r\n")).status == 403
        await client.aclose()
        await visitor.aclose()


async def test_networks_that_are_none_are_said_in_one_line() -> None:
    env = {**ENVIRONMENT, "CHAT_METRICS_FROM": "10.0.0.0/8 nonsense"}
    async with running("-m", "trio_upgrade", "examples.chat:server", "--port", "0", cwd=ROOT, env=env) as program:
        printed = await program.ends()
    assert printed == "chat: CHAT_METRICS_FROM: 'nonsense' does not appear to be an IPv4 or IPv6 network\n"
