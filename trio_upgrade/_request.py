"""What a handler knows of a request: its head, its body, its connection, and how to accept an upgrade."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import trio

from ._body import Body
from ._disconnect import Disconnect
from ._headers import FieldsArgument, Headers, encode_fields, headers_of, join_fields, protocols
from ._request_body import IncomingBody
from ._request_head import Head
from ._response_head import encode_interim
from ._serving_state import ServingState
from ._tls_info import TLSInfo, tls_info
from ._transport import Transport
from ._transport_info import TransportInfo
from ._trusted_proxies import TrustedProxies, address_of, name_of
from ._upgraded_stream import UpgradedStream, switch

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Request", "attach", "connection_options", "mark_over", "serving_of", "transport_of"]

# Fields of the response that accepts: the server sets them.
NOT_GIVEN = frozenset({b"connection", b"upgrade", b"content-length", b"transfer-encoding"})
NOT_INTERIM = NOT_GIVEN  # an interim response has no content, and hands nothing over


class Request:
    """One request, as its handler sees it.

    Attributes:
      method: a str, as received (methods are case-sensitive).
      target: a str, the request target as received.
      http_version: "1.1" or "1.0".
      headers: the fields, a `Headers`. If the target is absolute, its host stands in place of the
        Host field (RFC 9112 section 3.2.2).
      upgrade: a tuple of str, the protocols that an upgrade request offers, in order, as written;
        () for any other request (RFC 9110 section 7.8).
      peername: the address of the peer as `socket.getpeername` gives it; None if it has no address.
      client: a str, the client's IP address, seen through the trusted proxies; None if it has no
        IP address (a Unix socket, a stream in memory). An IPv4 client of an IPv6 socket is spelled as
        one of an IPv4 socket, "192.0.2.1".
      scheme: "http" or "https", seen through the trusted proxies.
    """

    __slots__ = (
        "_body",
        "_disconnect",
        "_forwarded_host",
        "_incoming",
        "_is_over",
        "_serving",
        "_stream",
        "_transport",
        "client",
        "headers",
        "http_version",
        "method",
        "peername",
        "scheme",
        "target",
        "upgrade",
    )

    def __init__(
        self, head: Head, upgrade: tuple[str, ...], transport: Transport, proxies: TrustedProxies, serving: ServingState
    ) -> None:
        self.method = head.method.decode("ascii")
        self.target = head.target.decode("ascii")
        self.http_version = head.http_version.decode("ascii")
        self.headers = _headers(head)
        self.upgrade = upgrade
        self.peername = transport.peername
        self.client = address_of(self.peername)
        self.scheme = "https" if transport.is_tls else "http"
        self._forwarded_host: str | None = None
        if proxies and proxies.trusts_peer(self.peername):
            self._look_through(proxies)
        self._transport = transport
        self._serving = serving
        self._incoming: IncomingBody | None = None
        self._body: Body | None = None
        self._stream: UpgradedStream | None = None
        self._disconnect: Disconnect | None = None  # once somebody has asked
        self._is_over = False  # its response was sent, or its connection failed

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} from {self.client or name_of(self.peername)}>"

    def _look_through(self, proxies: TrustedProxies) -> None:
        get = self.headers.get_list
        seen = proxies.see_through(get("x-forwarded-for"), get("x-forwarded-proto"), get("x-forwarded-host"))
        self.client = seen.client or self.client
        self.scheme = seen.scheme or self.scheme
        self._forwarded_host = seen.host

    @property
    def host(self) -> str:
        """The host that the client has asked for, as the Host field has it, such as "example.com:8000".

        It is seen through the trusted proxies. It is "" if an HTTP/1.0 client does not tell it.
        """
        return self.headers.get("host", "") if self._forwarded_host is None else self._forwarded_host

    @property
    def path(self) -> str:
        """The target's path, percent-decoded as UTF-8: "*" for `OPTIONS *`, "" for CONNECT."""
        if self.method == "CONNECT":
            return ""
        return unquote(self._origin_form.partition("?")[0])

    @property
    def raw_path(self) -> bytes:
        """The target's path as received, percent-encoded, without the query: b"*" for `OPTIONS *`, b"" for CONNECT."""
        if self.method == "CONNECT":
            return b""
        return self._origin_form.partition("?")[0].encode("ascii")

    @property
    def sockname(self) -> Any:
        """The address that the client has connected to, as `socket.getsockname` gives it; None without a socket."""
        return self._transport.sockname

    @property
    def query(self) -> str:
        """What follows the target's "?", as received; "" if there is no "?"."""
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
        """The body, a `trio.abc.ReceiveStream`. If the request has no body, it is empty.

        Raises:
          RuntimeError: in `should_upgrade`, which decides on the head alone.
        """
        if self._body is None:
            if self._incoming is None:
                raise RuntimeError("should_upgrade decides on the head; the body is for the handlers")
            self._body = Body(self._incoming)
        return self._body

    @property
    def server(self) -> Server:
        """The `Server` that runs the handler."""
        server: Server = self._serving.server
        return server

    @property
    def transport(self) -> TransportInfo:
        """The connection below HTTP, a `TransportInfo`: its socket, socket options and TLS state."""
        return TransportInfo(self._transport.stream, self._transport.tls_state)

    @property
    def tls(self) -> TLSInfo | None:
        """What the connection has agreed on in its TLS handshake, a `TLSInfo`; None without TLS.

        It is the connection to this server that counts, not that of the client to a proxy.
        """
        state = self._transport.tls_state
        return None if state is None else tls_info(state)

    async def wait_disconnected(self) -> None:
        """Wait until the client has left: it has ended its side of the connection, or reset it.

        An end counts although it may be a half-close only, after which the client would still read a response
        (RFC 9112 section 9.6). Most clients that end their side have left.

        The kernel is asked, and nothing is read, so a body may be read at the same time. A socket's end is seen
        once everything before it has arrived: not if more bytes are unread than the kernel holds for the
        connection. Over TLS, the end of the socket counts, and not a close_notify. A client that vanishes
        without a word is noticed by TCP's keep-alive, after two minutes. A stream that has no socket is read
        ahead, for at most 64 KiB: an end after that is not seen.

        It also returns once the response was sent, or the connection is closed. Several tasks may wait.

        Raises:
          RuntimeError: in `should_upgrade`, or in an upgrade handler on a stream that has no socket, where a read
            of the upgraded stream tells.
        """
        await self._watched().wait()

    def cancel_on_disconnect(self) -> contextlib.AbstractContextManager[trio.CancelScope]:
        """A `trio.CancelScope`, for a `with` block, that is cancelled when the client has left.

        See `wait_disconnected` for what counts, and for the errors::

            with request.cancel_on_disconnect():
                rows = await slow_query()
        """
        return self._watched().cancel_scope()

    async def send_interim(self, status: int, headers: FieldsArgument = ()) -> None:
        """Send an interim response before the final one, such as a 103 (Early Hints, RFC 8297).

        It may be called several times. A client of HTTP/1.0 gets none (RFC 9110 section 15.2). The server itself
        sends the 100 (Continue), and `accept` the 101.

        Args:
          status: from 102 to 199.
          headers: its fields: pairs of a name and a value, str or bytes, or a mapping.

        Raises:
          ValueError: the status is another one, or a field cannot be sent.
          RuntimeError: the response was begun, or this is `should_upgrade`.
          trio.BrokenResourceError: the connection broke.

        If it is cancelled, either nothing was sent, or the connection is broken.
        """
        if not 102 <= status <= 199:
            raise ValueError(f"an interim response has a status from 102 to 199, not {status!r}")
        head = encode_interim(status, encode_fields(headers, NOT_INTERIM))
        if self._incoming is None:
            raise RuntimeError("should_upgrade decides on the head; the handlers may send interim responses")
        if self.http_version == "1.0":
            return await trio.lowlevel.checkpoint()
        await self._incoming.send_interim(head)

    def _watched(self) -> Disconnect:
        if self._disconnect is None:
            if self._incoming is None:
                raise RuntimeError("should_upgrade cannot wait for the client to leave; a handler can")
            if self._stream is not None and self._transport.socket is None:
                raise RuntimeError("this stream has no socket to ask: read the upgraded stream to see its end")
            self._disconnect = Disconnect(self._serving)
            if not self._is_over:
                self._disconnect.watch(self._transport, self._incoming)
            else:
                self._disconnect.mark()
        return self._disconnect

    async def accept(self, protocol: str | None = None, headers: FieldsArgument = ()) -> None:
        """Hand the connection over: send the 101 (Switching Protocols), or on CONNECT a bare 200.

        A 100 (Continue) goes out first if the client waits for one (RFC 9110 section 7.8). From
        now on the upgraded stream sends what it is given.

        Args:
          protocol: one of those that the client offers, in any case; None for the first. It must
            be None on CONNECT.
          headers: fields of the response besides `Connection` and `Upgrade`: pairs of a name and a
            value, str or bytes, or a mapping.

        Raises:
          ValueError: the client does not offer `protocol`, or a field cannot be sent.
          RuntimeError: this is not an upgrade or connect handler's request, or a response was sent.
          trio.ClosedResourceError: the upgraded stream is closed.
          trio.BrokenResourceError: the connection broke.

        If it is cancelled, either nothing was sent and it may be called again, or the connection is broken.
        """
        if self._stream is None:
            raise RuntimeError("only a request that was given to on_upgrade or on_connect can be accepted")
        if protocol is not None and not isinstance(protocol, str):
            raise TypeError(f"the protocol is a str, not {protocol!r}")
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
        lines += [name + b": " + value for name, value in encode_fields(headers, NOT_GIVEN)]
        await switch(self._stream, b"\r\n".join(lines) + b"\r\n\r\n")

    def _choose(self, protocol: str | None) -> str:
        if protocol is None:
            return self.upgrade[0]
        for offered in self.upgrade:
            if offered.lower() == protocol.lower():
                return offered
        raise ValueError(f"the client does not offer {protocol!r}, only {', '.join(self.upgrade)}")


