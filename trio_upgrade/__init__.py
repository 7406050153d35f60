"""A Trio HTTP/1.1 server in which a protocol upgrade is first-class.

An ordinary request gets a `Response` from a handler. An upgrade request that is accepted goes to
the upgrade handler, with a `trio.abc.Stream` that cannot lose a byte.
"""

from ._body import Body
from ._exceptions import BodyTooLarge, ProtocolError
from ._headers import Headers
from ._limits import Limits
from ._request import Request
from ._response import Response
from ._server import Server
from ._settings import RequestHandler, ShouldUpgrade, UpgradeHandler
from ._statistics import Statistics
from ._tls_info import TLSInfo
from ._transport_info import TransportInfo
from ._upgraded_stream import UpgradedStream
from ._version import __version__
from .program import run

__all__ = [
    "Body",
    "BodyTooLarge",
    "Headers",
    "Limits",
    "ProtocolError",
    "Request",
    "RequestHandler",
    "Response",
    "Server",
    "ShouldUpgrade",
    "Statistics",
    "TLSInfo",
    "TransportInfo",
    "UpgradeHandler",
    "UpgradedStream",
    "__version__",
    "run",
]
