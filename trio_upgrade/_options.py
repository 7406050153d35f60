"""The options of the command line, each with its help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ._proxies import TrustedProxies
from ._version import __version__

__all__ = ["PROG", "Options", "parse"]

PROG = "trio-upgrade"

DESCRIPTION = """
Serve until Ctrl-C or SIGTERM, which shut down gracefully; a second one stops at once.

APPLICATION names a trio_upgrade.Server as module:attribute, or a function without
arguments that gives one. The function may be plain, async, or an async context manager:
that is the place for what must run around the server, such as a nursery or a connection
to a database. It is opened before the first connection, and closed after the last.
"""

EPILOG = """
examples:
  trio-upgrade server:server
  trio-upgrade package.chat:server --host 0.0.0.0 --port 443 --certfile chat.pem
  trio-upgrade package.chat:server --unix /run/chat/socket --trusted-proxy unix

The exit status is 0 after a shutdown, 1 where serving failed, and 2 where the command
line is wrong.
"""

HOST = "127.0.0.1"
PORT = 8000
LEVELS = ("debug", "info", "warning", "error", "critical")


class Options(argparse.Namespace):
    """What the command line says; None where it does not."""

    application: str
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
    def tcp(self) -> bool:
        """It asks for a TCP port."""
        return self.host is not None or self.port is not None

    @property
    def tcp_host(self) -> str | None:
        """The address to listen on; None for every one."""
        return HOST if self.host is None else self.host or None

    @property
    def tcp_port(self) -> int:
        """The port to listen on."""
        return PORT if self.port is None else self.port


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try --help)\n")


def parse(arguments: Sequence[str] | None) -> Options:
    """The options of a command line, by default this process's. Where it is wrong, exits with status 2."""
    parser = make_parser()
    options = parser.parse_args(arguments, Options())
    check(parser, options)
    return options


def make_parser() -> Parser:
    """What the options are."""
    parser = Parser(
        prog=PROG,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("application", metavar="APPLICATION", help="module:attribute, imported from the current directory")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add("--grace", type=grace, default=10, metavar="SECONDS", help="that a graceful shutdown may take (default: 10)")

    add = parser.add_argument_group(
        "where to listen",
        "By default the sockets that systemd passes (LISTEN_FDS), else port 8000 of this machine alone.",
    ).add_argument
    add("--host", help=f"the address to listen on, '' for every one (default: {HOST})")
    add("--port", type=port, help=f"the TCP port, 0 for any that is free (default: {PORT})")
    add("--unix", metavar="PATH", help="listen on a Unix socket here instead")
    add("--fd", type=descriptor, metavar="NUMBER", help="listen on this inherited file descriptor instead")

    add = parser.add_argument_group("TLS and proxies").add_argument
    add("--certfile", metavar="PATH", help="serve TLS with this certificate and its chain (PEM)")
    add("--keyfile", metavar="PATH", help="the private key, where it is not in the certificate's file")
    add(
        "--trusted-proxy",
        type=proxy,
        action="append",
        metavar="NETWORK",
        help="believe X-Forwarded-For and X-Forwarded-Proto from here: 10.0.0.0/8, say, or `unix` for whoever comes "
        "through a Unix socket; may be repeated, and replaces the proxies that the application names",
    )

    add = parser.add_argument_group("logs").add_argument
    add(
        "--log-level",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"what goes to standard error: {', '.join(LEVELS)} (default: info, unless the application decides)",
    )
    add("--access-log", action="store_true", help="a line on standard output for each response (combined format)")
    return parser


def check(parser: Parser, options: Options) -> None:
    """Refuse options that contradict each other."""
    if options.tcp + (options.unix is not None) + (options.fd is not None) > 1:
        parser.error("a TCP port (--host, --port), --unix and --fd exclude each other")
    if options.keyfile is not None and options.certfile is None:
        parser.error("--keyfile needs --certfile")
    if options.certfile is not None and options.unix is not None:
        parser.error("--certfile and --unix exclude each other")


def grace(text: str) -> float:
    """Seconds."""
    seconds = float(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return seconds


def port(text: str) -> int:
    """The number of a TCP port."""
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"there is no port {text}: they go from 0 to 65535")
    return int(text)


def descriptor(text: str) -> int:
    """The number of a file descriptor."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"there is no file descriptor {text}")
    return int(text)


def proxy(text: str) -> str:
    """One of `Server.trusted_proxies`."""
    try:
        TrustedProxies([text])
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{exc} (10.0.0.0/8 would be one; or say `unix`)") from exc
    return text