def attach(request: Request, incoming: IncomingBody, stream: UpgradedStream | None = None) -> None:
    """Give the handler the body, and what `accept` needs. `should_upgrade` has neither."""
    request._incoming = incoming
    request._stream = stream


def mark_over(request: Request) -> Disconnect | None:
    """Take note that its response was sent, or cannot be; returns what must be closed then, if anything."""
    request._is_over = True
    return request._disconnect


def serving_of(request: Request) -> ServingState:
    """The state that the connections of the request's serving share."""
    return request._serving


def transport_of(request: Request) -> Transport:
    """The transport of a request's connection."""
    return request._transport


def connection_options(head: Head) -> tuple[tuple[str, ...], bool]:
    """The protocols that an upgrade request offers (RFC 9110 section 7.8), and whether the client wants a close."""
    if head.http_version == b"1.0":
        return (), True  # no keep-alive with 1.0: RFC 9112 section 9.3 leaves it to us
    headers = head.headers
    values = headers.get_list("connection")
    if not values:
        return (), False
    options = [option.strip(" \t") for value in values for option in value.lower().split(",")]
    offered: list[str] = []
    if "upgrade" in options and head.method != b"CONNECT":
        for value in headers.get_list("upgrade"):
            offered += protocols(value)
    return tuple(offered), "close" in options


def _headers(head: Head) -> Headers:
    """The fields as they came; the host of an absolute target replaces the Host field."""
    if head.target[0] in b"/*" or head.method == b"CONNECT":
        return head.headers
    authority = re.split(b"[/?]", head.target.partition(b"://")[2], maxsplit=1)[0]
    others = (field for field in head.headers.raw if field[0].lower() != b"host")
    return headers_of(join_fields([(b"Host", authority), *others]))
