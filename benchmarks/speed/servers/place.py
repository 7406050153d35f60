"""Where a server serves, and the files it is given."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from ..answers import pieces

__all__ = ["Place"]


@dataclass
class Place:
    """Where a server serves, and the files it is given.

    Attributes:
      certificate: a file with its key and its certificate; None for plain TCP.
      file: the content of downloads; None if nobody asks for one.
      content: the same in memory.
      pieces: its first MiB in pieces, which the content repeats `repeated` times.
    """

    port: int
    certificate: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        self.content = b"" if self.file is None else Path(self.file).read_bytes()
        self.pieces = pieces(self.content)
        self.repeated = len(self.content) // max(1, sum(map(len, self.pieces)))

    def context(self) -> ssl.SSLContext | None:
        """What to speak TLS with; None for plain TCP."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        return context
