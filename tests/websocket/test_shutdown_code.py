"""Who closes a WebSocket in a shutdown, and with which code: the option `shutdown_code`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_upgrade import Server, websocket

from ..support.client import Connect, open_client, serving
from ..support.websocket_client import Recorder, close, echo, handshake, server_of, shake, text


async def say_goodbye(ws: websocket.WebSocket[Any]) -> None:
    with ws.request.server.cancel_on_shutdown():
        await echo(ws)
    await ws.send("goodbye")


async def hang(ws: websocket.WebSocket[Any]) -> None:
    await trio.sleep_forever()


async def hang_and_echo(ws: websocket.WebSocket[Any]) -> None:
    await echo(ws)
    await trio.sleep_forever()


class ShutDown:
    """Shuts a server down in a task.

    Attributes:
      begun: when, in seconds of Trio's clock.
      done: set once it is down.
    """

    def __init__(self, nursery: trio.Nursery, server: Server, grace: float) -> None:
        self.begun = trio.current_time()
        self.done = trio.Event()
        nursery.start_soon(self._run, server, grace)

    async def _run(self, server: Server, grace: float) -> None:
        await server.shutdown(grace)
        self.done.set()

    @property
    def seconds(self) -> float:
        """Since it has begun."""
        return trio.current_time() - self.begun


# ---- a code


@pytest.mark.parametrize("code", [1001, 1012, 4000])
async def test_a_websocket_is_closed_at_once_with_the_code(connect: Connect, nursery: trio.Nursery, code: int) -> None:
    recorder = Recorder()
    server = server_of(recorder, shutdown_code=code)
    peer = await shake(await connect(server))
    await recorder.opened.wait()
    down = ShutDown(nursery, server, 60)
    assert await peer.close_code() == code
    await peer.send(text("one more"), close(code))
    assert await peer.ended()
    await recorder.ended.wait()
    assert (recorder.messages, type(recorder.end)) == (["one more"], trio.EndOfChannel)
    assert (recorder.ws.close_code, recorder.ws.close_reason) == (code, "the server is shutting down")
    await peer.aclose()
    await down.done.wait()


async def test_a_handler_that_returns_at_that_moment_closes_with_the_code_too(connect_memory: Connect) -> None:
    """It and the server learn of the shutdown at once, and either may be first."""

    async def leave(ws: websocket.WebSocket[Any]) -> None:
        with ws.request.server.cancel_on_shutdown():
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = server_of(leave, shutdown_code=1012)
        peers = [await shake(await connect_memory(server)) for _ in range(30)]
        ShutDown(nursery, server, 60)
        for peer in peers:
            assert await peer.close_code() == 1012
            await peer.send(close(1012))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1005, ValueError),
        (1006, ValueError),
        (999, ValueError),
        (5000, ValueError),
        ("1001", TypeError),
        (True, TypeError),
    ],
)
def test_the_code_must_be_one_that_can_be_sent(code: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="code"):
        websocket.handler(echo, shutdown_code=code)


# ---- None: the handler closes


async def test_every_handler_says_its_last_words(connect_memory: Connect, nursery: trio.Nursery) -> None:
    server = server_of(say_goodbye, shutdown_code=None)
    peers = [await shake(await connect_memory(server)) for _ in range(30)]
    for peer in peers:
        await peer.send(text("hello"))
        assert await peer.message() == "hello"
    down = ShutDown(nursery, server, 60)
    for peer in peers:
        assert await peer.message() == "goodbye"
        assert await peer.close_code() == 1001
        await peer.send(close(1001))
        assert await peer.ended()
        await peer.aclose()
    await down.done.wait()


async def test_a_websocket_stays_open_until_the_handler_closes_it(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def talk(ws: websocket.WebSocket[Any]) -> None:
        async for message in ws:
            if message == "leave":
                await ws.aclose(4000, "as you like")
            await ws.send(message)

    server = server_of(talk, shutdown_code=None)
    peer = await shake(await connect_memory(server))
    down = ShutDown(nursery, server, 60)
    for _ in range(4):
        await trio.sleep(10)
        await peer.send(text("are you there?"))
        while (answer := await peer.frame()).opcode != 1:
            pass  # a ping
        assert answer.payload == b"are you there?"
    await peer.send(text("leave"))
    assert await peer.close_code() == 4000
    await peer.send(close(4000))
    assert await peer.ended()
    await down.done.wait()
    assert down.seconds < 50


@pytest.mark.parametrize("handler", [hang, hang_and_echo])
@pytest.mark.parametrize(
    ("grace", "close_timeout", "closes_after"),
    [(60, 10, 50), (60, 3, 57), (12, 10, 6), (2, 10, 1), (0.3, 10, 0.15), (60, 0.1, 59.9)],
)
async def test_who_has_not_closed_is_closed_before_the_grace_ends(
    connect_memory: Connect,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    handler: Callable[[websocket.WebSocket[Any]], Awaitable[None]],
    grace: float,
    close_timeout: float,
    closes_after: float,
) -> None:
    """So that the peer is told, though the handler hangs."""
    server = server_of(handler, shutdown_code=None, close_timeout=close_timeout, ping_interval=None)
    peer = await shake(await connect_memory(server))
    await trio.sleep(7)
    down = ShutDown(nursery, server, grace)
    assert await peer.close_code() == 1001
    assert down.seconds == pytest.approx(closes_after)
    await peer.send(close(1001))
    assert await peer.ended()
    await peer.aclose()
    assert down.seconds <= grace
    await down.done.wait()
    assert down.seconds == pytest.approx(grace)


async def test_a_second_call_may_bring_the_end_nearer_and_no_further(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = server_of(hang, shutdown_code=None, ping_interval=None)
    peer = await shake(await connect_memory(server))
    down = ShutDown(nursery, server, 60)
    await trio.sleep(1)
    ShutDown(nursery, server, 4)
    await trio.sleep(0.5)
    ShutDown(nursery, server, 30)
    assert await peer.close_code() == 1001
    assert down.seconds == pytest.approx(1 + 4 / 2)
    await down.done.wait()
    assert down.seconds == pytest.approx(1 + 4)


async def test_a_shutdown_may_wait_for_ever(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = server_of(echo, shutdown_code=None, ping_interval=None)
    peer = await shake(await connect_memory(server))
    down = ShutDown(nursery, server, math.inf)
    await trio.sleep(300)
    await peer.send(text("still here"))
    assert await peer.message() == "still here"
    ShutDown(nursery, server, 1)
    assert await peer.close_code() == 1001
    assert down.seconds == pytest.approx(300.5)
    await down.done.wait()


async def test_each_websocket_has_its_own_time_and_code(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    options: dict[str, dict[str, Any]] = {
        "/at-once": {"shutdown_code": 1012},
        "/late": {"shutdown_code": None, "close_timeout": 1},
        "/early": {"shutdown_code": None, "close_timeout": 20},
    }

    async def on_upgrade(request: Any, stream: trio.abc.Stream) -> None:
        async with websocket.accept(request, stream, ping_interval=None, **options[request.path]) as ws:
            await hang(ws)

    server = Server(on_upgrade=on_upgrade)
    peers = {target: await shake(await connect_memory(server), target=target) for target in options}
    client = await connect_memory(server)
    await client.send(handshake(target="/early")[:10])  # its request is in progress when the shutdown begins
    down = ShutDown(nursery, server, 60)
    await trio.sleep(1)
    await client.send(handshake(target="/early")[10:])
    assert (await client.reply()).status == 101
    closed = []
    for target, after, code in [("/at-once", 0, 1012), ("/early", 40, 1001), ("/late", 59, 1001)]:
        closed.append(await peers[target].close_code())
        assert closed[-1] == code
        assert target == "/at-once" or down.seconds == pytest.approx(after)
    assert int.from_bytes((await client.exactly(4))[2:4]) == 1001  # it came at 40, too
    await down.done.wait()


async def test_one_that_opens_late_has_its_own_time(nursery: trio.Nursery, mock_clock: trio.testing.MockClock) -> None:
    """It is earlier than that of the other in the same serving, which is waited for already."""
    timeouts = {"/late": 1, "/early": 20}
    opened: dict[str, websocket.WebSocket[Any]] = {}

    async def on_upgrade(request: Any, stream: trio.abc.Stream) -> None:
        timeout = timeouts[request.path]
        async with websocket.accept(
            request, stream, shutdown_code=None, close_timeout=timeout, ping_interval=None
        ) as ws:
            opened[request.path] = ws
            await trio.sleep_forever()

    async with serving(server := Server(on_upgrade=on_upgrade)) as listener:
        late = await shake(await open_client(listener), target="/late")
        client = await open_client(listener)
        await client.send(handshake(target="/early")[:10])
        await trio.testing.wait_all_tasks_blocked(0.01)
        ShutDown(nursery, server, 60)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(handshake(target="/early")[10:])
        assert (await client.reply()).status == 101
        closed = []
        for seconds in (39.9, 0.2, 18.8, 0.2):
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked(0.01)
            closed.append([target for target, ws in opened.items() if ws.close_code == 1001])
        await client.vanish()
        await late.aclose()
        assert closed == [[], ["/early"], ["/early"], ["/late", "/early"]]


async def test_an_exception_in_the_handler_is_told_as_ever(
    connect: Connect, nursery: trio.Nursery, logged: Callable[[], list[str]]
) -> None:
    async def fail(ws: websocket.WebSocket[Any]) -> None:
        await ws.request.server.shutting_down.wait()
        raise ValueError("a bug")

    server = server_of(fail, shutdown_code=None)
    peer = await shake(await connect(server))
    down = ShutDown(nursery, server, 60)
    assert await peer.close_code() == 1011
    await peer.send(close(1011))
    assert await peer.ended()
    await peer.aclose()
    await down.done.wait()
    assert logged() == ["ERROR ValueError"]


async def test_a_server_that_serves_again_has_forgotten_the_shutdown(
    connect_memory: Connect, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = server_of(hang, shutdown_code=None, ping_interval=None)
    for grace in (2, 60):
        peer = await shake(await connect_memory(server))
        down = ShutDown(nursery, server, grace)
        assert await peer.close_code() == 1001
        assert down.seconds == pytest.approx(grace - min(10, grace / 2))
        await down.done.wait()
