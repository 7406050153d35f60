"""Server-Sent Events: a counter that every open page shows and can raise.

Run it with `python -m examples.server_sent_events`, and open its page in two windows.
"""

from collections.abc import AsyncGenerator

import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server

HEARTBEAT_INTERVAL = 15  # seconds without an event after which a comment is sent

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>A counter</title>
<style>body { font: 1.5rem/2 system-ui, sans-serif; text-align: center } button { font: inherit }</style>
<p><output>...</output></p>
<p><button>One more</button></p>
<script>
  const output = document.querySelector("output");
  const events = new EventSource("/events");
  events.onmessage = (event) => { output.textContent = event.data };
  events.onerror = () => { output.textContent = "..." };  // it connects again by itself
  document.querySelector("button").onclick = () => fetch("/more", { method: "POST" });
</script>
</html>
"""


class Counter:
    """A number that can be waited for."""

    def __init__(self) -> None:
        self.value = 0
        self._raised = trio.Event()

    def raise_by_one(self) -> None:
        self.value += 1
        self._raised.set()
        self._raised = trio.Event()

    async def wait_past(self, seen: int) -> None:
        """Wait until the number is another than `seen`."""
        while self.value == seen:
            await self._raised.wait()


@trio.as_safe_channel
async def follow(counter: Counter, server: Server) -> AsyncGenerator[bytes, None]:
    """The counter's value now and whenever it changes, until the server shuts down.

    Who reads slowly gets fewer values, and none late. The comments in between make the connection
    of a client that is gone fail.
    """
    seen = -1
    while not server.shutting_down.is_set():
        if seen != counter.value:
            seen = counter.value
            yield f"data: {seen}\n\n".encode()
        else:
            yield b": still here\n\n"
        with server.cancel_on_shutdown(), trio.move_on_after(HEARTBEAT_INTERVAL):
            await counter.wait_past(seen)


def make_server() -> Server:
    """A server with a counter of its own."""
    counter = Counter()

    async def on_request(request: Request) -> Response:
        match request.method, request.path:
            case (("GET" | "HEAD"), "/"):
                return Response(200, PAGE, content_type="text/html; charset=utf-8")
            case (("GET" | "HEAD"), "/events"):
                headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx is not to collect events
                return Response(200, follow(counter, request.server), headers, content_type="text/event-stream")
            case "POST", "/more":
                counter.raise_by_one()
                return Response(204)
        return Response(404, "Not Found\n")

    return Server(on_request)


server = make_server()

if __name__ == "__main__":
    trio_upgrade.run(server)
