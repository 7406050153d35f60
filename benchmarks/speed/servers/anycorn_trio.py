"""anycorn, Hypercorn's fork, on trio."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import trio
from anycorn import Config
from anycorn import serve as serve_asgi

from .asgi import Application
from .place import Place


def serve(place: Place) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{place.port}"]
    config.loglevel = "critical"
    config.certfile = config.keyfile = place.certificate
    trio.run(partial(serve_asgi, cast(Any, Application(place, trio.Event)), config))
