"""What a handler knows of a request: its head, its body, and how to accept an upgrade."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio
from trio.lowlevel import checkpoint

from ._head import Head
from ._headers import FieldsArgument, Headers, encode_fields, protocols
from ._http11 import Http11
from ._proxies import TrustedProxies, address_of
from ._transport import RECEIVE_SIZE, Transport
from ._upgrade import UpgradedStream

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Body", "Request"]


class Body(trio.abc.ReceiveStream):
    """The body of a request, without its framing.

    Reading sends the 100 (Continue) first if the client waits for one. Reading may go on while the
    response is sent. What a handler leaves unread is discarded.
    """

    __slots__ = ("_closed", "_http")

    def __init__(self, http: Http11) -> None:
        self._http = http
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the next part of the body, at most `max_bytes` long.

        Returns:
          b"" at the end, and at every call after that.

        Raises:
          ProtocolError: the body is malformed, was cut off, or did not arrive within
            `Limits.request_timeout`; so does every later call.
          BodyTooLarge: it is longer than `Limits.max_body_size`.
          trio.ClosedResourceError: it was closed, its request was answered, or it was discarded
            because the upgraded stream was read.
          trio.BusyResourceError: another task reads the body or the upgraded stream.

        Cancelled, it has taken no byte.
        """
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._closed:
            raise trio.ClosedResourceError("this body was already closed")
        return await self._http.receive_body(max_bytes)

    async def read(self, *, limit: int = 2**20) -> bytes:
        """Read the body to its end.

        Args:
          limit: how many bytes it may have.

        Raises:
          BodyTooLarge: it has more. Nothing of it is lost to the connection: unhandled, this is
            answered with 413.
          And what `receive_some` raises.

        Cancelled, what it has read so far is lost.
        """
        if self._http.length_left > limit:
            await checkpoint()
            raise self._http.too_large(limit)
        parts = []
        size = 0
        while part := await self.receive_some():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise self._http.too_large(limit)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Read no more of the body. The connection discards the rest of it."""
        self.close()
        await checkpoint()

    def close(self) -> None:
        """Read no more of the body: so is it with every body once its request is answered."""
        self._closed = True


class Request:
    """One request, as its handler sees it.

    Attributes:
      method: as received (methods are case-sensitive).
      target: the request target as received.
      http_version: "1.1" or "1.0".
      headers: the fields, a `Headers`. The Host of a request whose target is absolute is the
        target's, whatever the field says (RFC 9112 section 3.2.2).
      upgrade: the protocols that an upgrade request offers, in order, as written; () for any other
        request (RFC 9110 section 7.8).
      peername: the peer's address as `socket.getpeername` gives it, or None where there is none.
      client: the client's IP address as a str, seen through the trusted proxies; None where it has
        none (a Unix socket, a stream in memory).
      scheme: "http" or "https", seen through the trusted proxies.
      server: the `Server` that runs the handler.
      wants_close: the client expects the connection to be closed behind the response.
      transport: the connection's own stream, for its socket options and the state of TLS. Reading
        or writing it is undefined.
    """

    __slots__ = (
        "_body",
        "_http",
        "_stream",
        "client",
        "headers",
        "http_version",
        "method",
        "peername",
        "scheme",
        "server",
        "target",
        "transport",
        "upgrade",
        "wants_close",
    )

    def __init__(self, head: Head, transport: Transport, proxies: TrustedProxies, server: Server) -> None:
        self.method = head.method.decode("ascii")
        self.target = head.target.decode("ascii")
        self.http_version = head.http_version.decode("ascii")
        self.headers = _headers(head)
        self.upgrade, self.wants_close = _connection_options(head, self.headers)
        self.server = server
        self.transport = transport.stream
        self.peername = transport.peername
        self.client = address_of(self.peername)
        self.scheme = "https" if isinstance(self.transport, trio.SSLStream) else "http"
        if proxies and proxies.trusts_peer(self.peername):
            self._look_through(proxies)
        self._body: Body | None = None
        self._stream: UpgradedStream | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} from {self.client or self.peername or 'memory'}>"

    def _look_through(self, proxies: TrustedProxies) -> None:
        get = self.headers.get_list
        client, scheme = proxies.see_through(get("x-forwarded-for"), get("x-forwarded-proto"))
        self.client = client or self.client
        self.scheme = scheme or self.scheme

    def _attach(self, body: Body, stream: UpgradedStream | None = None) -> None:
        """What a handler may use, and `should_upgrade`, which sees the head only, may not."""
        self._body = body
        self._stream = stream

    @property
    def path(self) -> str:
        """The target's path, percent-decoded as UTF-8: "*" for `OPTIONS *`, "" for CONNECT."""
        if self.method == "CONNECT":
            return ""
        return unquote(self._origin_form.partition("?")[0])

    @property
    def query(self) -> str:
        """What stands behind the target's "?", as received; "" if there is none."""
        return self._origin_form.partition("?")[2]

    @property
    def _origin_form(self) -> str:
        """The target without the scheme and authority of an absolute-form one (RFC 9112 section 3.2.2)."""
        if self.target[0] in "/*" or self.method == "CONNECT":
            return self.target
        rest = self.target.partition("://")[2]
        start = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
        return rest[start:] if rest[start : start + 1] == "/" else "/" + rest[start:]

    @property
    def body(self) -> Body:
        """The body, a `trio.abc.ReceiveStream`; empty where the request has none.

        Raises:
          RuntimeError: in `should_upgrade`, which decides on the head alone.
        """
        if self._body is None:
            raise RuntimeError("should_upgrade decides on the head; the body is for the handlers")
        return self._body

    async def accept(self, protocol: str | None = None, headers: FieldsArgument = ()) -> None:
        """Hand the connection over: send the 101 (Switching Protocols), or on CONNECT a bare 200.

        A 100 (Continue) goes out first if the client waits for one (RFC 9110 section 7.8). From
        now on the upgraded stream sends what it is given.

        Args:
          protocol: one of those that the client offers, in any case; None for the first. Not for
            CONNECT.
          headers: fields of the response besides `Connection` and `Upgrade`.

        Raises:
          ValueError: the client does not offer `protocol`, or a field cannot be sent.
          RuntimeError: this is not an upgrade or connect handler's request, or a response was sent.
          trio.BrokenResourceError: the connection broke.

        Cancelled, it has sent nothing and may be called again, or has broken the connection.
        """
        stream = self._stream
        if stream is None:
            raise RuntimeError("only a request that was given to on_upgrade or on_connect can be accepted")
        if self.method == "CONNECT":
            if protocol is not None:
                raise ValueError("CONNECT offers no protocols to choose from")
            lines = [b"HTTP/1.1 200 OK"]
        else:
            chosen = self._choose(protocol)
            lines = [
                b"HTTP/1.1 101 Switching Protocols",
                b"Connection: Upgrade",
                b"Upgrade: " + chosen.encode("latin-1"),
            ]
        lines += _extra_lines(headers)
        await stream.switch(b"\r\n".join(lines) + b"\r\n\r\n")

    def _choose(self, protocol: str | None) -> str:
        if protocol is None:
            return self.upgrade[0]
        for offered in self.upgrade:
            if offered.lower() == protocol.lower():
                return offered
        raise ValueError(f"the client does not offer {protocol!r}, only {', '.join(self.upgrade)}")


