"""What the browser loads: the page, its style and its script, from memory; and what an operator asks for.

`/healthz` says whether this process takes connections, and `/metrics` has its figures for Prometheus,
who may ask from this machine and from the networks in CHAT_METRICS_FROM, which are separated by spaces.
"""

import hashlib
import os
from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

from trio_upgrade import Request, Response
from trio_upgrade.prometheus import LOCAL, Metrics

__all__ = ["CHAT_PATH", "on_request"]

CHAT_PATH = "/chat"  # of the WebSocket; main.js has it too

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# Nothing from elsewhere, nothing inline: were a name or a message ever taken for markup, it could do nothing.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = [
    ("Content-Security-Policy", POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class Page(NamedTuple):
    """A file, ready to be sent."""

    tag: str
    whole: Response
    unchanged: Response


def load() -> dict[str, Page]:
    """The files of `static`, by their paths."""
    pages = {}
    for file in (resources.files(__package__) / "static").iterdir():
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        headers = [*HEADERS, ("Cache-Control", "no-cache"), ("ETag", tag)]
        whole = Response(200, content, headers, content_type=TYPES[file.name.rpartition(".")[2]])
        pages[f"/{file.name}"] = Page(tag, whole, Response(304, headers=headers))
    pages["/"] = pages.pop("/index.html")
    return pages


PAGES = load()

try:
    metrics = Metrics([*LOCAL, *os.environ.get("CHAT_METRICS_FROM", "").split()])
except ValueError as exc:
    raise SystemExit(f"chat: CHAT_METRICS_FROM: {exc}") from None


def health(request: Request) -> Response:
    """Whether to send people here.

    It asks for nothing that all nodes share: were they all called ill at once, nobody would be left to
    tell people what is wrong.
    """
    headers = [("Cache-Control", "no-store")]
    if request.server.shutting_down.is_set():
        return Response(503, "shutting down\n", headers)
    return Response(200, "ok\n", headers)


OPERATORS: dict[str, Callable[[Request], Response]] = {"/healthz": health, "/metrics": metrics}


async def on_request(request: Request) -> Response:
    """Answer whatever is not the chat's WebSocket."""
    path = request.path
    if path not in PAGES and path not in OPERATORS:
        if path == CHAT_PATH:
            return Response(426, "This is the chat's WebSocket.\n", [*HEADERS, ("Upgrade", "websocket")])
        return Response(404, "There is no such page.\n", HEADERS)
    if request.method not in ("GET", "HEAD"):
        return Response(405, "This page can only be read.\n", [*HEADERS, ("Allow", "GET, HEAD")])
    if path in OPERATORS:
        return OPERATORS[path](request)
    page = PAGES[path]
    return page.unchanged if page.tag in tags(request.headers.get_list("if-none-match")) else page.whole


def tags(values: list[str]) -> list[str]:
    """The tags that a browser knows; a proxy that compresses has made them weak (RFC 9110 section 13.1.2)."""
    return [tag.strip().removeprefix("W/") for value in values for tag in value.split(",")]
