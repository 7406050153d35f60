"""`request.transport`: the socket, its options, and the state of TLS."""

from __future__ import annotations

import errno
import socket

import pytest

from trio_upgrade import Request, Response, Server

from ..support.client import Connect, get


async def info(connect: Connect, look: str) -> str:
    """What an expression gives that looks at the transport of a request."""

    async def on_request(request: Request) -> Response:
        return Response(200, repr(eval(look, {"socket": socket, "transport": request.transport, "request": request})))

    client = await connect(Server(on_request))
    await client.send(get())
    return (await client.reply()).content.decode()


@pytest.mark.parametrize(
    ("look", "seen"),
    [
        ("transport.socket.getpeername() == request.peername", "True"),
        ("transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)", "1"),
        ("transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4)[0]", "1"),
        ("transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)", "None"),
    ],
)
async def test_over_tcp_and_below_tls_there_is_a_socket(
    connect_tcp: Connect, connect_tls: Connect, look: str, seen: str
) -> None:
    assert await info(connect_tcp, look) == seen
    assert await info(connect_tls, look) == seen


async def test_over_tls_its_state_is_told(connect_tls: Connect) -> None:
    look = "transport.version(), transport.cipher()[1], transport.selected_alpn_protocol(), transport.getpeercert()"
    assert await info(connect_tls, look) == "('TLSv1.3', 'TLSv1.3', None, None)"


async def test_without_tls_its_state_is_none(connect: Connect) -> None:
    look = "transport.version(), transport.cipher(), transport.selected_alpn_protocol(), transport.getpeercert(True)"
    assert await info(connect, look) == "(None, None, None, None)"


async def test_a_stream_in_memory_has_no_socket(connect_memory: Connect) -> None:
    async def on_request(request: Request) -> Response:
        assert request.transport.socket is None
        with pytest.raises(OSError, match="StapledStream") as caught:
            request.transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert caught.value.errno == errno.ENOTSOCK
        with pytest.raises(OSError, match="StapledStream"):
            request.transport.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return Response(200, "done")

    client = await connect_memory(Server(on_request))
    await client.send(get())
    assert (await client.reply()).content == b"done"
