"""The fields of a message: those of a request that was read, and those that a handler gives."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TypeAlias

__all__ = [
    "TOKEN",
    "FieldsArgument",
    "Headers",
    "encode_fields",
    "headers_of",
    "join_fields",
    "lowered_fields",
    "protocols",
    "tokens",
]

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
    """The fields of a message, by name in any case. It cannot be changed.

    `headers[name]` joins the values of several fields of that name with ", " (RFC 9110 section
    5.3); `get_list` gives them one by one, as `Set-Cookie` needs it. Names and values are str,
    decoded as latin-1, which loses nothing. Iterating gives each name once, in lower case.

    Args:
      fields: pairs of a name and a value, str or bytes, or a mapping. By default there are none.

    Raises:
      TypeError: a name or a value is neither str nor bytes.
      ValueError: a name is not a token, or a value has a character that no field may have.
    """

    # The bytes, and no index: a handler looks up few names, and connections that live long keep them.
    __slots__ = ("_index", "_section")

    def __init__(self, fields: FieldsArgument = ()) -> None:
        self._section = join_fields(encode_fields(fields))
        self._index: dict[str, list[str]] | None = None  # made when somebody wants all of them

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields as they came, as pairs of bytes, in their order and spelling.

        If the target of a request is absolute, its host comes first, in place of the Host field.
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


def lowered_fields(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The fields as `Headers.raw` gives them, with their names in lower case."""
    return [
        (name.lower(), value.strip(b" \t"))
        for name, _, value in [line.partition(b":") for line in headers._section.splitlines()[1:]]
    ]


def headers_of(section: bytes) -> Headers:
    """Fields that were checked already.

    Args:
      section: their lines, each with CRLF after it, and CRLF before the first.
    """
    headers = Headers.__new__(Headers)
    headers._section = section
    headers._index = None
    return headers


def join_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The section that `headers_of` takes."""
    return b"\r\n" + b"".join([b"%b: %b\r\n" % field for field in fields])


def tokens(value: str) -> list[str]:
    """The members of a comma-separated list (RFC 9110 section 5.6.1), as they are written."""
    return [member for part in value.split(",") if (member := part.strip(" \t"))]


def protocols(value: str) -> list[str]:
    """The protocols that an Upgrade field offers, as they are written; a malformed member is left out."""
    return [member for member in tokens(value) if PROTOCOL.fullmatch(member)]


def encode_fields(
    fields: FieldsArgument, forbidden: Container[bytes] = (), why: str = "is set by the server, not by a handler"
) -> list[tuple[bytes, bytes]]:
    """Check fields, and encode their names and values.

    Args:
      forbidden: names in lower case that a handler cannot give.
      why: it cannot.

    Raises:
      TypeError: a name or a value is neither str nor bytes.
      ValueError: a name is not a token, or forbidden; or a value holds CR, LF, NUL or another control
        character, or a character outside latin-1, or begins or ends with white space.
    """
    encoded = []
    for name, value in _pairs(fields):
        raw_name, raw_value = _encode(name, "the name of a field"), _encode(value, f"the value of {name!r}")
        if not NAME.fullmatch(raw_name):
            raise ValueError(f"not a field name: {name!r}")
        if not VALUE.fullmatch(raw_value):
            raise ValueError(f"the value of {name!r} has a character that no field may have, or space around it")
        if raw_name.lower() in forbidden:
            raise ValueError(f"{raw_name.decode()} {why}")
        encoded.append((raw_name, raw_value))
    return encoded


def _pairs(fields: FieldsArgument) -> Iterable[tuple[str | bytes, str | bytes]]:
    if isinstance(fields, Headers):
        return fields.raw  # which keeps several fields of one name apart
    if isinstance(fields, Mapping):
        return fields.items()
    if isinstance(fields, str | bytes):
        raise TypeError(f"fields are pairs or a mapping, not {fields!r}")
    pairs = list(fields)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"a field is a pair of a name and a value, not {pair!r}")
    return pairs


def _encode(text: object, what: str) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str or bytes, not {text!r}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a character that is not in latin-1") from None
