"""The smallest upgrade server: whatever arrives on the upgraded stream goes back."""

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream


async def on_request(request: Request) -> Response:
    return Response(200, "Upgrade to `echo` on /echo to hear yourself.\n")


async def on_upgrade(request: Request, stream: UpgradedStream) -> None:
    await request.accept("echo")
    async for data in stream:
        await stream.send_all(data)


server = Server(on_request, on_upgrade=on_upgrade, should_upgrade=lambda request: "echo" in request.upgrade)

if __name__ == "__main__":
    trio_upgrade.run(server)
