"""One connection's life: a request, what is done with it, and the next; or an upgrade, and the end."""

from __future__ import annotations

import contextlib

import trio

from ._dispatch import ASK, DROP, RESPOND, UPGRADE, Action, ask, dispatch, handler_of
from ._error_responses import TOO_MANY_CONNECTIONS, error_response
from ._exceptions import ConnectionBroken, ProtocolError
from ._exchange import Exchange, send_last_response
from ._expect_continue import is_awaited
from ._handler_failures import log_failure
from ._head_timeout import HeadWait
from ._http11 import Http11
from ._request import Request, connection_options
from ._request_body import IncomingBody
from ._response import Response
from ._sending_state import Reply
from ._serving_state import ServingState
from ._settings import Settings
from ._statistics import Phase
from ._transport import Transport
from ._trusted_proxies import address_of, name_of
from ._upgrade_exchange import call_handler, finish_upgrade
from ._written_exchange import let_write, let_write_or_switch, may_switch

__all__ = ["Connection"]


class Connection:
    """A connection, from its first byte to its close.

    Args:
      transport: what it is on. It is owned from now on.
      settings: what is done with its requests.
      serving: what it shares with other connections.

    Attributes:
      transport: the argument.
    """

    __slots__ = ("_http", "_phase", "_serving", "_settings", "_wait", "transport")

    def __init__(self, transport: Transport, settings: Settings, serving: ServingState) -> None:
        transport.send_timeout = settings.limits.send_timeout
        self.transport = transport
        self._settings = settings
        self._serving = serving
        self._http = Http11(transport, settings.limits)
        self._wait: HeadWait | None = None  # for the next head; None while a handler has the connection
        self._phase = Phase.ACTIVE

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        return Phase.IDLE if self._wait is not None and self._wait.is_idle else self._phase

    async def run(self) -> BaseException | None:
        """Serve the connection until it ends, and close it.

        Returns:
          What a handler raised, once it is logged. What must end the task (Cancelled,
          KeyboardInterrupt, SystemExit) is raised instead; other exceptions of its group are only logged.
        """
        failure = None
        self._start_waiting(first=True)
        try:
            await self._start_tls()
            keep = True
            while keep and (exchange := await self._next_exchange()) is not None:
                action = dispatch(exchange.request, exchange.body, self._settings)
                if action is ASK:
                    action = await self._ask(exchange)
                application, handler, keep = self._settings.application, None, False
                if action is UPGRADE:
                    handler = handler_of(exchange.request, self._settings)
                elif action is RESPOND and application is not None:
                    handler = application.handler_of(exchange.request)
                if handler is not None:
                    self._stop_waiting()
                    self._phase = Phase.UPGRADED
                    # Not in a method: its frame would take 0.3 KB for as long as the handler runs.
                    outcome = await call_handler(exchange, handler)
                    self._phase = Phase.ACTIVE
                    try:
                        keep = await finish_upgrade(exchange, outcome)
                    finally:
                        del outcome
                    if keep:
                        self._start_waiting(first=False)
                elif action is RESPOND and application is None:
                    keep = await exchange.respond(self._settings.on_request)
                elif action is RESPOND:
                    keep = await self._let_write(exchange)
                elif isinstance(action, Response):
                    self._serving.client_failures.log(exchange.request, f"refused with {action.status}")
                    await exchange.refuse(action)
                failure, exchange.failure = exchange.failure, None
                del exchange, action, handler  # nothing of them is kept while the next request is waited for
        except ConnectionBroken:
            pass  # nobody is left to talk to, and no handler was running
        finally:
            self._stop_waiting()
            await self.transport.abort()
        try:
            return failure
        finally:
            del failure  # its traceback leads here, and such a cycle lives until a garbage collection

    def close_if_idle(self) -> None:
        """Wait for the next request only briefly, as the server shuts down."""
        if self._wait is not None:
            self._wait.close_if_idle()

    async def _start_tls(self) -> None:
        """Do the TLS handshake, if there is TLS, and log its failure."""
        try:
            await self.transport.start(self._settings.limits.tls_handshake_timeout)
        except ConnectionBroken as exc:
            self._log(f"the TLS handshake failed: {exc}")
            raise

    def _log(self, what: object) -> None:
        """Log what the client did wrong, with its address."""
        self._serving.client_failures.log(name_of(self.transport.peername), what)

    def _start_waiting(self, first: bool) -> None:
        serving, limits = self._serving, self._settings.limits
        self._wait = HeadWait(serving.head_timers, serving.shutdown, self._http, self.transport, limits, first)
        serving.head_timers.waits.add(self._wait)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._serving.head_timers.waits.discard(self._wait)
            self._wait = None

    async def _next_exchange(self) -> Exchange | None:
        """Wait for the next request; None at the end of the connection."""
        assert self._wait is not None
        try:
            head = await self._wait.receive_head()
        except ProtocolError as exc:
            self._log(f"refused with {exc.status}: {exc}")
            await self._send_unasked(error_response(exc))
            return None
        if head is None:
            if self._wait.was_silent:
                self._log(f"no request came within {self._settings.limits.header_timeout} seconds")
            await self._leave()
            return None
        self._serving.counters.requests += 1
        transport, settings, serving = self.transport, self._settings, self._serving
        protocols, wants_close = connection_options(head)
        request = Request(head, protocols, transport, settings.proxies, serving)
        reply = Reply(transport, is_awaited(head, bool(self._http.buffer)))
        body = IncomingBody(self._http, transport, head, settings.limits, reply)
        return Exchange(request, wants_close, body, reply, transport, settings.limits, serving)

    async def _let_write(self, exchange: Exchange) -> bool:
        """Let the application answer a request in a task of its own; returns as `Exchange.respond`."""
        application = self._settings.application
        assert application is not None
        if not may_switch(exchange.request):
            return await let_write(exchange, application)
        self._stop_waiting()
        self._phase = Phase.UPGRADED
        keep = await let_write_or_switch(exchange, application)
        self._phase = Phase.ACTIVE
        if keep:
            self._start_waiting(first=False)
        return keep

    async def _ask(self, exchange: Exchange) -> Action:
        """Let `should_upgrade` decide; its failure is handled as a handler's."""
        try:
            return await ask(exchange.request, self._settings)
        except BaseException as exc:
            await exchange.stop_watching()
            log_failure(exchange.request, exc, self._serving.counters)
            await exchange.answer_failure(exc)
            return DROP

    async def _leave(self) -> None:
        """Close a connection on which nothing is under way. Over TLS, send close_notify first."""
        with trio.move_on_after(self._settings.limits.linger_timeout):
            with contextlib.suppress(trio.BrokenResourceError):
                await self.transport.aclose()

    async def _send_unasked(self, response: Response) -> None:
        """Send a response although there is no request, and close."""
        await send_last_response(Reply(self.transport, awaited=False), response, address_of(self.transport.peername))
        await self.transport.linger(self._settings.limits.linger_timeout)

    async def turn_away(self) -> None:
        """Tell the client that there is no room for it, and close."""
        try:
            await self._start_tls()
            await self._send_unasked(TOO_MANY_CONNECTIONS)
        except ConnectionBroken:
            pass
        finally:
            await self.transport.abort()
