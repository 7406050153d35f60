"""What may be a name, and what may be a message: nothing that cannot be seen, or that deceives."""

import unicodedata

__all__ = ["MAX_NAME", "MAX_TEXT", "clean_name", "problem_with"]

MAX_NAME = 32  # characters
MAX_TEXT = 2000
MAX_MARKS = 2  # accents on top of each other, in a name

JOINER = "\u200d"
VARIATIONS = set(map(chr, range(0xFE00, 0xFE10)))  # U+FE0F: show the character before it as an emoji
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they turn the direction of the text around

# Shown as nothing, although their categories are those of letters, marks and symbols.
BLANK = {
    *"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0",
    *map(chr, [*range(0x180B, 0x1810), *range(0xE0100, 0xE01F0)]),
    *VARIATIONS,
}


def clean_name(text: str) -> str:
    """A name as it is shown and compared; "" where it cannot be one."""
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    marks = 0
    for before, character, after in zip(" " + name, name, name[1:] + " ", strict=False):
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if marks > MAX_MARKS:
            return ""
        if character in VARIATIONS and is_symbol(before):
            continue
        if character == JOINER and (is_symbol(before) or before in VARIATIONS) and is_symbol(after):
            continue
        if category in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in BLANK:
            return ""
    return name if len(name) <= MAX_NAME and is_seen(name, "LNS") else ""


def problem_with(text: str) -> str:
    """Why a message cannot be passed on, or ""."""
    if len(text) > MAX_TEXT:
        return f"This message is too long: {len(text)} characters, where {MAX_TEXT} are allowed."
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in TURNING for c in text if c not in "\n\t"):
        return "This message has a character that cannot be shown."
    if not is_seen(text, "LNPS"):
        return "There is nothing in this message."
    return ""


def is_symbol(character: str) -> bool:
    """Whether it can be a part of an emoji that others are joined to."""
    return unicodedata.category(character)[0] == "S"


def is_seen(text: str, kinds: str) -> bool:
    """Whether it has a character of these kinds: of letters, numbers, punctuation and symbols."""
    return any(unicodedata.category(c)[0] in kinds and c not in BLANK for c in text)
