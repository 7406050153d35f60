"""A server's figures for Prometheus, in the formats of its client library.

    from trio_upgrade.prometheus import Metrics

    metrics = Metrics()

    async def on_request(request):
        if request.path == "/metrics":
            return metrics(request)

It costs nothing until somebody asks: the server counts these things anyway. A request then takes
time in proportion to the connections that are open.

The figures are those of one process. If several processes serve one port, the one that accepts the
connection answers. So give each process a port of its own for its figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

try:
    from prometheus_client import REGISTRY, CollectorRegistry
except ImportError as exc:
    raise ImportError(
        "trio_upgrade.prometheus needs the package prometheus-client: pip install 'trio-upgrade[prometheus]'"
    ) from exc
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ._request import Request
from ._response import Response
from ._server import Server
from ._trusted_proxies import TrustedProxies

__all__ = ["LOCAL", "Metrics", "ServerCollector"]

LOCAL = ("127.0.0.0/8", "::1", "unix")
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")  # a proxy adds one of these

STATES = ("idle", "active", "upgraded")

# The name of each counter, without its `_total`; the field of `Statistics`; and what it counts.
COUNTERS = (
    ("connections", "connections", "Connections taken."),
    ("refused_connections", "refused", "Connections turned away, since Limits.max_connections were open."),
    ("requests", "requests", "Requests whose head has arrived, upgrade requests included."),
    ("upgrades", "upgrades", "Requests given to an upgrade or connect handler."),
    ("received_bytes", "bytes_received", "Bytes received; over TLS, inside of it."),
    ("sent_bytes", "bytes_sent", "Bytes sent; over TLS, inside of it."),
    ("handler_errors", "handler_errors", "Handlers that raised, other than by a fault of their client."),
    ("broadcasts", "broadcasts", "Messages given to websocket.broadcast."),
    ("slow_readers_dropped", "slow_readers", "WebSockets closed by websocket.broadcast, their send buffer being full."),
)


class ServerCollector(Collector):
    """`Server.statistics` as metrics, for a `prometheus_client.CollectorRegistry`.

    Args:
      server: whose figures they are.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def describe(self) -> Iterator[Metric]:
        """The metrics, for the registry to see that their names are not taken."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """The metrics, with the figures of now. Call it in the thread that runs the server."""
        now = self._server.statistics()
        states = GaugeMetricFamily("trio_upgrade_open_connections", "Connections that are open.", labels=["state"])
        for state in STATES:
            states.add_metric([state], getattr(now, state))
        yield states
        for name, field, text in COUNTERS:
            yield CounterMetricFamily(f"trio_upgrade_{name}", text, getattr(now, field))


class Metrics:
    """Answers a request for the figures of the server that it was sent to.

    Only a client that connects directly from one of `networks` gets them. Other clients get a 403,
    and so does a request that a proxy has passed on, since it may come from anywhere. Such a request
    has a field X-Forwarded-For, Forwarded, X-Real-IP or Via. If a proxy adds none of these, configure
    it so that it does not pass on requests for the figures.

    Args:
      networks: a list of IP networks or addresses, in the notation of `ipaddress.ip_network`; "unix"
        in it allows whoever connects through a Unix socket. By default only this machine is allowed.
      registry: other figures that the answer has, too; it must not have a `ServerCollector`. By
        default that of `prometheus_client`, with the memory, the processor time and the descriptors
        of the process.

    Raises:
      TypeError, ValueError: an item of `networks` is not a network.
    """

    def __init__(self, networks: Iterable[str] = LOCAL, registry: CollectorRegistry = REGISTRY) -> None:
        self._networks = TrustedProxies(networks)
        self._registry = registry

    def __call__(self, request: Request) -> Response:
        """The response, in the text format; in OpenMetrics if the client prefers that."""
        if not self._allows(request):
            return Response(403, "The figures of this server are not for this address, nor for a proxy.\n")
        registry = CollectorRegistry()
        registry.register(ServerCollector(request.server))
        registry.register(self._registry)
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # the version in the Accept field is malformed
            encode, content_type = choose_encoder("")
        return Response(200, encode(registry), [("Cache-Control", "no-store")], content_type=content_type)

    def _allows(self, request: Request) -> bool:
        return not any(name in request.headers for name in FORWARDED) and self._networks.trusts_peer(request.peername)
