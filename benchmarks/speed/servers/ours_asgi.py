"""trio-upgrade with an ASGI application, with its default settings."""

from __future__ import annotations

import trio

import trio_upgrade
from trio_upgrade import asgi

from .asgi import Application
from .place import Place


def serve(place: Place) -> None:
    app = Application(place, trio.Event)
    trio_upgrade.run(asgi.server(app), port=place.port, ssl_context=place.context())