def _headers(head: Head) -> Headers:
    """The fields as they came, but with an absolute target's own host for the Host."""
    if head.target[0] in b"/*" or head.method == b"CONNECT":
        return head.headers
    authority = re.split(b"[/?]", head.target.partition(b"://")[2], maxsplit=1)[0]
    return Headers.of([(b"Host", authority), *(field for field in head.headers.raw if field[0].lower() != b"host")])


def _connection_options(head: Head, headers: Headers) -> tuple[tuple[str, ...], bool]:
    """The protocols of an upgrade request (RFC 9110 section 7.8), and whether to close behind it."""
    if head.http_version == b"1.0":
        return (), True  # no keep-alive with 1.0: RFC 9112 section 9.3 leaves it to us
    values = headers.get_list("connection")
    if not values:
        return (), False
    options = [option.strip(" \t") for value in values for option in value.lower().split(",")]
    offered: list[str] = []
    if "upgrade" in options and head.method != b"CONNECT":
        for value in headers.get_list("upgrade"):
            offered += protocols(value)
    return tuple(offered), "close" in options


def _extra_lines(headers: FieldsArgument) -> Iterable[bytes]:
    for name, value in encode_fields(headers):
        if name.lower() in (b"connection", b"upgrade", b"content-length"):
            raise ValueError(f"{name.decode()} cannot be given: the handshake decides it")
        yield name + b": " + value
