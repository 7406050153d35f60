"""An exchange in which a handler gets the connection: an upgrade, or CONNECT."""

from __future__ import annotations

import logging

import trio

from . import _access_log
from ._exchange import Exchange, awaitable
from ._handler_failures import log_failure
from ._request import Request, attach
from ._response import Response
from ._settings import UpgradeHandler
from ._upgraded_stream import UpgradedStream, release, was_closed, was_read

__all__ = ["call_handler", "finish_upgrade"]

logger = logging.getLogger("trio_upgrade")


async def call_handler(exchange: Exchange, handler: UpgradeHandler) -> Response | BaseException | None:
    """Let a handler have the connection.

    Returns:
      What `finish_upgrade` takes: the response with which the handler declined, None, or what it raised,
      which is logged.

    Raises:
      BaseException: the part of what the handler raised that must end the task.
    """
    request, transport, reply = exchange.request, exchange.transport, exchange.reply
    stream = UpgradedStream(exchange.body, reply, transport, exchange.limits.linger_timeout)
    attach(request, exchange.body, stream)
    exchange.serving.counters.upgrades += 1
    begin, received = trio.current_time(), transport.bytes_received - exchange.body.buffered
    try:
        response = await awaitable(handler(request, stream), "the upgrade handler")
        check_returned(request, reply.sent.has_begun or was_closed(stream), response)
    except BaseException as exc:
        await exchange.stop_watching()
        log_failure(request, exc, exchange.serving.counters)
        return exc
    else:
        return response
    finally:
        if _access_log.is_on() and reply.has_switched:
            received = transport.bytes_received - received - exchange.body.size if exchange.body.has_ended else 0
            _access_log.log_upgraded(request, received, reply.content_size, trio.current_time() - begin)
        exchange.may_answer = not was_closed(stream)
        exchange.must_close = exchange.must_close or was_read(stream) or request.method == "CONNECT"
        release(stream)


async def finish_upgrade(exchange: Exchange, outcome: Response | BaseException | None) -> bool:
    """Send the response with which a handler declined, or close the connection.

    Returns:
      True if the connection can take another request.
    """
    if isinstance(outcome, Response):
        return await exchange.send_response(outcome)
    exchange.body.close()
    await exchange.stop_watching()
    if outcome is None:
        await exchange.transport.linger(exchange.limits.linger_timeout)
    else:
        await exchange.answer_failure(outcome)
    return False


def check_returned(request: Request, used: bool, response: Response | None) -> None:
    """Check what an upgrade or connect handler has returned.

    Args:
      used: it has sent something, or closed the stream.

    Raises:
      TypeError: it is neither None nor a Response.
      RuntimeError: it is a Response that cannot be sent.
    """
    if response is None:
        if not used:
            logger.warning("%r: the upgrade handler returned without accepting or declining; closed", request)
    elif not isinstance(response, Response):
        raise TypeError(f"the upgrade handler returned {response!r}, neither None nor a Response")
    elif used:
        raise RuntimeError("the upgrade handler returned a Response after it had used the stream")
    elif request.method == "CONNECT" and response.status < 300:
        raise RuntimeError(f"a CONNECT is accepted with `await request.accept()`, not with status {response.status}")
