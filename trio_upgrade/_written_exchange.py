"""An exchange whose response is written by a task of an application, while the connection's own task waits."""

from __future__ import annotations

import trio

from . import _access_log
from ._exchange import Exchange
from ._request import Request, attach
from ._response_writer import COMPLETE, FAILED, SWITCHED, ResponseWriter
from ._settings import Application
from ._upgraded_stream import UpgradedStream, release, was_closed, was_read

__all__ = ["let_write", "let_write_or_switch", "may_switch"]


def may_switch(request: Request) -> bool:
    """Whether an application may take over the connection of a request."""
    return bool(request.upgrade) or request.method == "CONNECT"


async def let_write(exchange: Exchange, application: Application) -> bool:
    """Let an application write the response to an ordinary request.

    Returns:
      True if the connection can take another request.

    Raises:
      BaseException: the part of what the application raised that must end the task.
    """
    attach(exchange.request, exchange.body)
    writer = ResponseWriter(exchange.request, exchange.body, exchange.reply, None, exchange.must_end)
    application.start(writer)
    try:
        await writer.wait()
    finally:
        writer.abandon()
        await exchange.end_response(writer.status)
    return await end(exchange, writer)


async def let_write_or_switch(exchange: Exchange, application: Application) -> bool:
    """Let an application write the response, or take over the connection; see `let_write`."""
    request, transport, reply = exchange.request, exchange.transport, exchange.reply
    stream = UpgradedStream(exchange.body, reply, transport, exchange.limits.linger_timeout)
    attach(request, exchange.body, stream)

    def must_end(asked: bool) -> bool:
        return exchange.must_end(asked) or was_read(stream) or request.method == "CONNECT"

    writer = ResponseWriter(request, exchange.body, reply, stream, must_end)
    begin, received, sent = trio.current_time(), transport.bytes_received - exchange.body.buffered, transport.bytes_sent
    application.start(writer)
    try:
        await writer.wait()
    finally:
        writer.abandon()
        exchange.may_answer = not was_closed(stream)
        release(stream)
        if reply.has_switched:
            exchange.serving.counters.upgrades += 1
            if _access_log.is_on():
                received, sent = transport.bytes_received - received, transport.bytes_sent - sent
                _access_log.log_upgraded(request, received, sent, trio.current_time() - begin)
        await exchange.end_response(writer.status)
    return await end(exchange, writer)


async def end(exchange: Exchange, writer: ResponseWriter) -> bool:
    """End an exchange whose response is not written any more."""
    if writer.state is COMPLETE:
        return await exchange.end(writer.closes)
    if writer.state is FAILED and writer.failure is not None:
        return await exchange.answer_failure(writer.failure)
    if writer.state is SWITCHED:
        exchange.body.close()
        await exchange.transport.linger(exchange.limits.linger_timeout)
    return False
