"""One person's connection: what they may send, how much, and how they are told.

The browser sends `{"type": "enter", "name", "room", "last", "session"}` once. Then it says
something with `{"type": "say", "uid", "text"}`, and finds out whether anybody is there with
`{"type": "beat"}`, which is answered likewise. It gets `welcome` (who it is, who is there, what was
said), `message`, `joined`, `left`, `notice` about what it cannot say (or not yet), and `away` and `back`
when the store is.
"""

import json
import math
import re
from typing import Any

import trio

from trio_upgrade import websocket

from .limits import Allowance, Allowances
from .rooms import Person, Room, Rooms
from .store import Away, Full, NameTaken, TakenOver
from .words import MAX_NAME, clean_name, problem_with

__all__ = ["MAX_FRAME_SIZE", "Doorkeeper"]

MAX_FRAME_SIZE = 32 * 1024  # bytes
ENTER_TIMEOUT = 10  # seconds
RATE, BURST = 2, 8  # frames of a connection: a second in the long run, and at once
ADDRESS_RATE, ADDRESS_BURST = 10, 50  # frames of all connections from one address
ENTER_RATE, ENTER_BURST = 2, 30  # new connections from one address
STRIKES = 30  # frames in a row that were too many, until it is enough
AWAY_WAIT = 3  # seconds until it is worth sending again what the store did not take

# Close codes. Behind these, and behind 1008 and 1009, the page does not come back by itself.
NAME_REFUSED = 4000
ROOM_REFUSED = 4001
TAKEN_OVER = 4002
FULL = 4003
# Behind this one it does, after a while.
TRY_AGAIN_LATER = 1013

FIELDS = {"enter": ("name", "room", "last", "session"), "say": ("uid", "text"), "beat": ()}
UID = re.compile(r"[0-9A-Za-z-]{8,64}")  # what `crypto.randomUUID` makes, and the like
ID = re.compile(r"[0-9A-Za-z-]{0,64}")  # of a message, or none


class Refused(Exception):
    """This connection is to end, with a close code and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Doorkeeper:
    """Lets people into the rooms, and knows how much each address has done."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._entering = Allowances(ENTER_RATE, ENTER_BURST)
        self._saying = Allowances(ADDRESS_RATE, ADDRESS_BURST)

    async def serve(self, ws: websocket.WebSocket[str]) -> None:
        """Let somebody in, and listen to them until they leave."""
        try:
            if self._entering.take(ws.request.client):
                raise Refused(TRY_AGAIN_LATER, "Too many come in from your address.")
            person, room_name, last = parse_enter(await first_frame(ws), ws)
            async with self._rooms.enter(person, room_name, last) as room:
                with person.leaving:
                    await self._listen(room, person)
            if person.leaving.cancelled_caught and person.why is not None:
                raise person.why
        except trio.EndOfChannel:
            pass  # they left before they had come in
        except NameTaken:
            await ws.aclose(NAME_REFUSED, "Somebody in this room has that name.")
        except TakenOver:
            await ws.aclose(TAKEN_OVER, "You came in from another tab.")
        except Away:
            await ws.aclose(TRY_AGAIN_LATER, "The chat is away for a moment.")
        except Full as exc:
            await ws.aclose(FULL, str(exc))
        except Refused as exc:
            await ws.aclose(exc.code, exc.reason)

    async def _listen(self, room: Room, person: Person) -> None:
        """Pass on what somebody says. Every frame counts, whatever is in it."""
        allowance = Allowance(RATE, BURST)
        strikes = 0
        async for frame in person.ws:
            fields = parse(frame, "say", "beat")
            wait = allowance.take()
            strikes = strikes + 1 if wait else 0
            if strikes > STRIKES:
                raise Refused(1008, "You write too much.")
            wait = wait or self._saying.take(person.ws.request.client)
            if fields["type"] == "beat":
                person.tell(type="beat")
            else:
                await answer(room, person, fields["uid"], fields["text"].strip(), wait)


async def answer(room: Room, person: Person, uid: str, text: str, wait: float) -> None:
    """Pass on a message, or tell its sender why not."""
    if not UID.fullmatch(uid):
        raise nonsense()
    if wait:
        notice = f"You are writing too fast. Wait {math.ceil(wait)} s."
        person.tell(type="notice", code="too-fast", text=notice, uid=uid, wait=wait)
    elif problem := problem_with(text):
        person.tell(type="notice", code="unfit", text=problem, uid=uid)
    else:
        try:
            await room.say(person, uid, text)
        except Away:
            notice = "This will be sent once the chat is back."
            person.tell(type="notice", code="away", text=notice, uid=uid, wait=AWAY_WAIT)


async def first_frame(ws: websocket.WebSocket[str]) -> str:
    try:
        with trio.fail_after(ENTER_TIMEOUT):
            return await ws.receive()
    except trio.TooSlowError:
        raise Refused(1008, "Nobody said who is coming in.") from None


def parse_enter(frame: str, ws: websocket.WebSocket[str]) -> tuple[Person, str, str]:
    """Who comes in, into which room, and the id of the last message they know."""
    fields = parse(frame, "enter")
    if not UID.fullmatch(fields["session"]) or not ID.fullmatch(fields["last"]):
        raise nonsense()
    name, room = clean_name(fields["name"]), clean_name(fields["room"]).casefold()
    if not name:
        raise Refused(NAME_REFUSED, f"A name has 1 to {MAX_NAME} characters, and no invisible ones.")
    if not room:
        raise Refused(ROOM_REFUSED, f"A room has a name of 1 to {MAX_NAME} characters, and no invisible ones.")
    return Person(name, fields["session"], ws), room, fields["last"]


def parse(frame: str, *expected: str) -> dict[str, str]:
    """The fields of a frame of one of the expected types, all of them str."""
    fields: Any
    try:
        fields = json.loads(frame)
    except (ValueError, RecursionError):
        raise nonsense() from None
    if not isinstance(fields, dict) or fields.get("type") not in expected:
        raise nonsense()
    if not all(isinstance(fields.get(key), str) for key in FIELDS[fields["type"]]):
        raise nonsense()
    return fields


def nonsense() -> Refused:
    return Refused(1008, "This is not what the chat's page sends.")
