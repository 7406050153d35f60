"""For tests of one's own handlers: an upgrade in memory, without a socket and without parsing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import h11
import trio
import trio.testing

from ._exceptions import ConnectionBroken, flatten
from ._headers import FieldsArgument, Headers, encode_fields
from ._server import Server
from ._transport import RECEIVE_SIZE, Buffer

__all__ = ["ClientStream", "open_upgrade"]


@contextlib.asynccontextmanager
async def open_upgrade(
    server: Server,
    path: str = "/",
    protocol: str = "test",
    *,
    method: str = "GET",
    headers: FieldsArgument = (),
    body: bytes = b"",
) -> AsyncIterator[tuple[int, Headers, ClientStream]]:
    """Ask `server` for an upgrade, on a connection in memory.

    Use it as `async with open_upgrade(...) as (status, headers, stream)`: `status` is 101 where the
    handler accepted, `headers` are the response's, and `stream` is the client's end of the
    connection. Where it declined, `stream` gives the content of its response, then the end.

    Leaving the block ends the client's side, discards what the server still sends, waits for the
    handler, and raises what it raised; not, however, that its peer was gone, which the server takes
    quietly, too. A handler that does not end when its peer has makes the test wait: put
    `trio.fail_after` around it.

    Args:
      server: need not be served anywhere.
      path: the request target; for `method="CONNECT"` a host and port.
      protocol: what the `Upgrade` field offers; several are separated with commas.
      method, headers, body: of the request. The body is sent with a Content-Length.

    Raises:
      trio.BrokenResourceError: the server closed the connection without a response.
      Exception: what the handler raised.
    """
    client, server_end = trio.testing.memory_stream_pair()
    request = h11.Request(method=method, target=path, headers=_fields(method, protocol, headers, body))
    failures: list[Exception] = []

    async def serve() -> None:
        try:
            await server.serve_stream(server_end)
        except Exception as exc:
            if not all(isinstance(leaf, ConnectionBroken) for leaf in flatten(exc)):
                failures.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield await _ask(client, request, body)
            await _end(client)
        except Exception as exc:
            nursery.cancel_scope.cancel()
            failures.append(exc)
    await client.aclose()
    if failures:
        raise failures[0]


async def _end(client: trio.abc.HalfCloseableStream) -> None:
    """End a client's side in order, unless the test has closed it."""
    with contextlib.suppress(trio.ClosedResourceError):
        await client.send_eof()
        async for _ in client:
            pass


def _fields(method: str, protocol: str, headers: FieldsArgument, body: bytes) -> list[tuple[bytes, bytes]]:
    fields = encode_fields(headers)
    if not any(name.lower() == b"host" for name, _ in fields):
        fields.insert(0, (b"Host", b"testserver"))
    if method != "CONNECT":
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", protocol.encode("latin-1"))]
    if body:
        fields.append((b"Content-Length", b"%d" % len(body)))
    return fields


async def _ask(stream: trio.abc.Stream, request: h11.Request, body: bytes) -> tuple[int, Headers, ClientStream]:
    connection = h11.Connection(h11.CLIENT)
    await stream.send_all(connection.send(request) + (connection.send(h11.Data(data=body)) if body else b""))
    connection.send(h11.EndOfMessage())
    response: h11.InformationalResponse | h11.Response | None = None
    content = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise trio.BrokenResourceError("the server closed the connection without a whole response") from exc
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(RECEIVE_SIZE)))
        elif isinstance(event, h11.InformationalResponse | h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            content += event.data
        else:
            assert response is not None
            switched = connection.our_state is h11.SWITCHED_PROTOCOL
            rest = connection.trailing_data[0] if switched else content
            return response.status_code, Headers(response.headers.raw_items()), ClientStream(stream, rest, switched)


class ClientStream(trio.abc.HalfCloseableStream):
    """The client's end of a connection in memory, behind the head of the response."""

    def __init__(self, stream: trio.abc.Stream, rest: bytes, live: bool) -> None:
        self._stream = stream
        self._rest = rest
        self._live = live

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream.receive_some`."""
        if not self._rest and self._live:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._rest) if max_bytes is None else max_bytes
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def receive_exactly(self, size: int) -> bytes:
        """Receive `size` bytes.

        Raises:
          EOFError: the end came before.
        """
        data = b""
        while len(data) < size:
            part = await self.receive_some(size - len(data))
            if not part:
                raise EOFError(f"the stream ended after {len(data)} of {size} bytes: {data!r}")
            data += part
        return data

    async def send_all(self, data: Buffer) -> None:
        """See `trio.abc.SendStream.send_all`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        assert isinstance(self._stream, trio.abc.HalfCloseableStream)
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()
