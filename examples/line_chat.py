"""A chat server that speaks lines of text over `Upgrade: line-chat/1`, and answers a browser with a page.

Run it with `python -m examples.line_chat`; it says how to join. To start a protocol of your own
from it, read it from the bottom: `make_server`, then `take_part`, which is one connection's life.
"""

import argparse
import contextlib
import html
import itertools
import os
import shlex
import sys
import unicodedata
from functools import partial
from urllib.parse import parse_qs, urlsplit

import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server

from .lines import BadLine, LineReader, printable

PROTOCOL = "line-chat/1"
LOBBY = "lobby"
MAX_LINE = 4096  # bytes
MAX_NAME = 32  # characters
MAX_MEMBERS = 1000
MAX_ROOMS = 100
MAX_LISTED = 30  # names in one answer, so that it stays one line
MAX_QUEUED = 200  # lines that a member has not taken yet
GOODBYE_TIMEOUT = 5  # seconds that a member has to take the last lines

# Letters to Unicode, and nothing on the screen: with them two names would look the same.
BLANK_LETTERS = "\u115f\u1160\U00013441\U00013442"

HELP = """\
Whatever does not begin with / is said to your room.
/nick NAME      be called NAME
/join ROOM      go to another room; it is made if there is none of that name
/who            who is in your room, and which rooms there are
/msg NAME TEXT  say something to one person only
/quit           leave"""


class Refused(Exception):
    """The chat does not do that, and says why. `status` is for when it is asked over HTTP."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Member:
    """Somebody in the chat: a name, a room, and the lines still to be sent.

    Attributes:
      stay: cancelled when the member has to go.
    """

    def __init__(self, name: str, room: str) -> None:
        self.name = name
        self.room = room
        self.stay = trio.CancelScope()
        self.too_slow = False
        self._outgoing, self._queued = trio.open_memory_channel[str](MAX_QUEUED)

    def tell(self, line: str) -> None:
        """Queue a line. Never waits: a member whose queue is full has to go."""
        try:
            self._outgoing.send_nowait(line)
        except trio.WouldBlock:
            self.too_slow = True
            self.stay.cancel()

    def dismiss(self, line: str) -> None:
        """Queue the last line; instead of what is queued, if that was not taken."""
        if self.too_slow:
            self._take_queued()
        with contextlib.suppress(trio.WouldBlock):
            self._outgoing.send_nowait(line)
        self._outgoing.close()

    async def write_to(self, stream: trio.abc.SendStream) -> None:
        """Send what is queued, until the member is dismissed."""
        async for line in self._queued:
            lines = [line, *self._take_queued(), ""]
            await stream.send_all("\n".join(lines).encode())

    def _take_queued(self) -> list[str]:
        lines = []
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                lines.append(self._queued.receive_nowait())
        return lines


class Chat:
    """Who is there, and in which room. Nothing here waits, so that nobody waits for anybody."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}  # by their names' keys
        self._rooms: dict[str, list[Member]] = {}  # none is empty

    def enter(self, name: str | None, room: str) -> Member:
        """Take in somebody new, with a guest's name if none is given."""
        if len(self._members) >= MAX_MEMBERS:
            raise Refused("the chat is full", status=503)
        if name is None:
            name = next(guest for n in itertools.count(1) if key(guest := f"guest{n}") not in self._members)
        name, room = valid_name(name), self._valid_room(room)
        self._check_free(name)
        member = self._members[key(name)] = Member(name, room)
        member.tell(f"* welcome, {name}: /help says what you can do")
        self._arrive(member)
        return member

    def leave(self, member: Member, *, quietly: bool = False) -> None:
        """Let somebody go, if still there."""
        if self._members.pop(key(member.name), None):
            self._depart(member, quietly=quietly)

    def say(self, member: Member, text: str) -> None:
        """Say something to the others in the room."""
        self._tell_room(member, f"{member.name}: {text}")

    def whisper(self, member: Member, name: str, text: str) -> None:
        """Say something to one person."""
        other = self._members.get(key(name))
        if other is None:
            raise Refused(f"there is no {name[:MAX_NAME]} here")
        other.tell(f"{member.name} (to you): {text}")

    def rename(self, member: Member, name: str) -> None:
        """Give somebody another name."""
        name = valid_name(name)
        if key(name) != key(member.name):
            self._check_free(name)
        self._tell_room(member, f"* {member.name} is called {name} now")
        del self._members[key(member.name)]
        self._members[key(name)] = member
        member.name = name
        member.tell(f"* you are called {name} now")

    def move(self, member: Member, room: str) -> None:
        """Put somebody into another room."""
        room = self._valid_room(room)
        if room == member.room:
            raise Refused(f"you are in {room} already")
        self._depart(member)
        member.room = room
        self._arrive(member)

    def describe(self, member: Member) -> None:
        """Tell somebody who is there."""
        member.tell(f"* in {member.room}: {enumerate_some([other.name for other in self._rooms[member.room]])}")
        member.tell(f"* rooms: {enumerate_some([f'{room} ({len(there)})' for room, there in self._rooms.items()])}")

    def _arrive(self, member: Member) -> None:
        self._rooms.setdefault(member.room, []).append(member)
        self._tell_room(member, f"* {member.name} joined")
        others = [other.name for other in self._rooms[member.room] if other is not member]
        member.tell(f"* you are in {member.room}, {'with ' + enumerate_some(others) if others else 'alone'}")

    def _depart(self, member: Member, *, quietly: bool = False) -> None:
        if not quietly:
            self._tell_room(member, f"* {member.name} left")
        self._rooms[member.room].remove(member)
        if not self._rooms[member.room]:
            del self._rooms[member.room]

    def _tell_room(self, member: Member, line: str) -> None:
        for other in self._rooms[member.room]:
            if other is not member:
                other.tell(line)

    def _check_free(self, name: str) -> None:
        if key(name) in self._members:
            raise Refused(f"the name {name} is taken", status=409)

    def _valid_room(self, room: str) -> str:
        room = key(valid_name(room))
        if room not in self._rooms and len(self._rooms) >= MAX_ROOMS:
            raise Refused("there are too many rooms: join one that is there, /who names them", status=503)
        return room


