"""The bytes that a client sends and expects; no I/O.

Frames are built once, before anything is timed, and a reply is compared with what it must be, byte for byte.
"""

from __future__ import annotations

import base64

from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from .answers import BODY, BODY_LENGTH, FIELDS

__all__ = ["KEYS", "LAST_CHUNK", "VARIETY", "Wrong", "check_body", "check_body_length", "check_fields", "check_switch"]
__all__ += [
    "chunks",
    "client_frame",
    "complete_length",
    "get",
    "head_of",
    "payloads",
    "post",
    "request",
    "server_frame",
]
__all__ += ["upgrade"]

VARIETY = 7  # so many different messages follow one another: an old reply, or another connection's, is noticed
KEYS = [base64.b64encode(bytes([number] * 16)).decode() for number in range(VARIETY)]


class Wrong(Exception):
    """The server answered something else than it must, or not at all."""


# ---- requests


LAST_CHUNK = b"0\r\n\r\n"


def request(method: str, target: str, fields: str = "") -> bytes:
    """The head of a request."""
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmarks\r\n{fields}\r\n".encode()


def get(target: str = "/", fields: str = "") -> bytes:
    """A request without a body."""
    return request("GET", target, fields)


def chunks(data: bytes, size: int) -> bytes:
    """The data in chunks of this size, and none that ends it (RFC 9112 section 7.1)."""
    parts = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def post(body: bytes, chunk: int | None = None, target: str = "/") -> bytes:
    """A request with a body; the server answers with its length.

    Args:
      chunk: how many bytes of the body are in a chunk; None sends a Content-Length.
      target: "/" for a body that is read at once, "/upload" for one that is read in pieces.
    """
    if chunk is None:
        return request("POST", target, f"Content-Length: {len(body)}\r\n") + body
    return request("POST", target, "Transfer-Encoding: chunked\r\n") + chunks(body, chunk) + LAST_CHUNK


def upgrade(protocol: str, target: str = "/", key: str = KEYS[0], body: bytes = b"") -> bytes:
    """An upgrade request. To the protocol `websocket` it is a handshake (RFC 6455 section 4.1) with that key."""
    fields = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
    if protocol == "websocket":
        fields += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    if not body:
        return get(target, fields)
    return request("POST", target, f"{fields}Content-Length: {len(body)}\r\n") + body


# ---- responses


def complete_length(data: bytes) -> int | None:
    """How long the response that `data` begins is, by its Content-Length; None while its head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    _, headers = head_of(data[: end + 2])
    return end + 4 + int(headers.get("content-length", "0"))


def check_body(response: bytes, expected: bytes = BODY) -> None:
    """A response has status 200 and the body it must have: by default that of GET /.

    Raises:
      Wrong: it has not.
    """
    head, _, body = response.partition(b"\r\n\r\n")
    status, _ = head_of(head)
    if status != 200:
        raise Wrong(f"status {status} instead of 200")
    if body != expected:
        raise Wrong(f"body {body[:80]!r} instead of {expected!r}")


def check_fields(response: bytes) -> None:
    """The response to GET /fields has, besides, all the fields it must have.

    Raises:
      Wrong: it has not.
    """
    check_body(response)
    _, headers = head_of(response.partition(b"\r\n\r\n")[0])
    for name, value in FIELDS:
        if headers.get(name) != value:
            raise Wrong(f"{name}: {headers.get(name)!r} instead of {value!r}")


def check_switch(response: bytes, protocol: str, key: str) -> None:
    """The response to `upgrade` is a 101 to that protocol, with nothing after it.

    Raises:
      Wrong: it is not, or its Sec-WebSocket-Accept is not this key's.
    """
    head, _, rest = response.partition(b"\r\n\r\n")
    status, headers = head_of(head)
    if status != 101:
        raise Wrong(f"status {status} instead of 101")
    if headers.get("upgrade", "").lower() != protocol or "upgrade" not in headers.get("connection", "").lower():
        raise Wrong(f"a 101 that does not switch to {protocol}: {head!r}")
    if protocol == "websocket" and headers.get("sec-websocket-accept") != accept_key(key):
        raise Wrong(f"Sec-WebSocket-Accept {headers.get('sec-websocket-accept')!r} instead of {accept_key(key)!r}")
    if rest:
        raise Wrong(f"{rest[:80]!r} after the 101")


def check_body_length(response: bytes, protocol: str, length: int) -> None:
    """The response to `upgrade` with a body is a 101 that tells its length.

    Raises:
      Wrong: it does not.
    """
    check_switch(response, protocol, KEYS[0])
    _, headers = head_of(response.partition(b"\r\n\r\n")[0])
    if headers.get(BODY_LENGTH) != str(length):
        raise Wrong(f"{BODY_LENGTH} {headers.get(BODY_LENGTH)} instead of {length}")


def head_of(head: bytes) -> tuple[int, dict[str, str]]:
    """The status and the fields of a response, by their names in lower case.

    Raises:
      Wrong: it does not begin as one of HTTP/1.1.
    """
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
