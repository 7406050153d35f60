"""One connection's life: a request, what is done with it, and the next; or an upgrade, and the end."""

from __future__ import annotations

import contextlib

import trio

from ._body import IncomingBody
from ._error_responses import TOO_MANY_CONNECTIONS, refusal
from ._exceptions import ConnectionBroken, ProtocolError
from ._exchange import Exchange, send_last_response
from ._handlers import Settings
from ._head_timeout import HeadWait
from ._http11 import Http11
from ._reply import Reply
from ._request import Request, connection_options
from ._response import Response
from ._routing import DROP, Action, Route, ask, route
from ._shared import Shared
from ._statistics import Phase
from ._transport import Transport
from ._upgrading import upgrade

__all__ = ["Connection"]


class Connection:
    """A connection, from its first byte to its close.

    Args:
      transport: what it is on. It is owned from now on.
      settings: what is done with its requests.
      shared: what it shares with other connections.

    Attributes:
      transport: the same.
    """

    __slots__ = ("_http", "_settings", "_shared", "_wait", "transport")

    def __init__(self, transport: Transport, settings: Settings, shared: Shared) -> None:
        self.transport = transport
        self._settings = settings
        self._shared = shared
        self._http = Http11(transport, settings.limits)
        self._wait: HeadWait | None = None  # for a request; None while it is upgraded

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        if self._wait is None:
            return Phase.UPGRADED
        return Phase.IDLE if self._wait.is_idle else Phase.ACTIVE

    async def run(self) -> BaseException | None:
        """Serve the connection until it ends, and close it.

        Returns:
          What a handler raised, once it is logged. What must end the task (Cancelled,
          KeyboardInterrupt, SystemExit) is raised instead, without the rest of its group.
        """
        failure = None
        self._begin_waiting(first=True)
        try:
            await self.transport.start(self._settings.limits.tls_handshake_timeout)
            keep = True
            while keep and (exchange := await self._next_exchange()) is not None:
                found = await self._route(exchange)
                keep = False
                if found.action is Action.RESPOND:
                    keep = await exchange.respond(self._settings.on_request)
                elif found.handler is not None:
                    self._end_waiting()
                    # Here and not in a method: its frame would be kept as long as the handler runs.
                    response = await upgrade(exchange, found.handler, len(self._http.buffer))
                    if response is not None:
                        self._begin_waiting(first=False)
                        keep = await exchange.send_response(response)
                elif found.response is not None:
                    await exchange.refuse(found.response)
                failure, exchange.failure = exchange.failure, None  # its traceback leads back here
                del exchange, found  # nothing of them is kept while the next request is waited for
        except ConnectionBroken:
            pass  # nobody is left to talk to, and no handler was running
        finally:
            self._end_waiting()
            await self.transport.abort()
        return failure

    def close_if_idle(self) -> None:
        """Wait for the next request only briefly, as the server shuts down."""
        if self._wait is not None:
            self._wait.close_if_idle()

    def _begin_waiting(self, first: bool) -> None:
        self._wait = HeadWait(self._shared.head_timers, self._http, self.transport, self._settings.limits, first)
        self._shared.head_timers.waits.add(self._wait)

    def _end_waiting(self) -> None:
        if self._wait is not None:
            self._shared.head_timers.waits.discard(self._wait)
            self._wait = None

    async def _next_exchange(self) -> Exchange | None:
        """Wait for the next request; None at the end of the connection."""
        assert self._wait is not None
        try:
            head = await self._wait.receive_head(self._shared.shutdown.has_begun)
        except ProtocolError as exc:
            await self._end(refusal(exc))
            return None
        if head is None:
            await self._leave()
            return None
        self._shared.counters.requests += 1
        transport, settings, shared = self.transport, self._settings, self._shared
        protocols, wants_close = connection_options(head)
        request = Request(head, protocols, transport, settings.proxies, shared)
        # A client that has begun to send its body does not wait for a 100 (Continue) any more.
        reply = Reply(transport, settings.limits.send_timeout, head.expects_continue and not self._http.buffer)
        body = IncomingBody(self._http, transport, head, settings.limits, reply)
        return Exchange(request, wants_close, body, reply, transport, settings.limits, shared)

    async def _route(self, exchange: Exchange) -> Route:
        """Find out what becomes of a request."""
        found = route(exchange.request, exchange.body, self._settings)
        if found.action is Action.ASK:
            try:
                found = await ask(exchange.request, self._settings)
            except BaseException as exc:
                await exchange.fail(exc)
                found = DROP
        return found

    async def _leave(self) -> None:
        """End a connection on which nothing is under way: over TLS, not without close_notify."""
        with trio.move_on_after(self._settings.limits.linger_timeout):
            with contextlib.suppress(trio.BrokenResourceError):
                await self.transport.aclose()

    async def _end(self, response: Response) -> None:
        """Send a response although there is no request, and close."""
        await send_last_response(Reply(self.transport, self._settings.limits.send_timeout, False), response)
        await self.transport.linger(self._settings.limits.linger_timeout)

    async def turn_away(self) -> None:
        """Tell the client that there is no room for it, and close."""
        try:
            await self.transport.start(self._settings.limits.tls_handshake_timeout)
            await self._end(TOO_MANY_CONNECTIONS)
        except ConnectionBroken:
            pass
        finally:
            await self.transport.abort()
