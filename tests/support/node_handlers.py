"""Servers whose handlers do what those of `node_server.js` do."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from trio_upgrade import Limits, ProtocolError, Request, Response, Server

__all__ = ["SERVERS"]


@trio.as_safe_channel
async def pieces() -> AsyncGenerator[bytes, None]:
    yield b"one "
    yield b"two"


async def on_request(request: Request) -> Response:
    match request.target:
        case "/read":
            return Response(200, await request.body.read())
        case "/begun":
            return Response(200, await request.body.receive_some(1))
        case "/slow":
            await trio.sleep(1)
            return Response(200, "slow")
        case "/close":
            return Response(200, "close", {"Connection": "close"})
        case "/stream":
            return Response(200, pieces())
        case target:
            return Response(200, f"{target} for {request.headers['Host']}" if target.startswith("http") else target)


async def on_upgrade(request: Request, stream: trio.abc.Stream) -> Response | None:
    match request.target:
        case "/body":  # the body, the 101, the stream
            body = await request.body.read()
            await request.accept()
            await stream.send_all(b"[%b]" % body)
            await echo(stream)
        case "/accept-body":  # the 101, the body, the stream
            await request.accept()
            if await say_body(request, stream):
                await echo(stream)
        case "/begun":  # a byte of the body, the 101, the stream
            byte = await request.body.receive_some(1)
            await request.accept()
            await stream.send_all(b"[%b]" % byte)
            await echo(stream)
        case "/listen":  # the first of the stream, the 101, the stream
            first = await stream.receive_some()
            await request.accept()
            await stream.send_all(first)
            await echo(stream)
        case "/bye":
            await request.accept()
            await stream.send_all(b"bye")
        case "/deaf":  # reads neither body nor stream
            await request.accept()
            await trio.sleep_forever()
        case "/other":
            try:
                await request.accept("other")
            except ValueError:
                return Response(409)
        case "/both":  # body and stream at once
            busy = b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say_body, request, stream)
                await trio.sleep(0.05)  # the body's reader is waiting before its client hears of the 101
                await request.accept()
                try:
                    await stream.receive_some()
                except trio.BusyResourceError:
                    busy = b"<busy>"
            await stream.send_all(busy)
            await echo(stream)
        case "/decline":
            return Response(403)
        case _:
            await request.accept()
            await echo(stream)
    return None


async def on_connect(request: Request, stream: trio.abc.Stream) -> Response | None:
    if request.target.startswith("declined"):
        return Response(403)
    await request.accept()
    await echo(stream)
    return None


# What a broken body or stream looks like to its handler is said on the stream, if there is one.


async def say_body(request: Request, stream: trio.abc.Stream) -> bool:
    try:
        body = await request.body.read()
    except ProtocolError:
        await stream.send_all(b"<broken>")
        return False
    await stream.send_all(b"[%b]" % body)
    return True


async def echo(stream: trio.abc.Stream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except ProtocolError:
        await stream.send_all(b"<broken>")
    else:
        await stream.send_all(b"<end>")


LIMITS = Limits(keep_alive_timeout=None)
SERVERS = {
    "upgrading": Server(on_request, on_upgrade=on_upgrade, on_connect=on_connect, limits=LIMITS),
    "choosing": Server(
        on_request,
        on_upgrade=on_upgrade,
        should_upgrade=lambda request: request.target.startswith("/echo"),
        limits=LIMITS,
    ),
    "ordinary": Server(on_request, limits=LIMITS),
    "orphaned": Server(on_request, should_upgrade=lambda request: True, limits=LIMITS),
}
