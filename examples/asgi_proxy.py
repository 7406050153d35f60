"""A forward proxy that is an ASGI application: it gets CONNECT, and takes the connection over.

    python -m examples.asgi_proxy --port 8003
    curl -p -x http://127.0.0.1:8003 https://example.com/
    curl -x http://127.0.0.1:8003 http://example.com/

It is for tests of clients, on this machine: whoever reaches it can connect to anything. The proxy for a list of
targets is `examples.connect_proxy`.
"""

import argparse
import sys

import httpcore
import trio

import trio_upgrade
from trio_upgrade import asgi

from .relay import relay, reset

CONNECT_TIMEOUT = 10  # seconds
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
OF_THE_PROXY = {b"proxy-authorization"}


async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # no lifespan is needed, and no WebSocket
    if scope["method"] == "CONNECT":
        await tunnel(scope, send)
    else:
        await forward(scope, receive, send)


async def tunnel(scope: asgi.Scope, send: asgi.Send) -> None:
    """Connect to the target, which is the path of a CONNECT, and only then take the connection over."""
    host, _, port = scope["path"].rpartition(":")
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            far_end = await trio.open_tcp_stream(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError, trio.TooSlowError):
        await answer(send, 502)
        return
    async with far_end:
        stream = await asgi.upgrade(scope)
        try:
            await relay(stream, far_end)
        except* trio.BrokenResourceError:
            await reset(far_end, far_end)


async def forward(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Send a request of plain HTTP on. Its target was absolute, so its Host is that of the target."""
    fields = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP | OF_THE_PROXY]
    host = dict(fields)[b"host"]
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    async with httpcore.AsyncConnectionPool() as pool:
        try:
            url = b"http://" + host + scope["raw_path"] + query
            response = await pool.request(scope["method"], url, headers=fields, content=bytes(body))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
            await answer(send, 502)
            return
    headers = [(name.lower(), value) for name, value in response.headers if name.lower() not in HOP_BY_HOP]
    await answer(send, response.status, headers, response.content)


async def answer(
    send: asgi.Send, status: int, headers: list[tuple[bytes, bytes]] | None = None, content: bytes = b""
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": content})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.asgi_proxy", description="A forward proxy, for tests.")
    parser.add_argument("--port", type=int, default=8003, help="on this machine (default: 8003)")
    args = parser.parse_args()
    try:
        trio_upgrade.run(asgi.server(app), args.port)
    except OSError as exc:
        sys.exit(f"asgi_proxy: cannot listen: {exc}")


if __name__ == "__main__":
    main()
