"""The bytes that a client sends and expects; no I/O.

Frames are built once, before anything is timed, and a reply is compared with what it must be, byte for byte.
"""

from __future__ import annotations

import base64

from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

__all__ = ["BODY", "KEYS", "Wrong", "check_body", "check_switch", "client_frame", "complete_length"]
__all__ += ["get", "payloads", "post", "server_frame", "upgrade"]

BODY = b"hello"  # what every server answers to GET /
VARIETY = 7  # so many different messages follow one another: an old reply, or another connection's, is noticed
KEYS = [base64.b64encode(bytes([number] * 16)).decode() for number in range(VARIETY)]


class Wrong(Exception):
    """The server answered something else than it must, or not at all."""


# ---- requests


def get(target: str = "/", fields: str = "") -> bytes:
    """A request without a body."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmarks\r\n{fields}\r\n".encode()


def post(size: int, chunk: int = 0, target: str = "/") -> bytes:
    """A request with a body of so many bytes; the server answers with that number.

    Args:
      chunk: the size of the body's chunks; 0 for a body with a Content-Length.
      target: "/upload" for a body that is not kept in memory.
    """
    framing = "Transfer-Encoding: chunked" if chunk else f"Content-Length: {size}"
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmarks\r\n{framing}\r\n\r\n".encode()
    if chunk == 0:
        return head + bytes(size)
    return head + b"%x\r\n%b\r\n" % (chunk, bytes(chunk)) * (size // chunk) + b"0\r\n\r\n"


def upgrade(protocol: str, target: str = "/", key: str = KEYS[0], body: bytes = b"") -> bytes:
    """An upgrade request. To the protocol `websocket` it is a handshake (RFC 6455 section 4.1) with that key."""
    fields = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
    if protocol == "websocket":
        fields += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    if body:
        fields += f"Content-Length: {len(body)}\r\n"
    return get(target, fields) + body


# ---- responses


def complete_length(data: bytes) -> int | None:
    """How long the response that `data` begins is, by its Content-Length; None while its head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    _, headers = _parse(data[: end + 2])
    return end + 4 + int(headers.get("content-length", "0"))


def check_body(response: bytes) -> None:
    """The response to GET / has status 200 and the body it must have.

    Raises:
      Wrong: it has not.
    """
    head, _, body = response.partition(b"\r\n\r\n")
    status, _ = _parse(head)
    if status != 200:
        raise Wrong(f"status {status} instead of 200")
    if body != BODY:
        raise Wrong(f"body {body[:80]!r} instead of {BODY!r}")


def check_switch(response: bytes, protocol: str, key: str) -> None:
    """The response to `upgrade` is a 101 to that protocol, with nothing after it.

    Raises:
      Wrong: it is not, or its Sec-WebSocket-Accept is not this key's.
    """
    head, _, rest = response.partition(b"\r\n\r\n")
    status, headers = _parse(head)
    if status != 101:
        raise Wrong(f"status {status} instead of 101")
    if headers.get("upgrade", "").lower() != protocol or "upgrade" not in headers.get("connection", "").lower():
        raise Wrong(f"a 101 that does not switch to {protocol}: {head!r}")
    if protocol == "websocket" and headers.get("sec-websocket-accept") != accept_key(key):
        raise Wrong(f"Sec-WebSocket-Accept {headers.get('sec-websocket-accept')!r} instead of {accept_key(key)!r}")
    if rest:
        raise Wrong(f"{rest[:80]!r} after the 101")


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if version != "HTTP/1.1" or not rest[:3].isdigit():
        raise Wrong(f"{first[:80]!r} is not a status line")
    fields = (line.partition(":") for line in lines if line)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in fields}


# ---- messages


def payloads(size: int) -> list[bytes]:
    """As many messages of this size, each different from the others from its first byte to its last."""
    return [bytes([ord("a") + number]) * size for number in range(VARIETY)]


def server_frame(payload: bytes) -> bytes:
    """The payload as a server's binary frame (RFC 6455 section 5.2)."""
    return Frame(Opcode.BINARY, payload).serialize(mask=False)


def client_frame(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """The payload as a client's frame, which is masked (RFC 6455 section 5.3)."""
    return Frame(opcode, payload).serialize(mask=True)
