"""An exchange in which a handler gets the connection: an upgrade, or CONNECT."""

from __future__ import annotations

import logging

import trio

from . import _access_log
from ._exchange import Exchange, awaitable
from ._request import Request, attach
from ._response import Response
from ._sending_state import Reply
from ._settings import UpgradeHandler
from ._upgraded_stream import UpgradedStream, mark_closed, was_read

__all__ = ["upgrade"]

logger = logging.getLogger("trio_upgrade")


async def upgrade(exchange: Exchange, handler: UpgradeHandler, buffered: int) -> Response | None:
    """Let a handler have the connection. Close the connection afterwards, unless the handler has declined.

    Args:
      buffered: how many bytes have arrived after the head.

    Returns:
      The response with which the handler declined: it is still to be sent. None if the connection is over.
    """
    request, transport, reply = exchange.request, exchange.transport, exchange.reply
    stream = UpgradedStream(exchange.body, reply, transport, exchange.limits.linger_timeout)
    attach(request, exchange.body, reply)
    exchange.serving.counters.upgrades += 1
    begin, received, sent = trio.current_time(), transport.bytes_received - buffered, transport.bytes_sent
    try:
        try:
            response = await awaitable(handler(request, stream), "the upgrade handler")
            check_returned(request, reply, response)
        finally:
            if reply.has_switched and _access_log.is_on():
                received, sent = transport.bytes_received - received, transport.bytes_sent - sent
                _access_log.log_upgraded(request, received, sent, trio.current_time() - begin)
            exchange.must_close = exchange.must_close or was_read(stream) or request.method == "CONNECT"
            mark_closed(stream)
    except BaseException as exc:
        exchange.body.close()
        await exchange.fail(exc)
        return None
    if response is None:
        exchange.body.close()
        await transport.linger(exchange.limits.linger_timeout)
    return response


def check_returned(request: Request, reply: Reply, response: Response | None) -> None:
    """Check what an upgrade or connect handler has returned.

    Raises:
      TypeError: it is neither None nor a Response.
      RuntimeError: it is a Response that cannot be sent.
    """
    if response is None:
        if not reply.has_begun:
            logger.warning("%r: the upgrade handler returned without accepting or declining; closed", request)
    elif not isinstance(response, Response):
        raise TypeError(f"the upgrade handler returned {response!r}, neither None nor a Response")
    elif reply.has_begun:
        raise RuntimeError("the upgrade handler returned a Response after it had used the stream")
    elif request.method == "CONNECT" and response.status < 300:
        raise RuntimeError(f"a CONNECT is accepted with `await request.accept()`, not with status {response.status}")
