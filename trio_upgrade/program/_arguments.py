"""The arguments of the command line, each with its help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from .._trusted_proxies import TrustedProxies
from .._version import __version__

__all__ = ["PROG", "Arguments", "parse_arguments"]

PROG = "trio-upgrade"

DESCRIPTION = """
Serve until Ctrl-C or SIGTERM. The first one shuts down gracefully, the second one stops
at once.

APPLICATION names a trio_upgrade.Server or an ASGI application as module:attribute, or a
function without arguments that gives one. The function may be plain, async, or an async context manager:
that is the place for what must run around the server, such as a nursery or a connection
to a database. It is opened before the first connection, and closed after the last.
"""

EPILOG = """
examples:
  trio-upgrade server:server
  trio-upgrade package.api:app --root-path /api
  trio-upgrade package.chat:server --host 0.0.0.0 --port 443 --certfile chat.pem
  trio-upgrade package.chat:server --unix /run/chat/socket --trusted-proxy unix

The exit status is 0 after a shutdown, 1 if the server cannot run or has failed, 2 if the
command line is wrong, and 3 if the ASGI application says that it cannot start.
"""

HOST = "127.0.0.1"
PORT = 8000
LEVELS = ("debug", "info", "warning", "error", "critical")


class Arguments(argparse.Namespace):
    """The arguments of the command line; None for an option that is not there."""

    application: str
    asgi: bool
    root_path: str
    grace: float
    host: str | None
    port: int | None
    unix: str | None
    fd: int | None
    certfile: str | None
    keyfile: str | None
    trusted_proxy: list[str] | None
    log_level: str | None
    access_log: bool

    @property
    def has_tcp(self) -> bool:
        """Whether they name a TCP port or an address."""
        return self.host is not None or self.port is not None

    @property
    def tcp_host(self) -> str | None:
        """The address to listen on; None for every address."""
        return HOST if self.host is None else self.host or None

    @property
    def tcp_port(self) -> int:
        """The port to listen on."""
        return PORT if self.port is None else self.port


class OneLineParser(argparse.ArgumentParser):
    """A parser whose error messages have one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try --help)\n")


def parse_arguments(arguments: Sequence[str] | None) -> Arguments:
    """Parse a command line; None stands for this process's own.

    Raises:
      SystemExit: with status 2 if the command line is wrong, and 0 after --help and --version.
    """
    parser = make_parser()
    parsed = parser.parse_args(arguments, Arguments())
    check_combination(parser, parsed)
    return parsed


def make_parser() -> OneLineParser:
    """Make the parser, with the help of each argument."""
    parser = OneLineParser(
        prog=PROG,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("application", metavar="APPLICATION", help="module:attribute, imported from the current directory")
    add(
        "--asgi",
        action="store_true",
        help="APPLICATION is an ASGI application, or gives one; for the case that its signature does not tell",
    )
    add(
        "--root-path",
        type=root_path,
        default="",
        metavar="PATH",
        help="the path under which a proxy serves the ASGI application, such as /api",
    )
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add("--grace", type=grace, default=10, metavar="SECONDS", help="how long a shutdown may take (default: 10)")

    add = parser.add_argument_group(
        "where to listen",
        f"By default the sockets that systemd passes (LISTEN_FDS), or else port {PORT} of this machine alone.",
    ).add_argument
    add("--host", help=f"the address to listen on, '' for every address (default: {HOST})")
    add("--port", type=port, help=f"the TCP port, 0 for any that is free (default: {PORT})")
    add("--unix", metavar="PATH", help="listen on a Unix socket at this path instead")
    add("--fd", type=descriptor, metavar="NUMBER", help="listen on this inherited file descriptor instead")

    add = parser.add_argument_group("TLS and proxies").add_argument
    add("--certfile", metavar="PATH", help="serve TLS with this certificate and its chain (PEM)")
    add("--keyfile", metavar="PATH", help="the private key, if it is not in the certificate's file")
    add(
        "--trusted-proxy",
        type=proxy,
        action="append",
        metavar="NETWORK",
        help="believe X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host from this network, such as 10.0.0.0/8; "
        "`unix` stands for every peer on a Unix socket. May be repeated. Replaces the proxies that the application "
        "trusts.",
    )

    add = parser.add_argument_group("logs").add_argument
    add(
        "--log-level",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"log to standard error from this level on: {', '.join(LEVELS)} (default: info, unless the application "
        "configures logging)",
    )
    add("--access-log", action="store_true", help="write a line to standard output for each response (combined format)")
    return parser


def check_combination(parser: OneLineParser, arguments: Arguments) -> None:
    """Exit with status 2 if arguments contradict each other."""
    if arguments.has_tcp + (arguments.unix is not None) + (arguments.fd is not None) > 1:
        parser.error("a TCP port (--host, --port), --unix and --fd exclude each other")
    if arguments.keyfile is not None and arguments.certfile is None:
        parser.error("--keyfile needs --certfile")
    if arguments.certfile is not None and arguments.unix is not None:
        parser.error("--certfile and --unix exclude each other")


# argparse puts the names of the following functions into its messages: "invalid port value: 'x'".


def grace(text: str) -> float:
    """Convert a number of seconds."""
    seconds = float(text)
    if not seconds >= 0:  # refuses NaN, too
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, not {text}")
    return seconds


def port(text: str) -> int:
    """Convert the number of a TCP port."""
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"there is no port {text}: ports go from 0 to 65535")
    return int(text)


def descriptor(text: str) -> int:
    """Convert the number of a file descriptor."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"there is no file descriptor {text}")
    return int(text)


def root_path(text: str) -> str:
    """Check a path under which an application is served."""
    if text and (not text.startswith("/") or text.endswith("/")):
        raise argparse.ArgumentTypeError(f"must begin with a slash, and not end with one: {text!r}")
    return text


def proxy(text: str) -> str:
    """Check an item of `Server.trusted_proxies`."""
    try:
        TrustedProxies([text])
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{exc}: give a network such as 10.0.0.0/8, or `unix`") from exc
    return text
