"""One person's connection: what they may send, how much, and how they are told.

The browser sends `{"type": "enter", "name", "room", "last", "session"}` once, and then
`{"type": "say", "uid", "text"}`. It gets `welcome`, `message`, `people` and `notice`.
"""

import json
import math
import unicodedata
from typing import Any

import trio

from trio_upgrade import websocket

from .rooms import Full, NameTaken, Person, Room, Rooms

__all__ = ["MAX_FRAME_SIZE", "serve"]

MAX_FRAME_SIZE = 32 * 1024  # bytes
MAX_TEXT = 2000  # characters of a message
MAX_NAME = 32
ENTER_TIMEOUT = 10  # seconds
RATE = 2.0  # messages a second, in the long run
BURST = 8  # messages at once
STRIKES = 30  # messages in a row that were too many, until it is enough

# Close codes that tell the page why it should not come back by itself.
REFUSED = 4000
TAKEN_OVER = 4001


class Refused(Exception):
    """This connection is to end, with a close code and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Allowance:
    """How much somebody may still say: it fills at `RATE`, up to `BURST`."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = trio.current_time()

    def take(self) -> float:
        """Use up one. Returns 0, or for how many seconds to wait first."""
        now = trio.current_time()
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / RATE
        self._left -= 1
        return 0


async def serve(rooms: Rooms, ws: websocket.WebSocket[str]) -> None:
    """Let somebody in, and listen to them until they leave."""
    try:
        with trio.fail_after(ENTER_TIMEOUT):
            person, room_name, last = parse_enter(await ws.receive(), ws)
        async with rooms.enter(person, room_name, last) as room:
            with person.leaving:
                await listen(room, person)
        if person.leaving.cancelled_caught:
            raise Refused(TAKEN_OVER, "You came in from another tab.")
    except trio.EndOfChannel:
        pass  # they left before they had come in
    except trio.TooSlowError:
        await ws.aclose(1008, "Nobody said who is coming in.")
    except NameTaken:
        await ws.aclose(REFUSED, "Somebody in this room has that name.")
    except Full as exc:
        await ws.aclose(1013, str(exc))
    except Refused as exc:
        await ws.aclose(exc.code, exc.reason)


async def listen(room: Room, person: Person) -> None:
    """Pass on what somebody says."""
    allowance = Allowance()
    strikes = 0
    async for frame in person.ws:
        uid, text = parse_say(frame)
        if problem := problem_with(text):
            person.tell(type="notice", code="unfit", text=problem, uid=uid)
        elif wait := allowance.take():
            strikes += 1
            if strikes > STRIKES:
                raise Refused(1008, "You write too much.")
            seconds = math.ceil(wait)
            notice = f"You are writing too fast. Wait {seconds} s."
            person.tell(type="notice", code="too-fast", text=notice, uid=uid, wait=wait)
        else:
            strikes = 0
            await room.say(person, uid, text)


def parse_enter(frame: str, ws: websocket.WebSocket[str]) -> tuple[Person, str, str]:
    """Who comes in, into which room, and the id of the last message they know."""
    fields = parse(frame, "enter", "name", "room", "last", "session")
    name, room = (clean_name(fields[key]) for key in ("name", "room"))
    if not name or not room:
        raise Refused(REFUSED, f"A name has 1 to {MAX_NAME} characters, and no unusual ones.")
    if not is_id(fields["last"]) or not is_uid(fields["session"]):
        raise Refused(1008, "This is not what the chat's page sends.")
    return Person(name, fields["session"], ws), room.casefold(), fields["last"]


def parse_say(frame: str) -> tuple[str, str]:
    """The uid and the text of a message."""
    fields = parse(frame, "say", "uid", "text")
    if not is_uid(fields["uid"]):
        raise Refused(1008, "This is not what the chat's page sends.")
    return fields["uid"], fields["text"].strip()


def parse(frame: str, expected: str, *keys: str) -> dict[str, str]:
    """The fields of a frame, all of them str."""
    fields: Any
    try:
        fields = json.loads(frame)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("type") != expected:
        raise Refused(1008, "This is not what the chat's page sends.")
    if not all(isinstance(fields.get(key), str) for key in keys):
        raise Refused(1008, "This is not what the chat's page sends.")
    return {key: fields[key] for key in keys}


def is_uid(text: str) -> bool:
    """Whether it looks like what `crypto.randomUUID` makes."""
    return 8 <= len(text) <= 64 and text.isascii() and text.replace("-", "").isalnum()


def is_id(text: str) -> bool:
    """Whether it is a message's id, or empty."""
    parts = text.split("-")
    return not text or (len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts))


def clean_name(text: str) -> str:
    """A name as it is shown and compared; "" where it cannot be one."""
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    if len(name) > MAX_NAME or not all(is_harmless(character) for character in name):
        return ""
    return name


def problem_with(text: str) -> str:
    """Why a message cannot be passed on, or ""."""
    if not text:
        return "There is nothing in this message."
    if len(text) > MAX_TEXT:
        return f"This message is too long: {len(text)} characters, where {MAX_TEXT} are allowed."
    if not all(is_harmless(character) for character in text.replace("\n", "").replace("\t", "")):
        return "This message has a character that cannot be shown."
    return ""


def is_harmless(character: str) -> bool:
    """Not a control character, a lone surrogate, or one that turns the direction of the text around it."""
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs") and character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
