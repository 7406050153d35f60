from __future__ import annotations

import logging
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from trio_upgrade import Server

from .support import client
from .support.client import Client, Connect
from .support.tls_client import make_contexts


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A command in the background of a script ignores SIGINT, and so would the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    return make_contexts()


@asynccontextmanager
async def closing_clients(way: Callable[[Server], Awaitable[Client]]) -> AsyncIterator[Connect]:
    clients = []

    async def connect(server: Server) -> Client:
        clients.append(await way(server))
        return clients[-1]

    yield connect
    for one in clients:
        await one.vanish()


@pytest.fixture(params=["memory", "tcp"])
async def connect(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Connect]:
    """Connects to a server in memory, and over TCP."""
    way = {"memory": client.connect_memory, "tcp": client.connect_tcp}[request.param]
    async with closing_clients(partial(way, nursery)) as connect:
        yield connect


@pytest.fixture(params=["tcp", "tls"])
async def connect_socket(
    request: pytest.FixtureRequest, nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[Connect]:
    """Connects to a server over TCP, and over TLS."""
    tls = partial(client.connect_tls, nursery, contexts=tls_contexts)
    way = {"tcp": partial(client.connect_tcp, nursery), "tls": tls}[request.param]
    async with closing_clients(way) as connect:
        yield connect


@pytest.fixture
async def connect_memory(nursery: trio.Nursery) -> AsyncIterator[Connect]:
    async with closing_clients(partial(client.connect_memory, nursery)) as connect:
        yield connect


@pytest.fixture
async def connect_tcp(nursery: trio.Nursery) -> AsyncIterator[Connect]:
    async with closing_clients(partial(client.connect_tcp, nursery)) as connect:
        yield connect


@pytest.fixture
async def connect_tls(
    nursery: trio.Nursery, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[Connect]:
    async with closing_clients(partial(client.connect_tls, nursery, contexts=tls_contexts)) as connect:
        yield connect


@pytest.fixture(autouse=True)
def no_log_is_overlooked(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that expects errors in the log takes them out; any other is a failure."""
    caplog.set_level("DEBUG", "trio_upgrade")
    yield
    records = caplog.get_records("call")  # at teardown, `caplog.records` has those of the teardown
    assert [record.getMessage() for record in records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Takes the log: its levels, each with the name of the exception where there is one."""

    def take() -> list[str]:
        taken = [
            f"{record.levelname} {type(record.exc_info[1]).__name__}" if record.exc_info else record.levelname
            for record in caplog.records
        ]
        caplog.clear()
        return taken

    return take
