"""The line chat: its server, and the lines it is made of."""

import contextlib
import html
import logging
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpcore
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from examples import line_chat
from examples.lines import BadLine, LineReader, printable
from trio_upgrade import Headers, Server
from trio_upgrade.testing import ClientStream, open_upgrade

ROOT = Path(__file__).parents[2]
HANDSHAKE = b"GET /?name=%b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: line-chat/1\r\n\r\n"


class Person:
    """Somebody who chats."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._lines = LineReader(stream.receive_some, 8192)

    async def say(self, line: str) -> None:
        await self.send(line.encode() + b"\n")

    async def send(self, data: bytes) -> None:
        with trio.fail_after(10):
            await self.stream.send_all(data)

    async def hear(self) -> str | None:
        """The next line, None at the end."""
        with trio.fail_after(10):
            return await self._lines.read()

    async def ask(self, line: str) -> str | None:
        await self.say(line)
        return await self.hear()


def asked(
    server: Server, target: str, protocol: str = "line-chat/1"
) -> contextlib.AbstractAsyncContextManager[tuple[int, Headers, ClientStream]]:
    """Asks for an upgrade."""
    return open_upgrade(server, target, protocol)


@contextlib.asynccontextmanager
async def joined(server: Server, name: str, room: str = "lobby", *, skip: int = 2) -> AsyncIterator[Person]:
    """Somebody in the chat, who has read the lines of welcome."""
    async with asked(server, f"/?name={quote(name)}&room={quote(room)}") as (status, _headers, stream):
        assert status == 101
        person = Person(stream)
        for _line in range(skip):
            await person.hear()
        yield person


@pytest.fixture
def server() -> Server:
    return line_chat.make_server()


# ---- entering


async def test_who_enters_is_welcomed_and_told_who_is_there(server: Server) -> None:
    async with joined(server, "alice", skip=0) as alice:
        assert await alice.hear() == "* welcome, alice: /help says what you can do"
        assert await alice.hear() == "* you are in lobby, alone"
        async with joined(server, "bob", skip=1) as bob:
            assert await bob.hear() == "* you are in lobby, with alice"
            assert await alice.hear() == "* bob joined"
        assert await alice.hear() == "* bob left"


async def test_the_response_names_the_protocol(server: Server) -> None:
    async with asked(server, "/", "foo, LINE-CHAT/1") as (status, headers, _stream):
        assert (status, headers["upgrade"].lower()) == (101, "line-chat/1")


async def test_another_protocol_is_not_accepted(server: Server) -> None:
    for protocol in ("websocket", "line-chat/2", "line-chat"):
        async with asked(server, "/", protocol) as (status, headers, _stream):
            assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_without_a_name_one_is_a_guest(server: Server) -> None:
    async with (
        asked(server, "/") as (_, _, first),
        joined(server, "guest2"),
        asked(server, "/") as (_, _, second),
    ):
        assert await Person(first).hear() == "* welcome, guest1: /help says what you can do"
        assert await Person(second).hear() == "* welcome, guest3: /help says what you can do"


@pytest.mark.parametrize("name", ["Zoë", "Ольга", "李-小_龍", "a" * 32])
async def test_names_are_of_any_script(server: Server, name: str) -> None:
    async with joined(server, name, skip=0) as person:
        assert await person.hear() == f"* welcome, {name}: /help says what you can do"


@pytest.mark.parametrize("taken", ["alice", "ALICE", "\uff21lice"])
async def test_a_taken_name_is_refused_before_the_upgrade(server: Server, taken: str) -> None:
    async with joined(server, "Alice") as alice:
        async with asked(server, f"/?name={quote(taken)}") as (status, headers, stream):
            assert (status, "upgrade" in headers) == (409, False)
            assert b"is taken\n" in await stream.receive_some()
        assert await alice.ask("/who") == "* in lobby: Alice"
    async with joined(server, taken):
        pass  # it is free again


@pytest.mark.parametrize(
    "query",
    [
        f"name={'a' * 33}",
        "name=a+b",
        "name=%1b%5b31m",
        "name=a%0ab",
        "name=%ff",
        f"name={quote('a' + chr(0x202E))}",  # right-to-left override
        f"name={quote('a' + chr(0x200D))}",  # zero-width joiner
        f"name={quote(chr(0x3164))}",  # Hangul filler: a letter that is blank
        f"name={quote(chr(0xFDFA))}{'a' * 20}",  # one character that is normalized to eighteen
        "name=*",
        "name=alice&room=a:b",
    ],
)
async def test_a_bad_name_is_refused_before_the_upgrade(server: Server, query: str) -> None:
    async with asked(server, f"/?{query}") as (status, _headers, stream):
        assert status == 400
        assert (await stream.receive_some()).startswith(b"a name has ")


async def test_a_full_chat_refuses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_chat, "MAX_MEMBERS", 1)
    async with joined(server, "alice"):
        async with asked(server, "/") as (status, _headers, _stream):
            assert status == 503
    async with joined(server, "bob"):
        pass


# ---- talking


async def test_what_is_said_reaches_the_others_in_the_room_alone(server: Server) -> None:
    async with (
        joined(server, "alice") as alice,
        joined(server, "bob") as bob,
        joined(server, "carol", "den") as carol,
    ):
        assert await alice.hear() == "* bob joined"
        await alice.say("hello, Bob: ça va?")
        assert await bob.hear() == "alice: hello, Bob: ça va?"
        await bob.say("fine")
        assert await alice.hear() == "bob: fine"  # and not her own line before it
        assert await carol.ask("/who") == "* in den: carol"  # the first that she hears


async def test_crlf_ends_a_line_as_lf_does_and_an_empty_line_says_nothing(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.send(b"one\r\n\r\n\n  \ntwo\n")
        assert await bob.hear() == "alice: one"
        assert await bob.hear() == "alice: two"


async def test_many_lines_at_once_all_arrive(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.send(b"".join(b"%d\n" % n for n in range(5 * line_chat.MAX_QUEUED)))
        for n in range(5 * line_chat.MAX_QUEUED):
            assert await bob.hear() == f"alice: {n}"


async def test_the_last_line_may_end_with_the_connection(server: Server) -> None:
    async with joined(server, "alice") as alice:
        async with joined(server, "bob") as bob:
            assert await alice.hear() == "* bob joined"
            await bob.send(b"bye")
        assert await alice.hear() == "bob: bye"
        assert await alice.hear() == "* bob left"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_line_too_long_is_refused_and_the_chat_goes_on(server: Server, end: bytes) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        longest = b"x" * line_chat.MAX_LINE
        await alice.send(longest + b"x" + end)
        assert await alice.hear() == "* that line is too long: 4096 bytes is the limit"
        await alice.send(longest * 100 + end + longest + end)
        assert await alice.hear() == "* that line is too long: 4096 bytes is the limit"
        assert await bob.hear() == f"alice: {longest.decode()}"


async def test_bytes_that_are_not_utf8_are_refused_and_the_chat_goes_on(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        await alice.send(b"caf\xe9\nand then\n")
        assert await alice.hear() == "* that line is not UTF-8"
        assert await bob.hear() == "alice: and then"


UNPRINTABLE = [*range(0x20), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010), *range(0x2028, 0x202F)]
UNPRINTABLE += [0x061C, *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC), 0xE0001, 0xE0041]


async def test_control_characters_reach_no_other_terminal(server: Server) -> None:
    nasty = "".join(map(chr, UNPRINTABLE)).replace("\n", "")
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        for said in (f"a{nasty}b", f"/msg bob a{nasty}b", f"/nick a{nasty}b", f"/join a{nasty}b", f"/{nasty}b"):
            await alice.say(said)
        await alice.say("/msg bob end")
        heard = ""
        while (line := await bob.hear()) and not line.endswith("end"):
            heard += line
        while (line := await alice.ask("/quit")) and line != "* goodbye":
            heard += line
        assert len(heard) > 50
        assert not {ord(char) for char in heard} & set(UNPRINTABLE)


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


def test_printable_text_keeps_what_can_be_seen() -> None:
    assert printable("Zoë: ça va?\t李 \U0001f600\u3000.") == "Zoë: ça va? 李 \U0001f600 ."
    assert printable("\x1b[2J\x9b31m\u202eevil\u200b") == "[2J31mevil"


# ---- commands


async def test_nick_changes_the_name_for_everybody(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        assert await alice.ask("/nick Alicia") == "* you are called Alicia now"
        assert await bob.hear() == "* alice is called Alicia now"
        await alice.say("hi")
        assert await bob.hear() == "Alicia: hi"
        assert await bob.ask("/nick alice") == "* you are called alice now"


async def test_nick_refuses_a_name_that_is_taken_or_bad(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        assert await bob.ask("/nick Alice") == "* the name Alice is taken"
        assert await bob.ask("/nick") == "* a name has 1 to 32 characters"
        assert await bob.ask("/nick a b") == "* a name has letters, digits, - and _ only"
        assert await bob.ask("/nick BOB") == "* you are called BOB now"
        assert await alice.hear() == "* bob joined"
        assert await alice.hear() == "* bob is called BOB now"


async def test_join_goes_from_one_room_to_another(server: Server) -> None:
    async with (
        joined(server, "alice") as alice,
        joined(server, "bob") as bob,
        joined(server, "carol", "den") as carol,
    ):
        await alice.hear()
        assert await alice.ask("/join Den") == "* you are in den, with carol"
        assert await bob.hear() == "* alice left"
        assert await carol.hear() == "* alice joined"
        await alice.say("hi")
        assert await carol.hear() == "alice: hi"
        assert await alice.ask("/join den") == "* you are in den already"
        assert await alice.ask("/join") == "* a name has 1 to 32 characters"
        assert await bob.ask("/who") == "* in lobby: bob"


async def test_there_is_a_limit_to_rooms(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_chat, "MAX_ROOMS", 2)
    async with joined(server, "alice") as alice, joined(server, "bob", "den"):
        assert await alice.ask("/join attic") == "* there are too many rooms: join one that is there, /who names them"
        async with asked(server, "/?room=attic") as (status, _headers, _stream):
            assert status == 503
        assert await alice.ask("/join den") == "* you are in den, with bob"
        assert await alice.ask("/join attic") == "* you are in attic, alone"  # the lobby is gone, being empty


async def test_who_lists_people_and_rooms_in_bounded_lines(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_chat, "MAX_LISTED", 2)
    async with (
        joined(server, "alice"),
        joined(server, "bob"),
        joined(server, "carol", "den"),
        joined(server, "dora") as dora,
    ):
        assert await dora.ask("/who") == "* in lobby: alice, bob, and 1 more"
        assert await dora.hear() == "* rooms: lobby (3), den (1)"


async def test_msg_reaches_one_person_in_any_room(server: Server) -> None:
    async with (
        joined(server, "alice") as alice,
        joined(server, "bob") as bob,
        joined(server, "Carol", "den") as carol,
    ):
        await alice.hear()
        await alice.say("/msg carol this is for you")
        assert await carol.hear() == "alice (to you): this is for you"
        assert await alice.ask("/msg dora hi") == "* there is no dora here"
        assert await alice.ask("/msg carol") == "* use it so: /msg NAME TEXT"
        await alice.say("to all")
        assert await bob.hear() == "alice: to all"


async def test_help_names_every_command(server: Server) -> None:
    async with joined(server, "alice") as alice:
        await alice.say("/help")
        await alice.say("/quit")
        heard = ""
        while line := await alice.hear():
            heard += line
        assert set(re.findall(r"/[a-z]+", heard)) == {"/nick", "/join", "/who", "/msg", "/quit"}


async def test_an_unknown_command_is_not_said_aloud(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        assert await alice.ask("/password hunter2") == "* /password is no command: /help names them"
        await alice.say("hi")
        assert await bob.hear() == "alice: hi"


async def test_quit_says_goodbye_and_ends_the_connection(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        assert await bob.ask("/quit") == "* goodbye"
        assert await bob.hear() is None
        assert await alice.hear() == "* bob left"


# ---- slow, gone, shut down


async def enter_and_stop_reading(stream: trio.abc.Stream, name: bytes) -> None:
    await stream.send_all(HANDSHAKE % name)
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
    await trio.testing.wait_all_tasks_blocked()  # on sending the welcome


async def test_a_slow_reader_is_dropped_with_a_notice_and_slows_nobody_down(
    server: Server, nursery: trio.Nursery
) -> None:
    slow_stream, server_end = trio.testing.lockstep_stream_pair()  # sending waits for the reader
    nursery.start_soon(server.serve_stream, server_end)
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        await enter_and_stop_reading(slow_stream, b"slow")
        assert await alice.hear() == "* slow joined"
        assert await bob.hear() == "* slow joined"
        for n in range(line_chat.MAX_QUEUED):
            await alice.say(str(n))
            assert await bob.hear() == f"alice: {n}"
        assert await bob.ask("/who") == "* in lobby: alice, bob, slow"
        await bob.hear()
        await alice.say("one too many")
        assert await bob.hear() == "alice: one too many"
        assert await bob.hear() == "* slow left"

        slow = Person(slow_stream)
        assert await slow.hear() == "* welcome, slow: /help says what you can do"
        assert await slow.hear() == "* you are in lobby, with alice, bob"
        assert await slow.hear() == "* you are dropped: you read too slowly"
        assert await slow.hear() is None


async def test_a_dropped_reader_who_never_reads_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(line_chat, "MAX_QUEUED", 3)
    stuck_stream, server_end = trio.testing.lockstep_stream_pair()
    async with joined(server, "alice") as alice, trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, server_end)  # returns when the connection is closed
        await enter_and_stop_reading(stuck_stream, b"stuck")
        for _ in range(4):
            await alice.say("hi")
    assert line_chat.GOODBYE_TIMEOUT <= trio.current_time() < 60


async def test_a_shutdown_says_goodbye_to_all(server: Server) -> None:
    async with joined(server, "alice") as alice, joined(server, "bob") as bob:
        await alice.hear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown, 10)
            for person in (alice, bob):
                assert await person.hear() == "* the server is shutting down, goodbye"
                assert await person.hear() is None
                await person.stream.aclose()


async def test_a_shutdown_finds_room_for_the_goodbye_among_many(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_chat, "MAX_QUEUED", 5)
    async with contextlib.AsyncExitStack() as stack:
        people = [await stack.enter_async_context(joined(server, f"n{n}", skip=0)) for n in range(20)]
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown, 10)
            for person in people:
                last = None
                while (line := await person.hear()) is not None:
                    last = line
                assert last == "* the server is shutting down, goodbye"
                await person.stream.aclose()


async def test_a_vanished_peer_leaves_its_room_and_logs_no_error(
    server: Server, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    listeners = await nursery.start(server.serve_tcp, 0)
    async with joined(server, "alice") as alice:
        for _ in range(2):
            stream = await trio.testing.open_stream_to_socket_listener(listeners[0])
            await stream.send_all(HANDSHAKE % b"bob")
            assert await alice.hear() == "* bob joined"
            assert isinstance(stream, trio.SocketStream)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()  # that is a reset now
            assert await alice.hear() == "* bob left"
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_servers_share_nothing() -> None:
    async with joined(line_chat.make_server(), "alice"), joined(line_chat.make_server(), "alice", skip=1) as other:
        assert await other.hear() == "* you are in lobby, alone"


# ---- the page


@pytest.fixture
async def url(server: Server, nursery: trio.Nursery) -> str:
    listeners = await nursery.start(server.serve_tcp, 0)
    return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def ask(method: str, url: str, headers: list[tuple[str, str]] | None = None) -> tuple[int, dict[str, str], str]:
    with trio.fail_after(10):
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request(method, url, headers=headers)
    fields = {name.decode().lower(): value.decode() for name, value in response.headers}
    return response.status, fields, response.content.decode()


async def test_the_page_says_how_to_connect(url: str) -> None:
    status, headers, page = await ask("GET", url)
    port = url.rpartition(":")[2]
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = html.unescape(page)
    assert f"python -m examples.line_chat_client --host 127.0.0.1 --port {port} --name alice" in page
    assert f"; cat) | nc 127.0.0.1 {port}<" in page
    assert "color-scheme" in page


async def test_the_page_has_a_head(url: str) -> None:
    _, of_get, page = await ask("GET", url)
    status, of_head, content = await ask("HEAD", url)
    assert (status, content) == (200, "")
    assert of_head["content-length"] == of_get["content-length"] == str(len(page.encode()))


async def test_the_page_quotes_the_host_that_it_was_asked_for(url: str) -> None:
    status, _, page = await ask("GET", url, [("Host", "a';&$(x)&lt;:81")])
    assert status == 200
    shell_word = """'a'"'"';&$(x)&lt;'"""
    assert f"| nc {html.escape(shell_word)} 81<" in page
    status, _, page = await ask("GET", url, [("Host", "[::1]")])
    assert "| nc ::1 80<" in page


async def test_a_host_with_an_impossible_port_is_refused(url: str) -> None:
    assert (await ask("GET", url, [("Host", "localhost:99999")]))[0] == 400


async def test_there_is_nothing_but_the_page(url: str) -> None:
    assert (await ask("GET", f"{url}/other"))[0] == 404
    status, headers, _ = await ask("POST", url)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


# ---- as a program


async def test_the_program_says_what_to_type_and_that_works() -> None:
    command = [sys.executable, "-m", "examples.line_chat", "--port", "0"]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            # Where the test fails, the nursery ends the program.
            program = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, cwd=ROOT))
            lines = LineReader(program.stdout.receive_some)
            first, client, _, netcat = [await lines.read() or "" for _ in range(4)]
            assert re.match(r"Line chat on http://127\.0\.0\.1:\d+ \(Ctrl-C to stop\)", first)
            found = re.fullmatch(r" +\(printf '(.*)'; cat\) \| nc 127\.0\.0\.1 (\d+)", netcat)
            assert found
            assert f"--host 127.0.0.1 --port {found[2]} " in client
            handshake = found[1].replace(r"\r\n", "\r\n").encode()
            async with await trio.open_tcp_stream("127.0.0.1", int(found[2])) as stream:
                await stream.send_all(handshake)
                person = Person(stream)
                assert await person.hear() == "HTTP/1.1 101 Switching Protocols"
                while await person.hear() != "* you are in lobby, alone":
                    pass
                program.send_signal(signal.SIGINT)
                assert await person.hear() == "* the server is shutting down, goodbye"
                assert await person.hear() is None
            assert await program.wait() == 0
            await program.stdout.aclose()


async def test_the_program_says_that_its_port_is_taken(nursery: trio.Nursery, server: Server) -> None:
    listeners = await nursery.start(server.serve_tcp, 0)
    port = listeners[0].socket.getsockname()[1]
    command = [sys.executable, "-m", "examples.line_chat", "--port", str(port)]
    with trio.fail_after(30):
        done = await trio.run_process(command, check=False, capture_stderr=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith(b"line_chat: cannot listen on 127.0.0.1:")
    assert done.stderr.count(b"\n") == 1


# ---- the line reader


class Pieces:
    """A source of bytes in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""


