"""Hypercorn's trio worker."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_asgi

from .asgi import application


def serve(port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "critical"
    trio.run(partial(serve_asgi, cast(Any, application), config))
