"""An MCP server by streamable HTTP: sessions, whose responses are streams, and a client of its own project."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from mcp.client.client import Client
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette

from ..support.client import reset
from ..support.frameworks import Visit, visit

pytestmark = pytest.mark.once


def calculator(opened: list[str]) -> Starlette:
    server = MCPServer("calculator")

    @server.tool()
    async def add(first: int, second: int, context: Context) -> int:
        await context.report_progress(0.5, 1)
        opened.append("add")
        return first + second

    @server.resource("note://{name}")
    def note(name: str) -> str:
        return f"a note for {name}"

    return server.streamable_http_app()


def address_of(at: Visit) -> str:
    return str(at.http.base_url).rstrip("/") + "/mcp"


async def run(client: Coroutine[Any, Any, None]) -> None:
    """Run a client, on asyncio: on Trio it leaves async generators open, which is a warning."""
    await trio.to_thread.run_sync(partial(asyncio.run, client), abandon_on_cancel=True)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_and_resources_with_progress(mode: str) -> None:
    calls: list[str] = []
    told: list[float] = []

    async def seen(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async def use(address: str) -> None:
        async with Client(address, mode=mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
            result = await client.call_tool("add", {"first": 2, "second": 3}, progress_callback=seen)
            assert result.structured_content == {"result": 5}
            content = (await client.read_resource("note://ann")).contents[0]
            assert getattr(content, "text", None) == "a note for ann"

    async with visit(calculator(calls)) as at:
        await run(use(address_of(at)))
    assert (calls, told) == (["add"], [0.5])


async def test_many_clients_at_once() -> None:
    calls: list[str] = []
    results: list[object] = []

    async def use(address: str, number: int) -> None:
        async with Client(address, mode="legacy") as client:
            results.append((await client.call_tool("add", {"first": number, "second": 1})).structured_content)

    async def use_many(address: str) -> None:
        await asyncio.gather(*[use(address, number) for number in range(10)])

    async with visit(calculator(calls)) as at:
        await run(use_many(address_of(at)))
    assert len(calls) == 10
    assert all({"result": number + 1} in results for number in range(10))


async def test_a_client_that_leaves_a_session_open_hinders_nothing() -> None:
    calls: list[str] = []

    async def use(address: str) -> None:
        async with Client(address, mode="legacy") as client:
            result = await client.call_tool("add", {"first": 1, "second": 1})
            assert result.structured_content == {"result": 2}

    async with visit(calculator(calls)) as at:
        host = str(at.http.base_url).removeprefix("http://").rstrip("/").encode()
        fields = b"Host: %s\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n" % host
        body = (
            b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",'
            b' "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}}'
        )
        client = await at.client()
        await client.send(b"POST /mcp HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (fields, len(body), body))
        session = (await client.reply()).headers["mcp-session-id"].encode()
        # An endless response with what the server has to say.
        await client.send(b"GET /mcp HTTP/1.1\r\n%sMcp-Session-Id: %s\r\n\r\n" % (fields, session))
        await trio.testing.wait_all_tasks_blocked()
        reset(client)
        await run(use(address_of(at)))
