"""What Trio costs with h11, the least that a correct parser of HTTP/1.1 adds."""

from __future__ import annotations

import h11
import trio

from .place import Place

SIZE = 65536


async def handle(stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    try:
        while (request := await receive_request(connection, stream)) is not None:
            if any(name == b"upgrade" for name, _ in request.headers):
                await echo(connection, stream)
                return
            await respond(connection, stream)
            connection.start_next_cycle()
    except trio.BrokenResourceError:
        pass  # the client has reset it


async def receive_request(connection: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """The next request, with its body read; None at the end."""
    request = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(SIZE))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return request


async def respond(connection: h11.Connection, stream: trio.SocketStream) -> None:
    headers = [("Content-Type", "text/plain"), ("Content-Length", "5")]
    data = connection.send(h11.Response(status_code=200, headers=headers)) or b""
    data += connection.send(h11.Data(data=b"hello")) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)


async def echo(connection: h11.Connection, stream: trio.SocketStream) -> None:
    headers = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    await stream.send_all(connection.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
    await stream.send_all(connection.trailing_data[0])
    while data := await stream.receive_some(SIZE):
        await stream.send_all(data)


def serve(place: Place) -> None:
    trio.run(trio.serve_tcp, handle, place.port)
