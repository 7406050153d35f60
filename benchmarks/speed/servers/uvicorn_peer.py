"""uvicorn: with h11 on asyncio, or with httptools on uvloop."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

import uvicorn

from .asgi import Application
from .place import Place


def serve(place: Place, parser: Literal["h11", "httptools"]) -> None:
    uvicorn.run(
        cast(Any, Application(place, asyncio.Event)),
        port=place.port,
        http=parser,
        loop="uvloop" if parser == "httptools" else "asyncio",
        log_level="critical",
        access_log=False,
        ws_per_message_deflate=False,
        ssl_certfile=place.certificate,
    )
