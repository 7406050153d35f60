"""The server under test: `python -m tests.stress.server`.

It prints its ports as a line of JSON, shuts down on SIGTERM, and prints how long that took. When its standard
input ends, whoever started it is gone, and it goes too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict

import trio

from trio_upgrade import Limits, Request, Response, Server, UpgradedStream, websocket

from .pattern import Pattern

PIECE = 16 * 1024
TAIL = 1  # seconds that some go on in a shutdown
LARGE = 64 * 2**20  # more than the kernel takes for a peer that does not read


class Program:
    """Handlers that check what they are sent.

    A path is `/what/name/size`: the name and the size of the `Pattern` that is sent or expected.

    Attributes:
      mistakes: how often something else arrived than what was sent.
      dropped: how many seconds each response that nobody read was under way.
    """

    def __init__(self, limits: Limits) -> None:
        self.mistakes = 0
        self.dropped: list[float] = []
        self.log = Log()
        self.websockets = {
            "busy": websocket.handler(be_busy),
            "busy-deflate": websocket.handler(be_busy, compression="deflate"),
            "deflate": websocket.handler(echo_messages, compression="deflate"),
            "takeover": websocket.handler(echo_messages, compression="deflate-takeover"),
        }
        self.echo_messages = websocket.handler(echo_messages)
        self.server = Server(self.on_request, on_upgrade=self.on_upgrade, limits=limits)

    # ---- ordinary requests

    async def on_request(self, request: Request) -> Response:
        what, name, size = split(request.path)
        match what:
            case "okay":
                return Response(200, "okay\n")
            case "statistics":
                return Response(200, self.statistics(), content_type="application/json")
            case "pattern":
                headers = [("Content-Length", str(size))] if request.query == "length" else []
                return Response(200, self.content(name, size), headers)
            case "paced":
                return Response(200, self.paced(name, size))
            case "endless":
                return Response(200, endless())
            case "stuck":
                await trio.sleep_forever()
            case "unread":
                return Response(200, self.unread())
            case "echo":
                return Response(200, await self.read_body(request, name, size))
            case _:
                return Response(404, "Not Found\n")

    def statistics(self) -> str:
        """What the server says of itself, and what this program knows."""
        return json.dumps(
            {
                "server": asdict(self.server.statistics()),
                "mistakes": self.mistakes,
                "dropped": self.dropped,
                "logged": self.log.records,
            }
        )

    async def content(self, name: str, size: int) -> AsyncIterator[bytes]:
        """A pattern in pieces."""
        pattern = Pattern(name)
        for start in range(0, size, PIECE):
            yield pattern.take(min(PIECE, size - start))
            await trio.lowlevel.checkpoint()

    async def paced(self, name: str, size: int) -> AsyncIterator[bytes]:
        """A pattern whose end comes a while after a shutdown has begun."""
        pattern = Pattern(name)
        yield pattern.take(size // 2)
        await self.server.shutting_down.wait()
        await trio.sleep(TAIL)
        yield pattern.take(size - size // 2)

    async def unread(self) -> AsyncIterator[bytes]:
        """What nobody reads; the server ends it."""
        begin = trio.current_time()
        try:
            async for piece in self.content("unread", LARGE):
                yield piece
        finally:
            self.dropped.append(trio.current_time() - begin)

    async def read_body(self, request: Request, name: str, size: int) -> bytes:
        """The request's body, checked as it comes."""
        pattern = Pattern(name)
        body = bytearray()
        async for part in request.body:
            self.mistakes += not pattern.matches(part)
            body += part
        self.mistakes += len(body) != size
        return bytes(body)

    # ---- upgrades

    def on_upgrade(self, request: Request, stream: UpgradedStream) -> Awaitable[Response | None]:
        """Hand over to the handler for a path; a plain function, so that thousands of streams have no frame of it."""
        what, name, size = split(request.path)
        if websocket.is_handshake(request):
            return self.websockets.get(what, self.echo_messages)(request, stream)
        match what:
            case "held":
                return echo(request, stream)
            case "goodbye":
                return self.echo_until_shutdown(request, stream)
            case _:
                return self.echo_checked(request, stream, name, size)

    async def echo_checked(self, request: Request, stream: trio.abc.Stream, name: str, size: int) -> None:
        """Check the body, unless it is to be left unread, and echo the stream, which has a pattern of its own."""
        if request.query != "unread":
            await self.read_body(request, name, size)
        await request.accept("echo")
        pattern = Pattern(f"{name} stream")
        async for data in stream:
            self.mistakes += not pattern.matches(data)
            await stream.send_all(data)

    async def echo_until_shutdown(self, request: Request, stream: trio.abc.Stream) -> None:
        await request.accept("echo")
        count = 0
        while True:
            data: bytes | bytearray = b""
            with self.server.cancel_on_shutdown():
                data = await stream.receive_some()
            if not data:
                break
            count += len(data)
            await stream.send_all(data)
        await trio.sleep(TAIL)  # a goodbye that takes its time
        await stream.send_all(b"goodbye after %d bytes\n" % count)


async def endless() -> AsyncIterator[bytes]:
    yield b"more is to come"
    await trio.sleep_forever()


async def echo(request: Request, stream: trio.abc.Stream) -> None:
    await request.accept("echo")
    async for data in stream:
        await stream.send_all(data)


async def be_busy(ws: websocket.WebSocket[str | bytes]) -> None:
    await trio.sleep_forever()


async def echo_messages(ws: websocket.WebSocket[str | bytes]) -> None:
    async for message in ws:
        await ws.send(message)


class Log(logging.Handler):
    """Counts what the server complains about, and prints it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        logging.lastResort.handle(record)  # type: ignore[union-attr]  # it is None only where a program made it so


def split(path: str) -> tuple[str, str, int]:
    what, _, rest = path[1:].partition("/")
    name, _, size = rest.partition("/")
    return what, name, int(size or 0)


async def serve(program: Program, ssl_context: ssl.SSLContext | None, grace: float) -> None:
    """Serve until SIGTERM; say where, and how long the shutdown took."""
    server = program.server
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        trio.lowlevel.spawn_system_task(end_with_parent)
        async with trio.open_nursery() as nursery:
            (plain,) = await nursery.start(server.serve_tcp, 0)
            ports = {"port": plain.socket.getsockname()[1]}
            if ssl_context is not None:
                (tls,) = await nursery.start(server.serve_ssl_over_tcp, 0, ssl_context)
                ports["tls_port"] = tls.transport_listener.socket.getsockname()[1]
            print(json.dumps(ports), flush=True)
            await anext(signals)
            begun = trio.current_time()
            nursery.start_soon(server.shutdown, grace)
    print(json.dumps({"seconds": trio.current_time() - begun}), flush=True)


async def end_with_parent() -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        await stdin.receive_some()
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.server", description=__doc__)
    parser.add_argument("--certificate", help="serve TLS too, with the key and the certificates in this file")
    parser.add_argument("--limits", type=json.loads, default={}, help="fields of trio_upgrade.Limits, as JSON")
    parser.add_argument("--processor", type=int, help="the one to be kept to")
    parser.add_argument("--grace", type=float, default=10, help="seconds that a shutdown may take")
    arguments = parser.parse_args()
    if arguments.processor is not None:
        os.sched_setaffinity(0, {arguments.processor})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ssl_context = None
    if arguments.certificate is not None:
        ssl_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ssl_context.load_cert_chain(arguments.certificate)
    program = Program(Limits(**arguments.limits))
    logging.getLogger("trio_upgrade").addHandler(program.log)
    trio.run(serve, program, ssl_context, arguments.grace)


if __name__ == "__main__":
    main()
