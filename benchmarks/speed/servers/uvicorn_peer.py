"""uvicorn: with h11 on asyncio, or with httptools on uvloop."""

from __future__ import annotations

from typing import Literal

import uvicorn

from .asgi import application


def serve(port: int, parser: Literal["h11", "httptools"]) -> None:
    uvicorn.run(
        application,
        port=port,
        http=parser,
        loop="uvloop" if parser == "httptools" else "asyncio",
        log_level="critical",
        access_log=False,
        ws_per_message_deflate=False,
    )
