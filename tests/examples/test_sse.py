"""The Server-Sent Events."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
import trio.testing

from examples import server_sent_events
from examples.server_sent_events import HEARTBEAT_INTERVAL
from trio_upgrade import Server


@pytest.fixture
def server() -> Server:
    return server_sent_events.make_server()


class Client:
    """An HTTP client on a connection in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, target: str) -> tuple[int, dict[str, str]]:
        request = h11.Request(method=method, target=target, headers=[("Host", "localhost")])
        await self.stream.send_all(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        event = await self._next_event()
        assert isinstance(event, h11.Response)
        return event.status_code, {name.decode(): value.decode() for name, value in event.headers}

    async def event(self) -> str | None:
        """The next piece of the content, None at its end."""
        event = await self._next_event()
        return event.data.decode() if isinstance(event, h11.Data) else None

    async def _next_event(self) -> h11.Event:
        with trio.fail_after(HEARTBEAT_INTERVAL):  # of a MockClock: no time passes
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self.stream.receive_some()))
        assert isinstance(event, h11.Event)
        return event


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    """Waits for the connection to end."""
    stream, server_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, server_end)
        yield Client(stream)
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def raise_counter(server: Server) -> None:
    async with connected(server) as client:
        assert (await client.ask("POST", "/more"))[0] == 204


async def test_the_value_comes_at_once_and_whenever_it_changes(
    server: Server, mock_clock: trio.testing.MockClock
) -> None:
    async with connected(server) as one, connected(server) as other:
        for client in (one, other):
            status, headers = await client.ask("GET", "/events")
            assert (status, headers["content-type"]) == (200, "text/event-stream")
            assert await client.event() == "data: 0\n\n"
        for n in (1, 2):
            await raise_counter(server)
            for client in (one, other):
                assert await client.event() == f"data: {n}\n\n"


async def test_what_changes_between_two_reads_is_not_missed() -> None:
    counter = server_sent_events.Counter()
    counter.raise_by_one()
    await counter.wait_past(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.wait_past, 1)
        nursery.start_soon(counter.wait_past, 1)
        await trio.testing.wait_all_tasks_blocked()
        counter.raise_by_one()


async def test_a_heartbeat_comes_when_nothing_happens(server: Server, mock_clock: trio.testing.MockClock) -> None:
    async with connected(server) as client:
        await client.ask("GET", "/events")
        await client.event()
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            mock_clock.jump(HEARTBEAT_INTERVAL)
            assert await client.event() == ": still here\n\n"
            await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(HEARTBEAT_INTERVAL - 1)
        await raise_counter(server)
        assert await client.event() == "data: 1\n\n"
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1)  # an event is as good as a heartbeat
        await trio.testing.wait_all_tasks_blocked()
        await raise_counter(server)
        assert await client.event() == "data: 2\n\n"


async def test_a_heartbeat_finds_that_the_client_is_gone(
    server: Server, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stream, server_end = trio.testing.memory_stream_pair()
    ended = trio.Event()

    async def serve() -> None:
        await server.serve_stream(server_end)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client = Client(stream)
        await client.ask("GET", "/events")
        await client.event()
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        mock_clock.jump(HEARTBEAT_INTERVAL)
        await ended.wait()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_shutdown_ends_the_events_at_once_and_in_order(
    server: Server, mock_clock: trio.testing.MockClock
) -> None:
    async with connected(server) as client:
        await client.ask("GET", "/events")
        await client.event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown, 10)
            assert await client.event() is None  # the last chunk, not a broken connection
            await client.stream.aclose()
        assert trio.current_time() < 1


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html; charset=utf-8"), ("/events", "text/event-stream")])
async def test_head_has_no_content(server: Server, mock_clock: trio.testing.MockClock, path: str, kind: str) -> None:
    stream, server_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, server_end)
        client = Client(stream)
        status, headers = await client.ask("HEAD", path)
        assert (status, headers["content-type"]) == (200, kind)
        assert await client.event() is None
        await stream.aclose()


async def test_the_page_listens_to_the_events(server: Server, mock_clock: trio.testing.MockClock) -> None:
    async with connected(server) as client:
        assert (await client.ask("GET", "/"))[0] == 200
        assert 'new EventSource("/events")' in (await client.event() or "")


@pytest.mark.parametrize(("method", "path"), [("GET", "/other"), ("GET", "/more"), ("POST", "/")])
async def test_there_is_nothing_else(
    server: Server, mock_clock: trio.testing.MockClock, method: str, path: str
) -> None:
    async with connected(server) as client:
        assert (await client.ask(method, path))[0] == 404
