"""TCP through an HTTP server, over `Upgrade: tcp`.

    python -m examples.tunnel server --port 8001 --target 127.0.0.1:5432
    python -m examples.tunnel client --listen 9000 --via 127.0.0.1:8001

Whoever connects to port 9000 is connected to the target. The end of each direction is carried
through by itself; a connection that breaks on one side is reset on the other, so that nobody takes
half of something for all of it.

There is no password on it: whoever reaches the server reaches its target.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

import h11
import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream

from .relay import CHUNK_SIZE, relay, reset

PROTOCOL = "tcp"
CONNECT_TIMEOUT = 10  # seconds, for the target as for the tunnel's server

Address = tuple[str, int]


# ---- the server


async def serve_tunnel(target: Address, request: Request, stream: UpgradedStream) -> Response | None:
    """Connect to the target, and only then accept."""
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            far_end = await trio.open_tcp_stream(*target)
    except (OSError, trio.TooSlowError):
        return Response(502, "The target cannot be reached\n")
    async with far_end:
        await request.accept(PROTOCOL)
        try:
            await relay(stream, far_end)
        except* trio.BrokenResourceError:
            await reset(far_end, far_end)
            await reset(stream, request.transport)
    return None


def make_server(target: Address) -> Server:
    """A server whose clients are connected to `target`."""
    return Server(
        on_upgrade=partial(serve_tunnel, target),
        should_upgrade=lambda request: PROTOCOL in (protocol.lower() for protocol in request.upgrade),
    )


# ---- the client


class Failure(Exception):
    """There is no tunnel, and why."""


@contextlib.asynccontextmanager
async def open_tunnel(via: Address) -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A stream through the server at `via`, and the first bytes that came over it."""
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            stream = await trio.open_tcp_stream(*via)
    except (OSError, trio.TooSlowError) as exc:
        raise Failure(f"the server cannot be reached: {exc}") from exc
    async with stream:
        yield stream, await shake_hands(stream, via)


async def shake_hands(stream: trio.SocketStream, via: Address) -> bytes:
    """Ask for the upgrade; returns what came behind the server's 101."""
    http = h11.Connection(h11.CLIENT)
    headers = [("Host", f"{via[0]}:{via[1]}"), ("Connection", "Upgrade"), ("Upgrade", PROTOCOL)]
    try:
        with trio.fail_after(2 * CONNECT_TIMEOUT):  # it has to reach its target first
            await stream.send_all(http.send(h11.Request(method="GET", target="/", headers=headers)))
            http.send(h11.EndOfMessage())
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(CHUNK_SIZE))
    except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError) as exc:
        raise Failure(f"the server does not answer: {exc}") from exc
    assert isinstance(event, h11.InformationalResponse | h11.Response)
    if event.status_code != 101:
        raise Failure(f"the server refuses: {event.status_code} {event.reason.decode('latin-1')}")
    return http.trailing_data[0]


async def carry(via: Address, stream: trio.SocketStream) -> None:
    """One local connection through a tunnel of its own."""
    try:
        async with open_tunnel(via) as (tunnel, first):
            try:
                await relay(stream, tunnel, first)
            except* trio.BrokenResourceError:
                await reset(tunnel, tunnel)
                await reset(stream, stream)
    except Failure as exc:
        print(f"tunnel: {exc}", file=sys.stderr, flush=True)
        await reset(stream, stream)


async def run_client(port: int, via: Address) -> None:
    """Listen on a local port, and carry each connection through the server at `via`, until Ctrl-C."""
    # A KeyboardInterrupt could come up in code that drops it; a signal that is waited for cannot.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, partial(carry, via), port, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            print(f"Listening on 127.0.0.1:{port}, through {via[0]}:{via[1]} (Ctrl-C to stop)", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


def address(text: str) -> Address:
    """HOST:PORT, for argparse."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("there is no host")
    return host.strip("[]"), int(port)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tunnel", description="TCP through an HTTP server.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("server", help="connect the clients to a target")
    serving.add_argument("--port", type=int, default=8001, help="default: 8001")
    serving.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    serving.add_argument("--target", type=address, required=True, metavar="HOST:PORT")
    listening = commands.add_parser("client", help="listen on a local port")
    listening.add_argument("--listen", type=int, default=9000, metavar="PORT", help="default: 9000")
    listening.add_argument("--via", type=address, default="127.0.0.1:8001", metavar="HOST:PORT", help="the server")
    args = parser.parse_args()
    problem = None
    try:
        if args.command == "server":
            trio_upgrade.run(make_server(args.target), args.port, host=args.host)
        else:
            trio.run(run_client, args.listen, args.via)
    except* OSError as errors:
        problem = f"tunnel: cannot listen: {errors.exceptions[0]}"
    sys.exit(problem)


if __name__ == "__main__":
    main()
