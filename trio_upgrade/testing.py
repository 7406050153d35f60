"""For tests of one's own handlers: requests and upgrades in memory, without a socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import h11
import trio
import trio.testing

from ._exceptions import ConnectionBroken, ProtocolError, flatten
from ._headers import FieldsArgument, Headers, encode_fields
from ._http11 import Http11
from ._limits import Limits
from ._request import Request, attach, connection_options
from ._request_body import IncomingBody
from ._sending_state import Reply
from ._server import Server
from ._serving_state import ServingState
from ._shutdown import Shutdown
from ._statistics import Counters
from ._stream_transport import StreamTransport
from ._transport import RECEIVE_SIZE, Buffer
from ._trusted_proxies import TrustedProxies

__all__ = ["ClientStream", "make_request", "open_request", "open_upgrade"]


async def open_request(
    server: Server, path: str = "/", *, method: str = "GET", headers: FieldsArgument = (), body: bytes = b""
) -> tuple[int, Headers, bytes]:
    """Send an ordinary request to `server`, on a connection in memory, and receive the whole response.

    Use it as `status, headers, content = await open_request(server, "/path")`. It waits until the
    connection is closed.

    Args:
      server: need not be served anywhere.
      path: the request target.
      method, headers, body: of the request. The body is sent with a Content-Length.

    Returns:
      The response's status, its headers, and its content.

    Raises:
      ValueError: there is no such request, since it is malformed.
      trio.BrokenResourceError: the server closed the connection without a whole response.
      Exception: what the handler raised.
    """
    request = _request(method, path, _fields(headers, body))
    async with _open(server, request, body) as (status, response_headers, stream):
        content = bytearray()
        async for part in stream:
            content += part
    return status, response_headers, bytes(content)


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

    Use it as `async with open_upgrade(...) as (status, headers, stream)`: `status` is 101 if the
    handler accepted, `headers` are the response's, and `stream` is the client's end of the
    connection. If the handler declined, `stream` gives the content of its response, then the end.

    Leaving the block ends the client's side, discards what the server still sends, waits for the
    handler, and raises what it raised, unless that is only that its client was gone. If a handler
    does not end when its client has, the test waits: put `trio.fail_after` around the block.

    Args:
      server: need not be served anywhere.
      path: the request target; for `method="CONNECT"` a host and port.
      protocol: what the `Upgrade` field offers; several are separated with commas.
      method, headers, body: of the request. The body is sent with a Content-Length.

    Raises:
      ValueError: there is no such request, since it is malformed.
      trio.BrokenResourceError: the server closed the connection without a response.
      Exception: what the handler raised.
    """
    fields = _fields(headers, body)
    if method != "CONNECT":
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", protocol.encode("latin-1"))]
    async with _open(server, _request(method, path, fields), body) as opened:
        yield opened


def make_request(
    path: str = "/",
    *,
    method: str = "GET",
    headers: FieldsArgument = (),
    body: bytes = b"",
    client: str | None = "127.0.0.1",
    server: Server | None = None,
) -> Request:
    """Make a request, to call a handler with it: `response = await on_request(make_request("/path"))`.

    It has no connection, so it cannot be accepted.

    Args:
      path: the request target.
      method, headers, body: of the request. It has a Content-Length if there is a body.
      client: the client's IP address; None if it has none.
      server: what `request.server` gives; by default a new `Server()`.

    Raises:
      ValueError: there is no such request, since it is malformed.
    """
    request = _request(method, path, _fields(headers, body))
    stream, peer = trio.testing.memory_stream_pair()
    peer.send_stream.close()
    transport = StreamTransport(stream, None if client is None else (client, 0))
    http = Http11(transport, Limits())
    http.buffer += (h11.Connection(h11.CLIENT).send(request) or b"") + body
    try:
        head = http.next_head()
    except ProtocolError as exc:
        raise ValueError(f"there is no request {method} {path}: {exc}") from exc
    assert head is not None
    serving = ServingState(Server() if server is None else server, Shutdown(), Counters())
    made = Request(head, connection_options(head)[0], transport, TrustedProxies(()), serving)
    attach(made, IncomingBody(http, transport, head, Limits(), Reply(transport, awaited=False)))
    return made


@contextlib.asynccontextmanager
async def _open(server: Server, request: h11.Request, body: bytes) -> AsyncIterator[tuple[int, Headers, ClientStream]]:
    client, server_end = trio.testing.memory_stream_pair()
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
            yield await _receive_response(client, request, body)
            await _end_client(client)
        except Exception as exc:
            nursery.cancel_scope.cancel()
            failures.append(exc)
    await client.aclose()
    if failures:
        raise failures[0]


async def _end_client(client: trio.abc.HalfCloseableStream) -> None:
    """End a client's side in order, unless the test has closed it."""
    with contextlib.suppress(trio.ClosedResourceError):
        await client.send_eof()
        async for _ in client:
            pass


def _request(method: str, path: str, fields: list[tuple[bytes, bytes]]) -> h11.Request:
    try:
        return h11.Request(method=method, target=path, headers=fields)
    except h11.LocalProtocolError as exc:
        raise ValueError(f"there is no request {method} {path}: {exc}") from exc


def _fields(headers: FieldsArgument, body: bytes) -> list[tuple[bytes, bytes]]:
    fields = encode_fields(headers)
    if not any(name.lower() == b"host" for name, _ in fields):
        fields.insert(0, (b"Host", b"testserver"))
    if body:
        fields.append((b"Content-Length", b"%d" % len(body)))
    return fields


async def _receive_response(
    stream: trio.abc.Stream, request: h11.Request, body: bytes
) -> tuple[int, Headers, ClientStream]:
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
    """The client's end of a connection in memory, after the head of the response."""

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