async def read_all(reader: LineReader) -> list[str | None]:
    """The lines, with None for a bad one."""
    lines: list[str | None] = []
    while True:
        try:
            line = await reader.read()
        except BadLine:
            lines.append(None)
        else:
            if line is None:
                return lines
            lines.append(line)


@given(
    st.lists(st.sampled_from([b"x", b"\r", b"\n", b"\xff", "é".encode()]), max_size=60).map(b"".join),
    st.lists(st.integers(1, 9)),
)
def test_lines_are_the_same_however_they_are_cut(data: bytes, sizes: list[int]) -> None:
    expected: list[str | None] = []
    parts = data.split(b"\n")
    for part in parts if parts[-1] else parts[:-1]:
        line = part.removesuffix(b"\r")
        try:
            expected.append(line.decode() if len(line) <= 8 else None)
        except UnicodeDecodeError:
            expected.append(None)
    pieces = []
    rest = data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    source = Pieces(*filter(None, [*pieces, rest]))
    assert trio.run(read_all, LineReader(source.receive, 8)) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_the_longest_line_is_taken_wherever_its_end_is_cut(end: bytes) -> None:
    data = b"x" * 8 + end
    for at in range(7, len(data)):
        reader = LineReader(Pieces(data[:at], data[at:]).receive, 8)
        assert await reader.read() == "x" * 8
        assert await reader.read() is None


async def test_an_endless_line_takes_no_memory() -> None:
    source = Pieces(*[b"x" * 10] * 1000, b"\nshort")
    kept = 0

    async def receive() -> bytes:
        nonlocal kept
        kept = max(kept, len(reader._buffer))
        return await source.receive()

    reader = LineReader(receive, 100)
    with pytest.raises(BadLine, match="too long: 100 bytes"):
        await reader.read()
    assert 90 <= kept <= 101
    assert await reader.read() == "short"
    assert await reader.read() is None


async def test_a_cancelled_read_loses_nothing() -> None:
    sender, receiver = trio.testing.memory_stream_one_way_pair()
    reader = LineReader(receiver.receive_some)
    await sender.send_all(b"one\nhal")
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.read()
    assert await reader.read() == "one"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    await sender.send_all(b"f\n")
    assert await reader.read() == "half"