def valid_name(name: str) -> str:
    """A name for a person or a room, in the form that is shown."""
    name = unicodedata.normalize("NFKC", name)
    if not all(char.isalnum() or char in "-_" for char in name) or any(char in BLANK_LETTERS for char in name):
        raise Refused("a name has letters, digits, - and _ only")
    if not 1 <= len(name) <= MAX_NAME:
        raise Refused(f"a name has 1 to {MAX_NAME} characters")
    return name


def key(name: str) -> str:
    """What is the same for names that are too much alike."""
    return unicodedata.normalize("NFKC", name).casefold()


def enumerate_some(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f", and {rest} more" if rest > 0 else "")


# ---- the protocol


async def take_part(chat: Chat, request: Request, stream: trio.abc.Stream) -> Response | None:
    """One connection, from the request to the goodbye."""
    wishes = {name: values[0] for name, values in parse_qs(request.query).items()}
    try:
        member = chat.enter(wishes.get("name"), wishes.get("room", LOBBY))
    except Refused as exc:
        return Response(exc.status, f"{exc}\n")
    try:
        await request.accept(PROTOCOL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.write_to, stream)
            with request.server.cancel_on_shutdown(), member.stay:
                await listen(chat, member, LineReader(stream.receive_some, MAX_LINE))
            shutdown = request.server.shutting_down.is_set()
            chat.leave(member, quietly=shutdown)  # when all go at once, nobody needs to hear of each
            if member.too_slow:
                member.dismiss("* you are dropped: you read too slowly")
            else:
                member.dismiss("* the server is shutting down, goodbye" if shutdown else "* goodbye")
            nursery.cancel_scope.deadline = trio.current_time() + GOODBYE_TIMEOUT
    finally:
        chat.leave(member)
    return None


