"""One WebSocket that an application serves, in the connection's own task."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any

import trio

from .. import websocket
from .._request import Request, transport_of
from .._response import Response
from .._upgraded_stream import UpgradedStream
from ._failures import ClientDisconnected, is_disconnect, split
from ._messages import ASGIApplication, Message, Scope, unexpected

__all__ = ["WebSocketSession"]

logger = logging.getLogger("trio_upgrade.asgi")

LONGEST_DENIAL = 2**20  # bytes of the response with which an application refuses a WebSocket


class Stage(Enum):
    """How far the application is with the WebSocket. The value says what it may send."""

    CONNECTING = "websocket.accept, websocket.close or websocket.http.response.start"
    DENYING = "websocket.http.response.body"
    DENIED = "nothing more: the WebSocket was refused"
    OPEN = "websocket.send or websocket.close"
    CLOSED = "nothing more: the WebSocket was closed"


CONNECTING, DENYING, DENIED, OPEN, CLOSED = Stage


class WebSocketSession:
    """One WebSocket, from its handshake to its end.

    Args:
      app: the application.
      request, stream: of the handshake, which was checked.
      options: of `websocket.accept`.
    """

    __slots__ = (
        "_accepting",
        "_connect_told",
        "_decided",
        "_denial",
        "_denial_body",
        "_disconnect_told",
        "_options",
        "_request",
        "_stage",
        "_stream",
        "_ws",
    )

    def __init__(self, request: Request, stream: UpgradedStream, options: dict[str, Any]) -> None:
        self._request = request
        self._stream = stream
        self._options = options
        self._stage = CONNECTING
        self._connect_told = False
        self._disconnect_told = False
        self._decided: trio.Event | None = None  # while `receive` waits for the application's decision
        self._denial: Message | None = None  # the start of the response that refuses
        self._denial_body = bytearray()
        self._accepting: AbstractAsyncContextManager[websocket.WebSocket[str | bytes]] | None = None
        self._ws: websocket.WebSocket[str | bytes] | None = None

    async def run(self, app: ASGIApplication, scope: Scope) -> Response | None:
        """Run the application; returns what an upgrade handler does.

        Raises:
          Exception: what the application raises.
          BaseException: what must end the task.
        """
        failure: Exception | None = None
        passes: BaseException | None = None
        try:
            await app(scope, self.receive, self.send)
        except BaseException as exc:
            failure, passes = split(exc)
        error = passes or failure
        try:
            if self._accepting is not None and self._ws is not None:
                await self._accepting.__aexit__(type(error) if error else None, error, None)
            if passes is not None:
                if failure is not None and not is_disconnect(failure):
                    raise BaseExceptionGroup("what the application raised", [failure, passes])
                raise passes
            return self._end(failure)
        finally:
            del failure, passes, error  # their tracebacks lead back here

    def _end(self, failure: Exception | None) -> Response | None:
        if failure is not None and not is_disconnect(failure):
            raise failure
        if failure is not None:
            logger.debug("%r: the client left while the application ran", self._request, exc_info=failure)
        if self._accepting is not None:
            return None
        if self._stage is DENIED:
            assert self._denial is not None
            return Response(self._denial["status"], bytes(self._denial_body), list(self._denial.get("headers", ())))
        if self._disconnect_told or failure is not None:
            return Response(503, "The server is shutting down.\n")  # if the client has not left
        raise RuntimeError(f"the application has returned, but expected is {self._stage.value}")

    # ---- receive

    async def receive(self) -> Message:
        """The `receive` of the application."""
        if not self._connect_told:
            await trio.lowlevel.checkpoint()
            self._connect_told = True
            return {"type": "websocket.connect"}
        if self._ws is None:
            await self._wait_decided()
        if self._ws is None:
            return self._disconnect()
        try:
            message = await self._ws.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError, websocket.ConnectionClosed):
            code, reason = self._ws.close_code, self._ws.close_reason
            return {"type": "websocket.disconnect", "code": 1006 if code is None else int(code), "reason": reason}
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    def _disconnect(self) -> Message:
        self._disconnect_told = True
        code = 1001 if self._request.server.shutting_down.is_set() else 1006
        return {"type": "websocket.disconnect", "code": code, "reason": ""}

    async def _wait_decided(self) -> None:
        """Wait until the application has accepted or refused, the client has left, or the server shuts down."""
        if self._stage not in (CONNECTING, DENYING):
            return await trio.lowlevel.checkpoint()
        decided = self._decided = trio.Event()
        waits = [decided.wait, self._request.server.shutting_down.wait]
        if transport_of(self._request).socket is not None:
            waits.append(self._request.wait_disconnected)
        async with trio.open_nursery() as nursery:

            async def wait(index: int) -> None:
                await waits[index]()
                nursery.cancel_scope.cancel()

            for index in range(len(waits)):
                nursery.start_soon(wait, index)

    # ---- send

    async def send(self, message: Message) -> None:
        """The `send` of the application."""
        kind = message["type"]
        if self._stage is OPEN and self._ws is not None:
            if kind == "websocket.send":
                await self._send(self._ws, message)
            elif kind == "websocket.close":
                self._stage = CLOSED
                await self._ws.aclose(code_of(message), message.get("reason") or "")
            else:
                raise unexpected(kind, self._stage.value)
        elif self._stage is CLOSED or self._stage is DENIED:
            raise unexpected(kind, self._stage.value)
        else:
            await self._decide(kind, message)

    async def _send(self, ws: websocket.WebSocket[str | bytes], message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        if (text is None) == (data is None):
            raise ValueError("websocket.send has either text or bytes")
        try:
            await ws.send(bytes(data) if data is not None else str(text))
        except (websocket.ConnectionClosed, trio.ClosedResourceError) as exc:
            raise ClientDisconnected(str(exc)) from None

    async def _decide(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept" and self._stage is CONNECTING:
            await self._accept(message.get("subprotocol"), message.get("headers", ()))
            return
        await trio.lowlevel.checkpoint()
        if kind == "websocket.close" and self._stage is CONNECTING:
            self._denial = {"status": 403, "headers": [(b"content-type", b"text/plain")]}
            self._denial_body += b"Forbidden\n"
            self._mark(DENIED)
        elif kind == "websocket.http.response.start" and self._stage is CONNECTING:
            self._denial = message
            self._stage = DENYING
        elif kind == "websocket.http.response.body" and self._stage is DENYING:
            self._denial_body += message.get("body", b"")
            if len(self._denial_body) > LONGEST_DENIAL:
                raise RuntimeError(f"the response that refuses a WebSocket has more than {LONGEST_DENIAL} bytes")
            if not message.get("more_body", False):
                self._mark(DENIED)
        else:
            raise unexpected(kind, self._stage.value)

    async def _accept(self, subprotocol: str | None, headers: Any) -> None:
        offered = self._request.headers.get_list("sec-websocket-protocol")
        if subprotocol is not None and subprotocol not in [
            name.strip() for part in offered for name in part.split(",")
        ]:
            raise ValueError(f"the client does not offer the subprotocol {subprotocol!r}")
        fields = [(name, value) for name, value in headers]  # any iterable, once
        if any(name.lower() == b"sec-websocket-protocol" for name, _ in fields):
            raise ValueError("the subprotocol is given as websocket.accept's subprotocol, not among its headers")
        options = {**self._options, "origins": "*", "headers": fields}
        options["subprotocols"] = lambda offered: subprotocol
        self._accepting = websocket.accept(self._request, self._stream, **options)
        try:
            self._ws = await self._accepting.__aenter__()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientDisconnected("the client left before the WebSocket was accepted") from None
        self._mark(OPEN)

    def _mark(self, stage: Stage) -> None:
        self._stage = stage
        if self._decided is not None:
            self._decided.set()


def code_of(message: Message) -> int:
    """The code of a websocket.close."""
    code = message.get("code")
    return 1000 if code is None else int(code)
