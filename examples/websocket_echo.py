"""The smallest WebSocket server: whatever arrives goes back."""

import trio_upgrade
from trio_upgrade import Server, websocket


async def echo(ws: websocket.WebSocket[str | bytes]) -> None:
    async for message in ws:
        await ws.send(message)


server = Server(on_upgrade=websocket.handler(echo), should_upgrade=websocket.is_handshake)

if __name__ == "__main__":
    trio_upgrade.run(server)
