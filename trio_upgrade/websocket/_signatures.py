"""One list of the options for all functions that take them: `Options`, which `help` and type checkers are told of.

`Options` has the names, the types and the defaults. What a function takes as `**options` is checked against it, and
`inspect.signature` and `help` show each of its options, as if the function named them itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ._options import Options

__all__ = ["make_options", "with_options"]

F = TypeVar("F", bound=Callable[..., Any])

PARAMETERS = [
    inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
    for each in dataclasses.fields(Options)
    if each.init
]
NAMES = [parameter.name for parameter in PARAMETERS]

# What other packages call these options. One that is spelled a little differently is found without this table.
CALLED_ELSEWHERE = {
    "allow_origins": "origins",
    "allowed_origins": "origins",
    "check_origin": "origins",
    "compress": "compression",
    "compression_options": "compression",
    "extra_headers": "headers",
    "heartbeat": "ping_interval",
    "max_msg_size": "max_message_size",
    "max_payload": "max_message_size",
    "max_queue": "receive_buffer",
    "max_size": "max_message_size",
    "per_message_deflate": "compression",
    "protocols": "subprotocols",
    "read_limit": "receive_buffer",
    "select_subprotocol": "subprotocols",
    "timeout": "close_timeout",
    "write_limit": "send_buffer",
}


def with_options(function: F) -> F:
    """Show the options in the signature of a function, in place of its `**options`."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *PARAMETERS])  # type: ignore[attr-defined]
    return function


def make_options(function: str, given: Mapping[str, Any]) -> Options:
    """Check the options that a function was given.

    Args:
      function: its name, for errors.
      given: the options by name.

    Raises:
      TypeError: there is no such option, or one has the wrong type.
      ValueError: an option has an invalid value.
    """
    for name in given:
        if name not in NAMES:
            raise TypeError(f"{function} has no option {name!r}{suggestion(name)}")
    return Options(**given)


def suggestion(name: str) -> str:
    """What may have been meant by the name of an option that does not exist."""
    close = [CALLED_ELSEWHERE[name]] if name in CALLED_ELSEWHERE else difflib.get_close_matches(name, NAMES, n=1)
    return f": do you mean {close[0]!r}?" if close else f"; it has {', '.join(NAMES)}"