async def listen(chat: Chat, member: Member, lines: LineReader) -> None:
    """Do what a member's lines say, until the last one."""
    while True:
        try:
            line = await lines.read()
            if line is None or line.strip() == "/quit":
                return
            obey(chat, member, printable(line).strip())
        except (BadLine, Refused) as exc:
            member.tell(f"* {exc}")


def obey(chat: Chat, member: Member, line: str) -> None:
    """Do what one line says."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "":
            pass
        case "/nick":
            chat.rename(member, rest)
        case "/join":
            chat.move(member, rest)
        case "/who":
            chat.describe(member)
        case "/msg":
            name, _, text = rest.partition(" ")
            if not text:
                raise Refused("use it so: /msg NAME TEXT")
            chat.whisper(member, name, text.strip())
        case "/help":
            for explanation in HELP.splitlines():
                member.tell(f"* {explanation}")
        case _ if command.startswith("/"):
            raise Refused(f"{command[:MAX_NAME]} is no command: /help names them")
        case _:
            chat.say(member, line)


# ---- the page, and how it all starts


PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Line chat</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem; border: 1px solid; border-radius: .4rem }}
</style>
<h1>Line chat</h1>
<p>People talk here, but not in a browser: the chat is lines of text over <code>Upgrade: {protocol}</code>.</p>
<h2>Join with the terminal client</h2>
<pre>{client}</pre>
<h2>Join with nc</h2>
<pre>{netcat}</pre>
<h2>Then type</h2>
<pre>{help}</pre>
</html>
"""

# Nothing in the page is for loading or running, whatever might get into it.
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def ways_in(host: str, port: int, python: str = "python") -> tuple[str, str]:
    """What to type to connect: with the terminal client, and with nc."""
    host = shlex.quote(host)
    lines = ["GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", f"Upgrade: {PROTOCOL}", "", ""]
    head = r"\r\n".join(lines)
    return (
        f"{python} -m examples.line_chat_client --host {host} --port {port} --name alice",
        f"(printf '{head}'; cat) | nc {host} {port}",
    )


async def on_request(request: Request) -> Response:
    if request.path != "/":
        return Response(404, "There is nothing here but /\n")
    if request.method not in ("GET", "HEAD"):
        return Response(405, "Only GET and HEAD\n", {"Allow": "GET, HEAD"})
    try:
        address = urlsplit(f"//{request.headers.get('host', '')}")
        client, netcat = ways_in(address.hostname or "localhost", address.port or 80)
    except ValueError:
        return Response(400, "The Host field names no port\n")
    page = PAGE.format(
        protocol=PROTOCOL, client=html.escape(client), netcat=html.escape(netcat), help=html.escape(HELP)
    )
    return Response(200, page, PAGE_HEADERS, content_type="text/html; charset=utf-8")


def speaks_line_chat(request: Request) -> bool:
    return PROTOCOL in (protocol.lower() for protocol in request.upgrade)


def make_server() -> Server:
    """A server with a chat of its own."""
    return Server(on_request, on_upgrade=partial(take_part, Chat()), should_upgrade=speaks_line_chat)


server = make_server()


def this_python() -> str:
    """What to type to start the Python that runs this, which may be that of a virtual environment."""
    path = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if path.startswith(os.pardir) else path)


def print_ways_in(urls: list[str]) -> None:
    address = urlsplit(urls[0])
    client, netcat = ways_in(address.hostname or "localhost", address.port or 80, this_python())
    print(f"Line chat on {' and '.join(urls)} (Ctrl-C to stop). Join from another terminal:")
    print(f"  {client}")
    print("or, with no client at all (Ctrl-C leaves):")
    print(f"  {netcat}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="line_chat", description="A chat server over an HTTP upgrade.")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    args = parser.parse_args()
    try:
        trio_upgrade.run(server, args.port, host=args.host, on_listening=print_ways_in)
    except OSError as exc:
        sys.exit(f"line_chat: cannot listen on {args.host}:{args.port}: {exc}")


if __name__ == "__main__":
    main()
