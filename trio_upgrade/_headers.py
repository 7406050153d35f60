"""The fields of a message: reading a request's, checking those of a response."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, TypeAlias

__all__ = ["TOKEN", "FieldsArgument", "Headers", "encode_fields", "protocols", "tokens"]

FieldsArgument: TypeAlias = (
    Mapping[str, str]
    | Iterable[tuple[str, str]]
    | Iterable[tuple[bytes, bytes]]
    | Iterable[tuple[str | bytes, str | bytes]]
)

# RFC 9110 sections 5.1 and 5.5. obs-text is allowed, control characters other than HTAB are not.
TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]++"  # section 5.6.2
NAME = re.compile(TOKEN.encode())
PROTOCOL = re.compile(f"{TOKEN}(?:/{TOKEN})?")  # section 7.8
VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


class Headers(Mapping[str, str]):
    """The fields of a request's head, by name in any case.

    `headers[name]` joins the values of several fields of that name with ", " (RFC 9110 section
    5.3). Names and values are str, decoded as latin-1, which loses nothing. Iterating gives each
    name once, in lower case.

    Args:
      section: the lines of the fields, each with CRLF behind it, and CRLF in front of the first.
    """

    # The bytes, and no index: a handler looks up few names, and connections that live long keep them.
    __slots__ = ("_index", "_section")

    def __init__(self, section: bytes) -> None:
        self._section = section
        self._index: dict[str, list[str]] | None = None  # made when somebody wants all of them

    @classmethod
    def of(cls, fields: Iterable[tuple[bytes, bytes]]) -> Self:
        """Fields that were parsed already."""
        return cls(b"\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields))

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields as they came, as pairs of bytes, in their order and spelling.

        Only the Host that an absolute target tells stands first.
        """
        lines = (line.partition(b":") for line in self._section.splitlines()[1:])
        return tuple((name, value.strip(b" \t")) for name, _, value in lines)

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._indexed())

    def __len__(self) -> int:
        return len(self._indexed())

    def _indexed(self) -> dict[str, list[str]]:
        if self._index is None:
            self._index = {}
            for name, value in self.raw:
                self._index.setdefault(name.lower().decode("latin-1"), []).append(value.decode("latin-1"))
        return self._index

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"  # no values: they hold cookies and passwords

    def get_list(self, name: str) -> list[str]:
        """The values of all fields of that name, one an item, in their order."""
        if self._index is not None:
            return list(self._index.get(name.lower(), ()))
        if ":" in name:
            return []  # no name has one
        section, lowered = self._section, self._section.lower()
        wanted = b"\r\n%b:" % name.lower().encode("latin-1", "replace")
        values = []
        at = lowered.find(wanted)
        while at >= 0:
            begin = at + len(wanted)
            end = section.index(b"\r\n", begin)
            values.append(section[begin:end].strip(b" \t").decode("latin-1"))
            at = lowered.find(wanted, end)
        return values


def tokens(value: str) -> list[str]:
    """The members of a comma-separated list (RFC 9110 section 5.6.1), as they are written."""
    return [member for part in value.split(",") if (member := part.strip(" \t"))]


def protocols(value: str) -> list[str]:
    """The protocols that an Upgrade field offers, as they are written; what is malformed offers none."""
    return [member for member in tokens(value) if PROTOCOL.fullmatch(member)]


def encode_fields(fields: FieldsArgument) -> list[tuple[bytes, bytes]]:
    """Check the fields of a message that we send.

    Raises:
      TypeError: a name or a value is neither str nor bytes.
      ValueError: a name is not a token; a value holds CR, LF, NUL or another control character,
        or a character outside latin-1, or begins or ends with white space; or the field frames
        the message, which is done here.
    """
    pairs: Iterable[tuple[str | bytes, str | bytes]] = fields.items() if isinstance(fields, Mapping) else fields
    encoded = []
    for name, value in pairs:
        raw_name, raw_value = _encode(name, "the name of a field"), _encode(value, f"the value of {name!r}")
        if not NAME.fullmatch(raw_name):
            raise ValueError(f"not a field name: {name!r}")
        if not VALUE.fullmatch(raw_value):
            raise ValueError(f"the value of {name!r} has a character that no field may have, or space around it")
        if raw_name.lower() == b"transfer-encoding":
            raise ValueError("Transfer-Encoding is chosen by the server, not by a handler")
        encoded.append((raw_name, raw_value))
    return encoded


def _encode(text: object, what: str) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str or bytes, not {text!r}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a character that is not in latin-1") from None
