"""An ordinary client beside others: `python -m tests.stress.probe PORT SECONDS INTERVAL`.

In a process of its own, so that it measures the server and not its own program's other clients. It sends a
request once an interval, in turn on a connection that it keeps and on a new one, and prints as a line of JSON when
each was due and how many milliseconds it took from then on: a request that is late because the one before it was
slow counts as slow. And how late the machine woke this process where it slept: on an idle machine well below a
millisecond; on a busy one, this is in the other figures too.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

__all__ = ["Probed"]

REQUEST = b"GET /okay HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Probed:
    """What was measured.

    Attributes:
      due: when each request was, by `time.monotonic`, which all processes share.
      times: how long each took from then on, in milliseconds.
      late: by how much each sleep was too long, in milliseconds.
    """

    due: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


def ask(connection: socket.socket) -> None:
    """One request, and its whole response."""
    connection.sendall(REQUEST)
    reply = b""
    while not reply.endswith(b"\r\n\r\nokay\n"):
        data = connection.recv(4096)
        if not data:
            raise ConnectionError(f"the connection ended after {reply!r}")
        reply += data
    if not reply.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {reply!r}")


def probe(port: int, seconds: float, interval: float) -> Probed:
    """Ask for so many seconds, once an interval."""
    probed = Probed()
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 60) as kept:
        for number in range(int(seconds / interval)):
            due = begin + number * interval
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
                probed.late.append((time.monotonic() - due) * 1000)
            if number % 2:
                ask(kept)
            else:
                with socket.create_connection(("127.0.0.1", port), 60) as fresh:
                    ask(fresh)
            probed.due.append(due)
            probed.times.append((time.monotonic() - due) * 1000)
    return probed


if __name__ == "__main__":
    print(json.dumps(asdict(probe(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))))
