"""The access log: a line for each response, in the combined format that log analysers know.

Its logger, `trio_upgrade.access`, is off until somebody sets its level to INFO.
"""

from __future__ import annotations

import logging
import re
import time

from ._request import Request

__all__ = ["is_on", "log_response", "log_upgraded"]

logger = logging.getLogger("trio_upgrade.access")
logger.setLevel(logging.WARNING)

UNSAFE = re.compile(r"[^ !#-\[\]-~]")  # what could end a quoted string, or forge a line


def is_on() -> bool:
    """Whether anybody wants the lines."""
    return logger.isEnabledFor(logging.INFO)


def log_response(to: Request | str | None, status: int, size: int) -> None:
    """Log a response.

    Args:
      to: the request; if what it answers was not a request, the client's IP address, or None.
      size: how many bytes of content went over the wire.
    """
    logger.info("%s", _line(to, status, size))


def log_upgraded(request: Request, received: int, sent: int, seconds: float) -> None:
    """Log the end of an upgraded stream, through which so many bytes went each way, after both heads and the body."""
    status = 200 if request.method == "CONNECT" else 101
    logger.info("%s in=%d out=%d seconds=%.3f", _line(request, status, sent), received, sent, seconds)


def _line(to: Request | str | None, status: int, size: int) -> str:
    now = time.strftime("%d/%b/%Y:%H:%M:%S %z")
    if not isinstance(to, Request):
        return f'{to or "-"} - - [{now}] "-" {status} {size} "-" "-"'
    request = to
    line = f"{request.method} {request.target} HTTP/{request.http_version}"
    referer, agent = (_quoted(", ".join(request.headers.get_list(name)) or "-") for name in ("referer", "user-agent"))
    return f"{request.client or '-'} - - [{now}] {_quoted(line)} {status} {size} {referer} {agent}"


def _quoted(text: str) -> str:
    return f'"{UNSAFE.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
