"""ASGI applications on Trio: HTTP, WebSocket and lifespan; and the raw upgraded stream, which ASGI does not have.

    async with asgi.server(app) as server:
        await server.serve_tcp(8000)

The command line and gunicorn take the bare application: `trio-upgrade module:app`.

An endpoint takes over the connection of a request that asks for an upgrade, or of a CONNECT, by `asgi.upgrade`.
"""

from ._lifespan import StartupFailed
from ._messages import ASGIApplication, Message, Receive, Scope, Send
from ._server import server
from ._upgrade import upgrade

__all__ = ["ASGIApplication", "Message", "Receive", "Scope", "Send", "StartupFailed", "server", "upgrade"]
