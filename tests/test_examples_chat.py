"""The chat's server: rooms, what one person may do, and the pages."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Origin

from examples.chat import chat, connection, make_server, rooms
from examples.chat.rooms import MemoryStore
from trio_upgrade import Server

from .support import Connect, get, serving

SESSION = "11111111-aaaa"


class Person:
    """Somebody at a browser."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws

    async def send(self, **message: object) -> None:
        await self.ws.send(json.dumps(message))

    async def enter(self, name: str, room: str = "lobby", last: str = "", session: str = "") -> None:
        await self.send(
            type="enter", name=name, room=room, last=last, session=session or f"session-of-{name.encode().hex()}"
        )

    async def say(self, text: str, uid: str) -> None:
        await self.send(type="say", uid=uid, text=text)

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others are passed over."""
        with trio.fail_after(10):
            while (message := json.loads(await self.ws.recv()))["type"] != kind:
                pass
        assert isinstance(message, dict)
        return message

    async def closing(self) -> tuple[int, str]:
        """The code and the reason with which the server closes."""
        with trio.fail_after(10), pytest.raises(ConnectionClosed) as caught:
            while True:
                await self.ws.recv()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


class Chat:
    """A server, and people who come to it."""

    def __init__(self, nursery: trio.Nursery, server: Server) -> None:
        self._nursery = nursery
        self._server = server

    @contextlib.asynccontextmanager
    async def person(self) -> AsyncIterator[Person]:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._server.serve_stream, theirs)
        async with connect("ws://test/chat", stream=ours) as ws:
            yield Person(ws)

    @contextlib.asynccontextmanager
    async def visitor(self, name: str, room: str = "lobby", last: str = "") -> AsyncIterator[Person]:
        """Somebody who is in a room."""
        async with self.person() as person:
            await person.enter(name, room, last)
            await person.hear("welcome")
            yield person


@pytest.fixture
def here(nursery: trio.Nursery) -> Chat:
    return Chat(nursery, make_server())


def texts(welcome: dict[str, Any]) -> list[str]:
    return [message["text"] for message in welcome["messages"]]


# ---- rooms


async def test_people_hear_each_other(here: Chat) -> None:
    async with here.visitor("Ann") as ann, here.visitor("Ben") as ben:
        await ann.say("hello", "uid-00001")
        for person in (ann, ben):
            message = await person.hear("message")
            assert (message["name"], message["text"], message["uid"]) == ("Ann", "hello", "uid-00001")


async def test_rooms_are_apart(here: Chat) -> None:
    async with here.visitor("Ann", "attic") as ann, here.visitor("Ben", "cellar") as ben:
        await ann.say("up here", "uid-00001")
        await ann.hear("message")
        await ben.say("down here", "uid-00002")
        assert (await ben.hear("message"))["text"] == "down here"


async def test_everybody_is_told_who_is_here(here: Chat) -> None:
    async with here.visitor("Ann") as ann:
        assert (await ann.hear("people"))["people"] == ["Ann"]
        async with here.visitor("ben"):
            assert (await ann.hear("people"))["people"] == ["Ann", "ben"]
        assert (await ann.hear("people"))["people"] == ["Ann"]


async def test_who_comes_in_gets_the_last_messages(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "HISTORY", 3)
    async with here.visitor("Ann") as ann:
        for number in range(5):
            await ann.say(str(number), f"uid-0000{number}")
            await ann.hear("message")
    async with here.person() as ben:
        await ben.enter("Ben")
        welcome = await ben.hear("welcome")
        assert (texts(welcome), welcome["missed"]) == (["2", "3", "4"], False)


async def test_who_comes_back_gets_what_they_missed(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "HISTORY", 3)
    ids = []
    async with here.visitor("Ann") as ann:
        for number in range(5):
            await ann.say(str(number), f"uid-0000{number}")
            ids.append((await ann.hear("message"))["id"])
    for last, expected, missed in [(ids[4], [], False), (ids[2], ["3", "4"], False), (ids[0], ["2", "3", "4"], True)]:
        async with here.person() as ben:
            await ben.enter("Ben", last=last)
            welcome = await ben.hear("welcome")
            assert (texts(welcome), welcome["missed"]) == (expected, missed)


async def test_ids_are_in_order(here: Chat) -> None:
    ids = []
    async with here.visitor("Ann") as ann:
        for number in range(8):
            await ann.say("x", f"uid-0000{number}")
            ids.append(rooms.order((await ann.hear("message"))["id"]))
    assert ids == sorted(set(ids))


async def test_what_is_sent_again_is_not_said_again(here: Chat) -> None:
    async with here.visitor("Ann") as ann, here.visitor("Ben") as ben:
        await ann.say("once", "uid-00001")
        first = await ann.hear("message")
        await ann.say("once", "uid-00001")
        assert await ann.hear("message") == first  # so she knows that it has arrived
        await ann.say("next", "uid-00002")
        assert [(await ben.hear("message"))["text"] for _ in range(2)] == ["once", "next"]


async def test_a_name_is_taken_once_whatever_its_spelling(here: Chat) -> None:
    async with here.visitor("Ann"), here.visitor("Ann", "elsewhere"):
        for name in ("Ann", "ANN", "  ann ", "\uff21nn"):
            async with here.person() as other:
                await other.enter(name, session="somebody-else")
                assert await other.closing() == (connection.REFUSED, "Somebody in this room has that name.")


async def test_the_same_tab_takes_its_own_place(here: Chat) -> None:
    async with here.visitor("Ann") as before, here.visitor("Ben") as ben:
        await ben.hear("people")
        async with here.visitor("Ann") as now:
            assert (await before.closing())[0] == connection.TAKEN_OVER
            await now.say("still me", "uid-00001")
            assert (await ben.hear("message"))["text"] == "still me"
        assert (await ben.hear("people"))["people"] == ["Ben"]


async def test_a_full_room_says_so(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "PEOPLE", 1)
    async with here.visitor("Ann"), here.person() as ben:
        await ben.enter("Ben")
        assert await ben.closing() == (1013, "This room is full.")


async def test_the_rooms_are_bounded(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ROOMS", 1)
    async with here.visitor("Ann", "one"), here.person() as ben:
        await ben.enter("Ben", "two")
        assert await ben.closing() == (1013, "There are too many rooms.")
    async with here.visitor("Ben", "two"):
        pass  # the empty room is gone


async def test_the_rooms_spoken_in_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ROOMS", 2)
    store = MemoryStore()
    for number, room in enumerate(["a", "b", "a", "c"]):
        await store.append(room, f"uid-{number}", "Ann", "x")
    assert [len((await store.since(room, ""))[0]) for room in ("a", "b", "c")] == [2, 0, 1]


async def test_the_store_outlives_the_server(nursery: trio.Nursery) -> None:
    store = MemoryStore()
    async with Chat(nursery, make_server(store)).visitor("Ann") as ann:
        await ann.say("before", "uid-00001")
        last = (await ann.hear("message"))["id"]
    async with Chat(nursery, make_server(store)).person() as ann:
        await ann.enter("Ann", last=last)
        assert texts(await ann.hear("welcome")) == []
        await ann.say("before", "uid-00001")  # she did not know that it had arrived
        assert (await ann.hear("message"))["id"] == last


# ---- what one person may do


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "[]",
        "null",
        "[" * 5000,
        '{"type": "say", "uid": "uid-00001", "text": "x"}',
        '{"type": "enter"}',
        '{"type": "enter", "name": 1, "room": "lobby", "last": "", "session": "11111111"}',
        '{"type": "enter", "name": "Ann", "room": "lobby", "last": "yesterday", "session": "11111111"}',
        '{"type": "enter", "name": "Ann", "room": "lobby", "last": "1-2-3", "session": "11111111"}',
        '{"type": "enter", "name": "Ann", "room": "lobby", "last": "", "session": "short"}',
    ],
)
async def test_what_no_page_sends_ends_the_connection(here: Chat, frame: str) -> None:
    async with here.person() as person:
        await person.ws.send(frame)
        assert await person.closing() == (1008, "This is not what the chat's page sends.")


@pytest.mark.parametrize(
    "message", [{"type": "enter"}, {"type": "say", "uid": "uid-00001"}, {"type": "say", "uid": "", "text": "x"}]
)
async def test_the_same_holds_later(here: Chat, message: dict[str, str]) -> None:
    async with here.visitor("Ann") as ann:
        await ann.send(**message)
        assert (await ann.closing())[0] == 1008


@pytest.mark.parametrize("name", ["", "  ", "x" * 33, "a\x07b", "a\u202eb", "\ud800"])
async def test_a_name_that_is_none(here: Chat, name: str) -> None:
    async with here.person() as person:
        await person.enter(name, session=SESSION)
        assert await person.closing() == (connection.REFUSED, "A name has 1 to 32 characters, and no unusual ones.")


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("x" * 2001, "This message is too long: 2001 characters, where 2000 are allowed."),
        (" \n ", "There is nothing in this message."),
        ("a\x00b", "This message has a character that cannot be shown."),
        ("a\u202eb", "This message has a character that cannot be shown."),
    ],
)
async def test_a_message_that_cannot_be_passed_on_is_told_to_its_sender(here: Chat, text: str, notice: str) -> None:
    async with here.visitor("Ann") as ann, here.visitor("Ben") as ben:
        await ann.say(text, "uid-00001")
        told = await ann.hear("notice")
        assert (told["code"], told["text"], told["uid"]) == ("unfit", notice, "uid-00001")
        await ann.say("well\n\tthen", "uid-00002")
        assert (await ben.hear("message"))["text"] == "well\n\tthen"


async def test_who_writes_too_fast_is_told_when_to_go_on(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    async with here.visitor("Ann") as ann:
        for number in range(connection.BURST):
            await ann.say("x", f"uid-0000{number}")
            await ann.hear("message")
        await ann.say("too much", "uid-00009")
        told = await ann.hear("notice")
        assert (told["code"], told["uid"]) == ("too-fast", "uid-00009")
        assert told["text"] == "You are writing too fast. Wait 1 s."
        mock_clock.jump(told["wait"])
        await ann.say("too much", "uid-00009")
        assert (await ann.hear("message"))["text"] == "too much"


async def test_who_does_not_stop_is_shown_the_door(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    async with here.visitor("Ann") as ann, here.visitor("Ben") as ben:
        for number in range(connection.BURST + connection.STRIKES + 1):
            await ann.say("x", f"uid-{number:05}")
        assert await ann.closing() == (1008, "You write too much.")
        for _ in range(connection.BURST):
            await ben.hear("message")
        assert (await ben.hear("people"))["people"] == ["Ben"]


async def test_who_does_not_say_who_they_are_is_not_waited_for(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    async with here.person() as person:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(connection.ENTER_TIMEOUT)
        assert await person.closing() == (1008, "Nobody said who is coming in.")


async def test_who_leaves_before_entering_leaves_no_trace(here: Chat) -> None:
    async with here.person():
        pass
    async with here.person() as ann:
        await ann.enter("Ann")
        assert (await ann.hear("welcome"))["people"] == ["Ann"]


async def test_who_does_not_read_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(connection, "BURST", 10**6)
    async with serving(make_server()) as listener:
        async with connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/chat") as ws:
            ann = Person(ws)
            await ann.enter("Ann")
            deaf = await trio.testing.open_stream_to_socket_listener(listener)
            deaf.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            await deaf.send_all(get("/chat", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key))
            hello = json.dumps({"type": "enter", "name": "Deaf", "room": "lobby", "last": "", "session": SESSION})
            await deaf.send_all(bytes([0x81, 0x80 | len(hello)]) + bytes(4) + hello.encode())
            while (await ann.hear("people"))["people"] != ["Ann", "Deaf"]:
                pass
            for number in range(4000):  # 8 MB: more than the kernel's buffer and ours
                await ann.say("x" * 2000, f"uid-{number:05}")
                await ann.hear("message")
            mock_clock.jump(11)  # the time that a peer has to answer a close
            assert (await ann.hear("people"))["people"] == ["Ann"]
            await trio.aclose_forcefully(deaf)


async def test_another_sites_page_is_refused() -> None:
    async with serving(make_server()) as listener:
        host = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{host}/chat", origin=Origin("http://evil.test")):
                pass
        assert refused.value.response.status_code == 403
        async with connect(f"ws://{host}/chat", origin=Origin(f"http://{host}")) as ws:
            await Person(ws).enter("Ann")
            await Person(ws).hear("welcome")


async def test_a_shutdown_says_goodbye() -> None:
    async with chat() as server, serving(server) as listener:
        async with connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/chat") as ws:
            person = Person(ws)
            await person.enter("Ann")
            await person.hear("welcome")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.shutdown, 5)
                assert (await person.closing())[0] == 1001


# ---- pages


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/chat.css", "text/css; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_page_and_what_it_loads(connect: Connect, path: str, content_type: str) -> None:
    client = await connect(make_server())
    await client.send(get(path))
    reply = await client.reply()
    assert (reply.status, reply.headers["content-type"]) == (200, content_type)
    assert "'unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    await client.send(get(path, b"If-None-Match: " + reply.headers["etag"].encode() + b"\r\n"))
    assert (await client.reply()).status == 304
    await client.send(get(path, method="HEAD"))
    head = await client.reply("HEAD")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", str(len(reply.content)))


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/other", "GET", 404), ("/../rooms.py", "GET", 404), ("/", "POST", 405), ("/chat", "GET", 426)],
)
async def test_what_is_not_there(connect: Connect, path: str, method: str, status: int) -> None:
    client = await connect(make_server())
    await client.send(get(path, method=method))
    reply = await client.reply()
    assert reply.status == status
    assert "content-security-policy" in reply.headers
