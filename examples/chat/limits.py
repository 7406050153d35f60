"""How much one may do: a connection by itself, and all those from one address together."""

import ipaddress
from collections import OrderedDict

import trio

__all__ = ["Allowance", "Allowances"]

ADDRESSES = 10_000  # that are remembered


class Allowance:
    """How much somebody may still do: it fills at `rate` a second, up to `burst`."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = trio.current_time()

    def take(self) -> float:
        """Use up one. Returns 0, or for how many seconds to wait first."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0


class Allowances:
    """One for each client address. Coming back on another connection does not fill it."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._known: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, address: str | None) -> float:
        """As `Allowance.take`. Clients without an address share one."""
        key = household(address)
        if key not in self._known:
            self._known[key] = Allowance(self._rate, self._burst)
        self._known.move_to_end(key)
        if len(self._known) > ADDRESSES:
            self._known.popitem(last=False)
        return self._known[key].take()


def household(address: str | None) -> str:
    """Whom an address belongs to: of IPv6, a household has 2**64."""
    if address is None or ":" not in address:
        return address or ""
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
