"""A CONNECT proxy, for a list of targets and no others.

    python -m examples.connect_proxy --port 8002 --allow example.com:443 --allow '*.example.org:443'
    curl -p -x http://127.0.0.1:8002 https://example.com/

The end of each direction is carried through by itself, as TCP does it.
"""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from functools import partial

import trio

import trio_upgrade
from trio_upgrade import Request, Response, Server, UpgradedStream

from .relay import relay, reset

CONNECT_TIMEOUT = 10  # seconds


async def connect(allowed: Sequence[str], request: Request, stream: UpgradedStream) -> Response | None:
    """Connect to the target, and only then accept."""
    host, _, port = request.target.lower().rpartition(":")
    if not any(fnmatch.fnmatchcase(f"{host}:{port}", pattern) for pattern in allowed):
        return Response(403, "This target is not allowed here\n")
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            far_end = await trio.open_tcp_stream(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError):
        return Response(502, "The target cannot be reached\n")
    except trio.TooSlowError:
        return Response(504, "The target does not answer\n")
    async with far_end:
        await request.accept()
        try:
            await relay(stream, far_end)
        except* trio.BrokenResourceError:
            await reset(far_end, far_end)
            await reset(stream, request.transport)
    return None


async def on_request(request: Request) -> Response:
    """Answer whoever takes this for a web server, or for a proxy of plain HTTP."""
    return Response(405, "This is a proxy for CONNECT only: curl -p -x ...\n", [("Allow", "CONNECT")])


def make_server(allowed: Sequence[str]) -> Server:
    """A proxy to the targets that match one of the patterns, such as "*.example.com:443"."""
    patterns = [pattern.lower().replace("[", "[[]") for pattern in allowed]  # the brackets of IPv6 are just that
    return Server(on_request, on_connect=partial(connect, patterns))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.connect_proxy", description="A CONNECT proxy.")
    parser.add_argument("--port", type=int, default=8002, help="default: 8002")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="HOST:PORT", help="a target; * stands for anything; repeatable"
    )
    args = parser.parse_args()
    if not args.allow:
        parser.error("nothing is allowed: give a target with --allow")
    try:
        trio_upgrade.run(make_server(args.allow), args.port, host=args.host)
    except OSError as exc:
        sys.exit(f"connect_proxy: cannot listen: {exc}")


if __name__ == "__main__":
    main()
