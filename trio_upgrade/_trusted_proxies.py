"""Who the client is, and what it has asked for, seen through the proxies that one trusts."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ._printable import printable
from ._request_head import is_authority

__all__ = ["TrustedProxies", "address_of", "name_of"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 32  # proxies in a row; no chain has so many

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


MAPPED = "::ffff:"  # how an IPv6 socket that takes IPv4, too, spells the address of an IPv4 peer


def address_of(peername: Any) -> str | None:
    """The IP address in what `getpeername` gives for an IP socket; None for any other peer.

    The address of an IPv4 peer is that, whichever kind of socket took the connection: "127.0.0.1", and not
    "::ffff:127.0.0.1" (RFC 4291 section 2.5.5.2).
    """
    if not isinstance(peername, tuple):
        return None
    address = peername[0]
    if not isinstance(address, str):
        return None  # a socket of another family, such as AF_VSOCK
    return address[len(MAPPED) :] if address.startswith(MAPPED) and "." in address else address


def name_of(peername: Any) -> str:
    """What a log calls a peer: its IP address and port, "unix" with its path if it has one, or "memory"."""
    if peername is None:
        return "memory"
    if isinstance(peername, str | bytes):  # the path is chosen by the peer
        return printable(f"unix:{os.fsdecode(peername)}" if peername else "unix")
    address = address_of(peername)
    if address is None or len(peername) < 2:
        return printable(str(peername))
    return printable(f"[{address}]:{peername[1]}" if ":" in address else f"{address}:{peername[1]}")


class Seen(NamedTuple):
    """What proxies tell. Each is None if they do not tell it.

    Attributes:
      client: the client's address.
      scheme: "http" or "https".
      host: the host that the client has asked for, perhaps with a port.
    """

    client: str | None
    scheme: str | None
    host: str | None


class TrustedProxies:
    """The peers whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed.

    Args:
      networks: a list of IP networks or addresses, in the notation of `ipaddress.ip_network`; "unix"
        in it stands for whoever connects through a Unix socket.

    Attributes:
      items: the argument, as a tuple.

    Raises:
      TypeError: it is not a list of str.
      ValueError: an item is not a network.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        if isinstance(networks, str):
            raise TypeError("trusted_proxies takes a list of networks, not one string")
        if not isinstance(networks, Iterable):
            raise TypeError(f"trusted_proxies takes a list of networks, not {networks!r}")
        self.items = tuple(networks)
        if not all(isinstance(item, str) for item in self.items):
            raise TypeError(f"trusted_proxies takes a list of str, not {self.items!r}")
        self._unix = "unix" in self.items
        self._networks = [_network(item) for item in self.items if item != "unix"]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts_peer(self, peername: Any) -> bool:
        """Whether the other end of the connection is a trusted proxy."""
        if isinstance(peername, str | bytes):
            return self._unix
        address = _parse(address_of(peername) or "")
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def see_through(
        self, forwarded_for: Sequence[str], forwarded_proto: Sequence[str], forwarded_host: Sequence[str]
    ) -> Seen:
        """What the fields of a trusted peer tell: the values of X-Forwarded-For, -Proto and -Host.

        The client is the rightmost address that is not a trusted proxy's. Anybody may have written what
        is left of it. If a list has as many members as that of the addresses, its member in that
        address's place counts; otherwise its last one, which the nearest proxy wrote. What is more than
        `MAX_HOPS` from the right is not looked at.
        """
        addresses, schemes, hosts = map(_last_members, (forwarded_for, forwarded_proto, forwarded_host))
        client, place = None, len(addresses)
        for index, text in reversed(list(enumerate(addresses))):
            address = _parse(text)
            if address is None:
                break
            client, place = str(address), index
            if not self._trusts(address):
                break

        def written(members: list[str]) -> str:
            in_place = len(members) == len(addresses) and place < len(members)
            return members[place] if in_place else members[-1] if members else ""

        host = written(hosts)
        return Seen(client, SCHEMES.get(written(schemes).lower()), host if host and is_authority(host) else None)


def _last_members(values: Sequence[str]) -> list[str]:
    """The last members of a list, at most `MAX_HOPS`. Several fields may make it up."""
    members: list[str] = []
    for value in reversed(values):
        if (room := MAX_HOPS - len(members)) == 0:
            break
        parts = value.rsplit(",", room)[-room:]  # who wrote thousands of them costs no more than others
        members[:0] = [member for part in parts if (member := part.strip(" \t"))]
    return members


def _network(text: str) -> Network:
    """A network; one of IPv4 may also be written as IPv6 sockets spell it, such as "::ffff:10.0.0.0/104"."""
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _parse(text: str) -> Address | None:
    """An address as X-Forwarded-For may have it: bare, or with a port, or an IPv6 one in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
