"""The application for the ASGI servers."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, MutableMapping
from typing import Any

from ..answers import BODY, FIELDS, PIECE
from .events import Event, Events
from .place import Place

__all__ = ["Application"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]

MANY_FIELDS = [(name.encode(), value.encode()) for name, value in FIELDS]


class Application:
    """The application.

    Args:
      place: where its downloads come from.
      make_event: `trio.Event` or `asyncio.Event`.
    """

    def __init__(self, place: Place, make_event: Callable[[], Event]) -> None:
        self._place = place
        self._events = Events(make_event)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await live(receive, send)
            case "websocket":
                await echo(receive, send)
            case _:
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/" | "/upload" if scope["method"] == "POST":
                await respond(send, b"%d" % await length_of(receive))
            case "/":
                await respond(send, BODY)
            case "/fields":
                await respond(send, BODY, MANY_FIELDS)
            case "/events":
                await self._answer_events(scope["method"], send)
            case "/download":
                await respond(send, self._place.content)
            case "/stream":
                await start(send, [])
                await send_each(self._stream_content(), send)
            case "/file":
                await self._send_file(scope, send)

    async def _answer_events(self, method: str, send: Send) -> None:
        if method == "GET":
            await start(send, [])
            await send_each(self._events.follow(), send)
            return
        if method == "POST":
            self._events.tell_next()
        else:
            self._events.end()
        await respond(send, BODY)

    async def _stream_content(self) -> AsyncIterable[bytes]:
        for _ in range(self._place.repeated):
            for piece in self._place.pieces:
                yield piece

    async def _send_file(self, scope: Message, send: Send) -> None:
        await start(send, [(b"content-length", b"%d" % len(self._place.content))])
        if "http.response.pathsend" in scope.get("extensions", {}):
            await send({"type": "http.response.pathsend", "path": self._place.file})
        else:
            await send_each(self._read_file(), send)

    async def _read_file(self) -> AsyncIterable[bytes]:
        """Without a thread, which would cost more: the file is in the system's cache."""
        assert self._place.file is not None
        with open(self._place.file, "rb", buffering=0) as file:  # noqa: ASYNC230
            while data := file.read(PIECE):
                yield data


async def respond(send: Send, content: bytes, fields: Fields | None = None) -> None:
    length = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(content))]
    await start(send, length if fields is None else length + fields)
    await send({"type": "http.response.body", "body": content})


async def start(send: Send, fields: Fields) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": fields})


async def send_each(items: AsyncIterable[bytes], send: Send) -> None:
    async for item in items:
        await send({"type": "http.response.body", "body": item, "more_body": True})
    await send({"type": "http.response.body"})


async def length_of(receive: Receive) -> int:
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            return length


async def live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})
