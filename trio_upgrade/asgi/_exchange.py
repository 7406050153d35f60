"""One HTTP request that an application answers, in a task of its own; or whose connection it takes over.

The task writes the response itself, and goes on running after that if the application does. The client's leaving
is told to the application: by `http.disconnect`, and by an OSError from `send`. It is never a cancellation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from enum import Enum

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from .._exceptions import ConnectionBroken, ProtocolError
from .._headers import FieldsArgument
from .._peer_state import Peer
from .._request import serving_of, transport_of
from .._response_content import FileContent, encode_trailers
from .._response_head import ResponseHead
from .._response_writer import COMPLETE, OPEN, ResponseWriter
from .._transport import RECEIVE_SIZE
from .._upgraded_stream import UpgradedStream
from ._failures import ClientDisconnected, is_disconnect, split
from ._messages import ASGIApplication, Message, Scope, unexpected
from ._response_head import response_head
from ._scope import UPGRADE

__all__ = ["HTTPExchange"]

logger = logging.getLogger("trio_upgrade.asgi")

GONE = "the client is gone"


class Stage(Enum):
    """How far the application is with its response. The value says what it may send."""

    START = "http.response.start"
    HEAD = "http.response.body"  # nothing was sent yet: the head goes out with the content
    CONTENT = "http.response.body, after the first one"
    TRAILERS = "http.response.trailers"
    OVER = "nothing more: the response is complete"
    SWITCHED = "nothing: asgi.upgrade has taken the connection over"


START, HEAD, CONTENT, TRAILERS, OVER, SWITCHED = Stage


class HTTPExchange:
    """One request, and what the application does with it.

    Args:
      app: the application.
      writer: sends the response.
      make_scope: makes the scope of the request.
    """

    __slots__ = (
        "_app",
        "_body",
        "_body_told",
        "_disconnect_told",
        "_fields",
        "_has_trailers",
        "_head",
        "_is_beginning",
        "_make_scope",
        "_refusal",
        "_stage",
        "_writer",
    )

    def __init__(self, app: ASGIApplication, writer: ResponseWriter, make_scope: Callable[[], Scope]) -> None:
        self._app = app
        self._writer = writer
        self._make_scope = make_scope
        self._body = writer.body
        self._body_told = False  # the last piece of it was given to the application
        self._disconnect_told = False  # before the response was complete
        self._stage = START
        self._head: ResponseHead | None = None
        self._has_trailers = False
        self._is_beginning = False  # the first of the response is being sent
        self._fields: list[tuple[bytes, bytes]] = []  # the trailers so far
        self._refusal: ProtocolError | None = None  # why the body cannot be read

    # ---- the application's task

    async def run(self) -> None:
        """Run the application. It raises only what must end the task."""
        try:
            scope = self._make_scope()
            if self._writer.stream is not None:
                scope["extensions"][UPGRADE] = {"protocols": list(self._writer.request.upgrade), "accept": self._accept}
            await self._app(scope, self.receive, self.send)
        except BaseException as exc:
            failure, passes = split(exc)
            if failure is not None:
                self._fail(failure)
            try:
                if passes is not None:
                    self._writer.leave()
                    raise passes from None
            finally:
                del failure, passes  # their tracebacks lead here
        else:
            if self._writer.state is OPEN:
                self._end()
        finally:
            self._refusal = None  # its traceback leads back here

    def _end(self) -> None:
        """The application has returned, and its response is not complete."""
        if self._stage is SWITCHED:
            self._writer.end_switched()
        elif self._refusal is not None:
            self._writer.fail(self._refusal)
        elif self._disconnect_told:
            self._writer.leave()
        else:
            self._writer.fail(RuntimeError(f"the application has returned, but expected is {self._stage.value}"))

    def _fail(self, failure: Exception) -> None:
        """The application has raised something."""
        request, writer = self._writer.request, self._writer
        if is_disconnect(failure):
            logger.debug("%r: the client left while the application ran", request, exc_info=failure)
            if self._refusal is not None:
                writer.fail(self._refusal)
            writer.leave()
        elif writer.state is OPEN:
            writer.fail(failure)
        else:
            serving_of(request).counters.handler_errors += 1
            after = "after its response" if writer.state is COMPLETE else "after its connection was gone"
            logger.error("%r: the application raised %s", request, after, exc_info=failure)

    async def _accept(self, protocol: str | None, headers: FieldsArgument) -> UpgradedStream:
        """What `asgi.upgrade` calls."""
        stream = self._writer.stream
        assert stream is not None
        self._check_open()
        if self._stage is not START:
            raise RuntimeError("the application has begun a response, so it cannot take the connection over")
        try:
            await self._writer.request.accept(protocol, headers)
        except BaseException as exc:
            self._take_failure(exc)
            raise
        self._stage = SWITCHED
        return stream

    # ---- receive

    async def receive(self) -> Message:
        """The `receive` of the application.

        In a cancelled scope, it gives `http.disconnect` without a checkpoint if the client has left: that is how
        Starlette asks. It takes no part of the body there.
        """
        if trio.current_effective_deadline() == -math.inf and self._has_left():
            return self._disconnect()
        if not self._body_told and self._writer.state is OPEN and self._stage is not SWITCHED:
            return await self._receive_body()
        if self._writer.state is OPEN and not self._has_left():
            await self._wait_left()
        else:
            await checkpoint()
        return self._disconnect()

    async def _receive_body(self) -> Message:
        body = self._body
        if body.has_ended:
            await checkpoint()
            self._body_told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while self._is_beginning and body.being_read:
            await checkpoint()  # the server looks whether the end of the body has arrived
        try:
            data = await body.receive(RECEIVE_SIZE)
        except ProtocolError as exc:
            self._refusal = exc
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or the response was completed meanwhile
        else:
            self._body_told = body.has_ended
            return {"type": "http.request", "body": data, "more_body": not self._body_told}
        self._body_told = True
        return self._disconnect()

    def _disconnect(self) -> Message:
        if self._writer.state is not COMPLETE:
            self._disconnect_told = True
        return {"type": "http.disconnect"}

    def _has_left(self) -> bool:
        """Whether the application would get `http.disconnect` after the body. It may cost a system call."""
        if self._writer.state is not OPEN or self._refusal is not None:
            return True
        if self._stage is SWITCHED:
            return False
        return transport_of(self._writer.request).peer_state() in (Peer.ENDED, Peer.GONE)

    async def _wait_left(self) -> None:
        request = self._writer.request
        if self._writer.stream is not None and (self._stage is SWITCHED or transport_of(request).socket is None):
            await self._writer.wait()  # whoever reads the stream sees its end
        else:
            await request.wait_disconnected()

    # ---- send

    async def send(self, message: Message) -> None:
        """The `send` of the application.

        Not always a checkpoint, to save a turn of the scheduler: `http.response.start` sends nothing yet, and a
        plain socket mostly takes the last message of a response, or the only one, at once.
        """
        kind = message["type"]
        stage = self._stage
        if kind == "http.response.body" and (stage is HEAD or stage is CONTENT):
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and stage is START:
            self._check_open()
            self._start(message)
        elif stage is SWITCHED:
            await checkpoint()  # what a framework makes of an endpoint's return
        elif kind == "http.response.early_hint" and stage is not OVER:
            await self._send_hints(message.get("links", ()))
        elif kind == "http.response.pathsend" and stage is HEAD:
            await self._send_path(message["path"])
        elif kind == "http.response.trailers" and stage is TRAILERS:
            await self._send_trailers(message)
        else:
            raise unexpected(kind, stage.value)

    def _start(self, message: Message) -> None:
        self._head = response_head(message["status"], message.get("headers", ()))
        self._has_trailers = bool(message.get("trailers", False))
        self._stage = HEAD

    async def _send_body(self, data: bytes, more: bool) -> None:
        await checkpoint_if_cancelled()
        self._check_open()
        writer = self._writer
        self._is_beginning = self._stage is HEAD
        try:
            if self._stage is HEAD:
                assert self._head is not None
                if not more and not self._has_trailers:
                    await writer.send_bytes(self._head, bytes(data))
                    self._stage = OVER
                    return
                writer.begin(self._head)
                self._stage = CONTENT
            if more:
                await writer.send(data)
            elif self._has_trailers:
                self._stage = TRAILERS
                await writer.send(data)
            else:
                await writer.finish(data)
                self._stage = OVER
        except BaseException as exc:
            self._take_failure(exc)
            raise
        finally:
            self._is_beginning = False

    async def _send_trailers(self, message: Message) -> None:
        await checkpoint_if_cancelled()
        self._check_open()
        self._fields += encode_trailers((name, value) for name, value in message.get("headers", ()))
        if not message.get("more_trailers", False):
            try:
                await self._writer.finish(trailers=self._fields)
            except BaseException as exc:
                self._take_failure(exc)
                raise
            self._stage = OVER

    async def _send_path(self, path: str) -> None:
        await checkpoint_if_cancelled()
        self._check_open()
        assert self._head is not None
        content = FileContent(path)
        try:
            await self._writer.send_file(self._head, content)
        except BaseException as exc:
            self._take_failure(exc)
            raise
        self._stage = OVER

    async def _send_hints(self, links: Iterable[bytes]) -> None:
        self._check_open()
        if self._stage is CONTENT or self._stage is TRAILERS:
            await checkpoint()  # the head was sent, and nothing can come before it any more
            return
        try:
            await self._writer.request.send_interim(103, [(b"Link", link) for link in links])
        except BaseException as exc:
            self._take_failure(exc)
            raise

    def _check_open(self) -> None:
        if self._writer.state is not OPEN:
            raise ClientDisconnected(GONE)

    def _take_failure(self, exc: BaseException) -> None:
        """Take note that sending something has raised an exception.

        Raises:
          ClientDisconnected: the client is gone.
        """
        if isinstance(exc, trio.ClosedResourceError):
            self._writer.leave()
            raise ClientDisconnected(GONE) from None
        if isinstance(exc, trio.BrokenResourceError):
            self._writer.fail(exc)
            raise ClientDisconnected(GONE) from None
        if isinstance(exc, trio.Cancelled) and self._writer.reply.sent.has_begun:
            # A part may have been sent, so nothing can follow.
            transport = transport_of(self._writer.request)
            self._writer.fail(ConnectionBroken("the application was cancelled while it sent its response", transport))
