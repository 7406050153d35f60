"""WebSocket (RFC 6455), with compression (RFC 7692), over the upgraded stream.

    async def chat(ws: websocket.WebSocket[str]) -> None:
        async for message in ws:
            await ws.send(message)

    server = Server(on_upgrade=websocket.handler(chat, message_type=str), should_upgrade=websocket.is_handshake)

It needs the extra `trio-upgrade[websocket]`: the `websockets` package, of which it uses the parts without I/O.
"""

try:
    import websockets as _websockets  # noqa: F401
except ImportError as exc:
    raise ImportError(
        "trio_upgrade.websocket needs the package websockets: pip install 'trio-upgrade[websocket]'"
    ) from exc

from ._accept import accept, handler
from ._broadcast import broadcast
from ._channel import WebSocket
from ._errors import ConnectionClosed, HandshakeError
from ._handshake import check_handshake, is_handshake

__all__ = [
    "ConnectionClosed",
    "HandshakeError",
    "WebSocket",
    "accept",
    "broadcast",
    "check_handshake",
    "handler",
    "is_handshake",
]
