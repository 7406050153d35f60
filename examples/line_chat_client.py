"""A terminal client for the line chat: `python -m examples.line_chat_client --name alice`.

httpcore makes the request; with the 101 it hands over the connection.
"""

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlencode

import httpcore
import trio

from .lines import BadLine, LineReader, printable

PROTOCOL = "line-chat/1"
MAX_LINE = 8192  # bytes; what one member may say, and what the server puts around it
TIMEOUT = 10  # seconds for the server to answer
STDIN = 0


class Failure(Exception):
    """Why there is no chat, in one line."""


async def chat_until_interrupted(host: str, port: int, wishes: dict[str, str]) -> None:
    """`chat`, and Ctrl-C closes the connection: that is a way to leave."""
    # A KeyboardInterrupt could come up in code that drops it; a signal that is waited for cannot.
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_at, signals, nursery.cancel_scope)
            await chat(host, port, wishes)
            nursery.cancel_scope.cancel()


async def leave_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    print()
    scope.cancel()


async def chat(host: str, port: int, wishes: dict[str, str]) -> None:
    """Connect, and show what is said and send what is typed until either end has enough.

    Raises:
      Failure: alone or in a group.
    """
    url = httpcore.URL(scheme="http", host=host, port=port, target=f"/?{urlencode(wishes)}")
    headers = [("Connection", "Upgrade"), ("Upgrade", PROTOCOL)]
    timeout = {"timeout": {"connect": TIMEOUT, "read": TIMEOUT}}
    try:
        async with httpcore.AsyncConnectionPool(network_backend=httpcore.TrioBackend()) as pool:
            async with pool.stream("GET", url, headers=headers, extensions=timeout) as response:
                if response.status != 101:
                    raise Failure(await refusal(response))
                await converse(response.extensions["network_stream"])
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
        raise Failure(f"cannot connect to {host}:{port}, is the server running? ({exc})") from exc
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as exc:
        raise Failure(f"what is at {host}:{port} does not answer like a server ({exc!r})") from exc


async def refusal(response: httpcore.Response) -> str:
    """What a response other than a 101 says."""
    if response.status < 400 or response.status == 404:
        return f"that server does not speak {PROTOCOL} (it answered {response.status})"
    text = b""
    async for part in response.aiter_stream():
        text += part
        if len(text) > 200:
            break
    return f"the server refuses: {printable(text[:200].decode(errors='replace')).strip()} ({response.status})"


async def converse(stream: httpcore.AsyncNetworkStream) -> None:
    """Show what comes, until the server ends it, and send what is typed meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_what_is_typed, stream)
        await show_what_comes(stream)
        nursery.cancel_scope.cancel()


async def show_what_comes(stream: httpcore.AsyncNetworkStream) -> None:
    lines = LineReader(partial(stream.read, 4096), MAX_LINE)
    while True:
        try:
            line = await lines.read()
        except BadLine as exc:
            line = f"* {exc}"
        except httpcore.ReadError as exc:
            raise Failure(f"the connection broke ({exc})") from exc
        if line is None:
            return
        print(printable(line), flush=True)


async def send_what_is_typed(stream: httpcore.AsyncNetworkStream) -> None:
    """Send standard input as it comes; its end asks the server for the end."""
    # A thread can wait for any kind of file and leaves it as it is. At the end it is abandoned.
    read = partial(trio.to_thread.run_sync, os.read, STDIN, 4096, abandon_on_cancel=True)
    try:
        while data := await read():
            await stream.write(data)
        await stream.write(b"\n/quit\n")
    except httpcore.WriteError:
        pass  # reading will tell what happened


def main() -> None:
    parser = argparse.ArgumentParser(prog="line_chat_client", description="A terminal client for the line chat.")
    parser.add_argument("--name", help="your name in the chat (default: a guest's)")
    parser.add_argument("--room", help="the room to be in first (default: the lobby)")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    args = parser.parse_args()
    wishes = {wish: value for wish in ("name", "room") if (value := getattr(args, wish)) is not None}
    problem = None
    try:
        trio.run(chat_until_interrupted, args.host, args.port, wishes)
    except* Failure as failures:
        problem = f"line_chat_client: {failures.exceptions[0]}"
    sys.exit(problem)


if __name__ == "__main__":
    main()
