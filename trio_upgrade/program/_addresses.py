"""The addresses that a program tells its operator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import trio

__all__ = ["OpenListener", "addresses_of", "print_addresses"]

OpenListener: TypeAlias = trio.SocketListener | trio.SSLListener[trio.SocketStream]


def addresses_of(listeners: Iterable[OpenListener]) -> list[str]:
    """Return an address for each listener, such as "http://127.0.0.1:8000" or "unix:/run/chat/socket"."""
    return [_address_of(listener) for listener in listeners]


def print_addresses(addresses: Sequence[str]) -> None:
    """Print a line for each address."""
    for address in addresses:
        print(f"Serving on {address} (Ctrl-C to stop)", flush=True)


def _address_of(listener: OpenListener) -> str:
    if isinstance(listener, trio.SSLListener):
        scheme, below = "https", listener.transport_listener
        assert isinstance(below, trio.SocketListener)
    else:
        scheme, below = "http", listener
    name = below.socket.getsockname()
    if not isinstance(name, tuple):
        # An abstract Unix address begins with a null byte, which /proc/net/unix shows as "@".
        return f"unix:{os.fsdecode(name)}".replace("\0", "@", 1)
    host, port = name[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
