"""The chat's server: rooms, what one person may do, and the pages."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing
from websockets.exceptions import InvalidStatus
from websockets.trio.client import connect
from websockets.typing import Origin

from examples.chat import chat, connection, limits, make_server, rooms, store
from examples.chat.store import MemoryStore, Message
from examples.chat.words import clean_name, problem_with
from trio_upgrade import Server

from ..support.chat_people import Person, session_of, visitor
from ..support.client import Connect, get, serving

Logged = Callable[[], list[str]]

SESSION = "11111111-aaaa"


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

    def visitor(self, name: str, room: str = "lobby", last: str = "") -> AbstractAsyncContextManager[Person]:
        """Somebody who is in a room."""
        return visitor(self.person, name, room, last)


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


async def test_who_comes_in_is_told_who_is_there_and_the_others_who_comes_and_goes(here: Chat) -> None:
    async with here.visitor("Ann") as ann:
        async with here.person() as ben:
            await ben.enter("ben")
            welcome = await ben.hear("welcome")
            assert [person["name"] for person in welcome["people"]] == ["Ann", "ben"]
            assert await ann.hear("joined") == {"type": "joined", **welcome["you"]}
        assert await ann.hear("left") == {"type": "left", "id": welcome["you"]["id"]}


async def test_a_message_tells_who_sent_it_whatever_their_name(here: Chat) -> None:
    async with here.visitor("Ann") as ann:
        await ann.say("mine", "uid-00001")
        first = await ann.hear("message")
    async with here.person() as other:
        await other.enter("Ann", session="somebody-else")
        welcome = await other.hear("welcome")
        assert welcome["you"]["name"] == first["name"]
        assert welcome["you"]["id"] != first["sender"]
    async with here.person() as ann:
        await ann.enter("Anna", session=session_of("Ann"))
        welcome = await ann.hear("welcome")
        assert welcome["you"]["id"] == first["sender"]
        assert session_of("Ann") not in json.dumps(welcome)


async def test_who_comes_in_gets_the_last_messages(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY", 3)
    async with here.visitor("Ann") as ann:
        for number in range(5):
            await ann.say(str(number), f"uid-0000{number}")
            await ann.hear("message")
    async with here.person() as ben:
        await ben.enter("Ben")
        welcome = await ben.hear("welcome")
        assert (texts(welcome), welcome["missed"]) == (["2", "3", "4"], False)


async def test_who_comes_back_gets_what_they_missed(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY", 3)
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
                assert await other.closing() == (connection.NAME_REFUSED, "Somebody in this room has that name.")


async def test_the_same_tab_takes_its_own_place(here: Chat) -> None:
    async with here.visitor("Ann") as before, here.visitor("Ben") as ben:
        async with here.person() as now:
            await now.enter("ANN", session=session_of("Ann"))
            assert len((await now.hear("welcome"))["people"]) == 2
            assert (await before.closing())[0] == connection.TAKEN_OVER
            assert (await ben.hear("joined"))["name"] == "ANN"  # whom he takes for the one that he knows
            await now.say("still me", "uid-00001")
            assert (await ben.hear("message"))["text"] == "still me"
        await ben.hear("left")


async def test_a_full_room_says_so(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PEOPLE", 1)
    async with here.visitor("Ann"), here.person() as ben:
        await ben.enter("Ben")
        assert await ben.closing() == (connection.FULL, "This room is full.")


async def test_the_rooms_are_bounded(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ROOMS", 1)
    async with here.visitor("Ann", "one"), here.person() as ben:
        await ben.enter("Ben", "two")
        assert await ben.closing() == (connection.FULL, "There are too many rooms.")
    async with here.visitor("Ben", "two"):
        pass  # the empty room is gone


async def test_the_largest_welcome_is_taken_by_whoever_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = MemoryStore()
    for number in range(store.HISTORY):
        await kept.append("lobby", "somebody", f"uid-{number:05}", "\U0001f40c" * 32, "\U0001f40c" * 2000)
    async with serving(make_server(kept)) as listener:
        address = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/chat"
        async with connect(address) as one, connect(address) as two:
            await Person(one).enter("Ann")
            welcome = await Person(one).hear("welcome")
            assert len(json.dumps(welcome, ensure_ascii=False).encode()) < 2**19  # half of what may wait to be sent
            await Person(two).enter("Ben")
            await Person(two).hear("welcome")
            await Person(one).say("hello", "uid-hello")
            assert (await Person(two).hear("message"))["text"] == "hello"


async def test_a_shutdown_says_goodbye() -> None:
    async with chat() as server, serving(server) as listener:
        async with connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/chat") as ws:
            person = Person(ws)
            await person.enter("Ann")
            await person.hear("welcome")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.shutdown, 5)
                assert (await person.closing())[0] == 1001


# ---- what was said


async def say(kept: MemoryStore, *texts: str, room: str = "lobby") -> list[Message]:
    """Ann says these, each with a uid of its own."""
    return [(await kept.append(room, "ann", f"uid-of-{text}", "Ann", text))[0] for text in texts]


async def test_what_another_store_gave_is_not_taken_for_a_message_of_ones_own() -> None:
    before = await say(MemoryStore(), "one", "two")
    kept = MemoryStore()
    assert await kept.since("lobby", before[-1].id) == ([], True)
    messages = await say(kept, "three", "four", "five")
    for last in [before[-1].id, "nonsense", messages[-1].id + "0", "1-" + "9" * 60]:
        assert await kept.since("lobby", last) == (messages, True)
    assert await kept.since("lobby", messages[0].id) == (messages[1:], False)
    assert await kept.since("lobby", "") == (messages, False)


async def test_a_clock_that_steps_back_loses_nothing() -> None:
    hour = 3600 * 10**9
    (before,) = await say(MemoryStore(clock=lambda: 10 * hour), "before")
    now = iter([9 * hour, 9 * hour, 11 * hour, 8 * hour])
    kept = MemoryStore(clock=lambda: next(now))
    messages = await say(kept, "one", "two", "three", "four")
    assert await kept.since("lobby", before.id) == (messages, True)
    for number, message in enumerate(messages):
        assert await kept.since("lobby", message.id) == (messages[number + 1 :], False)
    assert len({message.id for message in [before, *messages]}) == 5


async def test_the_rooms_spoken_in_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROOMS", 2)
    kept = MemoryStore()
    (last,) = await say(kept, "lost", room="b")
    for room in ("a", "c", "a"):
        await say(kept, f"in {room}", room=room)
    assert [len((await kept.since(room, ""))[0]) for room in ("a", "b", "c")] == [1, 0, 1]
    assert await kept.since("b", last.id) == ([], True)
    again = await say(kept, "again", room="b")
    assert await kept.since("b", last.id) == (again, True)


async def test_a_room_keeps_no_more_than_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY_SIZE", 10)
    kept = MemoryStore()
    messages = await say(kept, "\U0001f40c", "abc", "def", "ghi")  # 4 bytes, and 3 each
    assert await kept.since("lobby", "") == (messages[1:], False)
    assert await kept.since("lobby", messages[0].id) == (messages[1:], False)


async def test_all_rooms_keep_no_more_than_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TOTAL_SIZE", 10 * (store.OVERHEAD + 4))
    kept = MemoryStore()
    for number in range(100):
        await say(kept, f"{number:04}", room=str(number % 20))
    sizes = [len((await kept.since(str(number), ""))[0]) for number in range(20)]
    assert sizes == [0] * 10 + [1] * 10


async def test_a_message_is_known_for_longer_than_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY", 2)
    monkeypatch.setattr(store, "RECEIPTS", 5)
    kept = MemoryStore()
    messages = await say(kept, "one", "two", "three", "four", "five")
    assert await say(kept, "one") == messages[:1]
    assert await kept.since("lobby", "") == (messages[3:], False)
    other, is_new = await kept.append("lobby", "ben", messages[0].uid, "Ben", "a uid that Ann has used")
    assert is_new
    (again,) = await say(kept, "one")
    assert again.id != messages[0].id  # only now it was forgotten
    assert await say(kept, "three") == messages[2:3]
    assert await kept.since("lobby", other.id) == ([again], False)


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
        '{"type": "enter", "name": "Ann", "room": "lobby", "last": "yesterday!", "session": "11111111"}',
        '{"type": "enter", "name": "Ann", "room": "lobby", "last": 3, "session": "11111111"}',
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


@pytest.mark.parametrize(("name", "room", "code"), [("", "lobby", "NAME_REFUSED"), ("Ann", "\u200b", "ROOM_REFUSED")])
async def test_a_refusal_tells_what_was_refused(here: Chat, name: str, room: str, code: str) -> None:
    async with here.person() as person:
        await person.enter(name, room, session=SESSION)
        closed, reason = await person.closing()
        assert closed == getattr(connection, code)
        assert reason.endswith("1 to 32 characters, and no invisible ones.")


@pytest.mark.parametrize(
    "name",
    [
        *("", "  ", "x" * 33, "...", "a\x07b", "a\u202eb", "\u200bAnn", "An\u200dn", "Ann\ufe0f", "Ann\u034f"),
        *"\ud800\u2028\u3164\u115f\u1160\uffa0\u2800\u0301",
        *("x\u0330\u033a\u0347", "Ann\xad", "Ann\U000e0101", "a\u2800b", "\u2764\ufe0f\ufe0f", "\u2764\u200d"),
    ],
)
def test_a_name_that_is_none(name: str) -> None:
    assert clean_name(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("Ann", "Zo\xeb", "\u0627\u0644\u0644\u0647", "\u0e17\u0e35\u0e48", "42", "$", "O'Neill-Smith Jr."),
        *("\u2764\ufe0f", "\U0001f469\u200d\U0001f680", "\U0001f469\U0001f3fd\u200d\u2695\ufe0f"),
        "\U0001f3f3\ufe0f\u200d\U0001f308",
    ],
)
def test_a_name_that_is_one(name: str) -> None:
    assert clean_name(f"  {name}\n") == name


@pytest.mark.parametrize(
    "text", ["", " \n\t ", "\u200b", "\u3164", "\u2800 \u2800", "\ufe0f", "\u2060\u0301", "\u2028"]
)
def test_a_message_of_nothing_that_can_be_seen_is_empty(text: str) -> None:
    assert problem_with(text) == "There is nothing in this message."


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


@pytest.mark.parametrize("text", ["x", "", "x" * 3000])
async def test_who_does_not_stop_is_shown_the_door(here: Chat, mock_clock: trio.testing.MockClock, text: str) -> None:
    async with here.visitor("Ann") as ann, here.visitor("Ben") as ben:
        for number in range(connection.BURST + connection.STRIKES + 1):
            await ann.say(text, f"uid-{number:05}")
        assert await ann.closing() == (1008, "You write too much.")
        for _ in range(connection.BURST if text == "x" else 0):
            await ben.hear("message")
        await ben.hear("left")


async def test_coming_back_does_not_allow_more(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    said = 0
    while said < connection.ADDRESS_BURST:
        async with here.visitor("Ann") as ann:
            for _ in range(min(connection.BURST, connection.ADDRESS_BURST - said)):
                await ann.say("x", f"uid-{said:05}")
                await ann.hear("message")
                said += 1
    async with here.visitor("Ben") as ben:
        await ben.say("x", "uid-of-ben")
        assert (await ben.hear("notice"))["code"] == "too-fast"
        mock_clock.jump(1 / connection.ADDRESS_RATE)
        await ben.say("x", "uid-of-ben")
        await ben.hear("message")


async def test_who_comes_in_too_often_has_to_wait(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    for _ in range(connection.ENTER_BURST):
        async with here.visitor("Ann"):
            pass
    async with here.person() as ann:
        assert await ann.closing() == (connection.TRY_AGAIN_LATER, "Too many come in from your address.")
    mock_clock.jump(1 / connection.ENTER_RATE)
    async with here.visitor("Ann"):
        pass


async def test_addresses_are_apart_and_the_latest_are_remembered(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(limits, "ADDRESSES", 3)
    allowances = limits.Allowances(rate=1, burst=1)
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        assert allowances.take(address) == 0
        assert allowances.take(address) == 1
    assert allowances.take("2001:db8::2") == 1  # of the same household
    assert allowances.take("192.0.2.1") == 1
    assert allowances.take("fe80::1%eth0") == 0
    assert allowances.take("192.0.2.1") == 1
    assert allowances.take("192.0.2.2") == 0  # it was forgotten


async def test_somebody_silent_can_ask_whether_anybody_is_there(here: Chat) -> None:
    async with here.visitor("Ann") as ann:
        await ann.send(type="beat")
        assert await ann.hear("beat") == {"type": "beat"}


async def test_who_does_not_say_who_they_are_is_not_waited_for(here: Chat, mock_clock: trio.testing.MockClock) -> None:
    async with here.person() as person:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(connection.ENTER_TIMEOUT)
        assert await person.closing() == (1008, "Nobody said who is coming in.")


class BrokenStore(MemoryStore):
    async def since(self, room: str, last: str) -> tuple[list[Message], bool]:
        raise trio.TooSlowError


async def test_a_store_that_is_too_slow_is_no_fault_of_theirs(nursery: trio.Nursery, logged: Logged) -> None:
    async with Chat(nursery, make_server(BrokenStore())).person() as ann:
        await ann.enter("Ann")
        assert (await ann.closing())[0] == 1011
    assert logged() == ["ERROR TooSlowError"]


async def test_who_leaves_before_entering_leaves_no_trace(here: Chat) -> None:
    async with here.person():
        pass
    async with here.person() as ann:
        await ann.enter("Ann")
        assert len((await ann.hear("welcome"))["people"]) == 1


async def test_who_does_not_read_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(connection, "BURST", 10**6)
    monkeypatch.setattr(connection, "ADDRESS_BURST", 10**6)
    async with serving(make_server()) as listener:
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 2**15)
        async with connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/chat") as ws:
            ann = Person(ws)
            await ann.enter("Ann")
            deaf = await trio.testing.open_stream_to_socket_listener(listener)
            deaf.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            await deaf.send_all(get("/chat", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key))
            hello = json.dumps({"type": "enter", "name": "Deaf", "room": "lobby", "last": "", "session": SESSION})
            await deaf.send_all(bytes([0x81, 0x80 | len(hello)]) + bytes(4) + hello.encode())
            deaf_person = await ann.hear("joined")
            for number in range(1000):  # 2 MB: more than the kernel's buffer and ours
                await ann.say("x" * 2000, f"uid-{number:05}")
                await ann.hear("message")
            for _ in range(8):  # a minute in which its host acknowledges nothing
                await trio.testing.wait_all_tasks_blocked(0.02)
                mock_clock.jump(9)
            assert (await ann.hear("left"))["id"] == deaf_person["id"]
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


# ---- the program


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "99999"], "chat: there is no port 99999: they go from 0 to 65535\n"),
        (["--host", "192.0.2.1"], "chat: cannot listen on 192.0.2.1, port 8000: Cannot assign requested address\n"),
    ],
)
async def test_an_address_that_cannot_be_is_told_in_one_line(arguments: list[str], complaint: str) -> None:
    command = [sys.executable, "-m", "examples.chat", *arguments]
    result = await trio.run_process(command, check=False, capture_stderr=True)
    assert (result.returncode, result.stderr.decode()) == (1, complaint)
