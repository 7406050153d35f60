"""An exchange whose response is written by a task of an application, while the connection's own task waits."""

from __future__ import annotations

import trio

from . import _access_log
from ._exchange import Exchange
from ._request import Request, attach
from ._response_writer import COMPLETE, FAILED, SWITCHED, ResponseWriter
from ._settings import Application
from ._upgraded_stream import UpgradedStream, release, was_read

__all__ = ["let_write", "let_write_or_switch", "may_switch"]


def may_switch(request: Request) -> bool:
    """Whether an application may take over the connection of a request."""
    return bool(request.upgrade) or request.method == "CONNECT"


async def let_write(exchange: Exchange, application: Application) -> bool:
    """Let an application write the response to an ordinary request.

    Returns:
      True if the connection can take another request.
    """
    attach(exchange.request, exchange.body)
    writer = ResponseWriter(exchange.request, exchange.body, exchange.reply, None, exchange.decide_to_close)
    application.start(writer)
    try:
        await writer.wait()
    finally:
        writer.leave()
        exchange.log_access(writer.status)
        await exchange.stop_watching()
    return await end(exchange, writer)


async def let_write_or_switch(exchange: Exchange, application: Application) -> bool:
    """Let an application write the response, or take over the connection; see `let_write`."""
    request, transport, reply = exchange.request, exchange.transport, exchange.reply
    stream = UpgradedStream(exchange.body, reply, transport, exchange.limits.linger_timeout)
    attach(request, exchange.body, stream)

    async def decide_to_close(asked: bool, streamed: bool) -> bool:
        used = was_read(stream) or request.method == "CONNECT"
        return await exchange.decide_to_close(asked or used, streamed)

    writer = ResponseWriter(request, exchange.body, reply, stream, decide_to_close)
    begin, received = trio.current_time(), transport.bytes_received - exchange.body.buffered
    application.start(writer)
    try:
        await writer.wait()
    finally:
        writer.leave()
        release(stream)
        if not reply.has_switched:
            exchange.log_access(writer.status)
        else:
            exchange.serving.counters.upgrades += 1
            if _access_log.is_on():
                received = transport.bytes_received - received - exchange.body.size if exchange.body.has_ended else 0
                _access_log.log_upgraded(request, received, reply.content_size, trio.current_time() - begin)
        await exchange.stop_watching()
    return await end(exchange, writer)


async def end(exchange: Exchange, writer: ResponseWriter) -> bool:
    """End an exchange whose response is not written any more."""
    if writer.state is COMPLETE:
        return await exchange.end()
    if writer.state is FAILED and writer.failure is not None:
        failure, writer.failure = writer.failure, None
        try:
            return await exchange.end_cut_short(failure)
        finally:
            del failure  # its traceback may lead here
    if writer.state is SWITCHED:
        exchange.body.close()
        await exchange.transport.linger(exchange.limits.linger_timeout)
    return False
