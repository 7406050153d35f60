"""`python -m tests.stress`: run the scenarios."""

from __future__ import annotations

import argparse
import resource
import sys
import traceback
from collections.abc import Awaitable, Callable

import trio

from . import chat, held, shutdown, slow, soak, worst
from .launch import keep_apart
from .promises import Promises, machine

Scenario = Callable[[Promises, bool], Awaitable[None]]

SCENARIOS: dict[str, tuple[Scenario, str]] = {
    "slow": (slow.run, "clients that send a byte a second, never read, or stop in their TLS handshake (5 minutes)"),
    "held": (held.run, "10,000 upgraded connections at once, and as many WebSockets (3 minutes)"),
    "soak": (soak.run, "mixed load whose every byte is checked (10 minutes)"),
    "shutdown": (shutdown.run, "a shutdown with hundreds of requests and streams under way (5 seconds)"),
    "worst": (worst.run, "what one client can make the server hold in memory, for each kind of connection (2 minutes)"),
    "chat": (chat.run, "20,000 messages in the chat, on two nodes that share a Redis (20 seconds)"),
}
LONGEST = 1800  # seconds; nothing here takes so long unless it hangs
LONGEST_QUICK = 150


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress",
        description="Puts the server's promises to the test, each scenario against a server process of its own, "
        "over loopback. Prints a line for each promise, with what was measured; the exit status is 1 if one was "
        "not kept.",
        epilog="scenarios:\n" + "\n".join(f"  {name:10}{text}" for name, (_, text) in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="which to run, by default all of them")
    parser.add_argument("--quick", action="store_true", help="smaller numbers and shorter times: half a minute for all")
    arguments = parser.parse_args()
    for name in arguments.scenario:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name!r}: choose from {', '.join(SCENARIOS)}")
    return arguments


async def run(names: list[str], quick: bool) -> int:
    """Run scenarios one after the other; returns how many promises were broken."""
    promises = Promises()
    print(machine())
    for name in names:
        print(f"\n{name}: {SCENARIOS[name][1]}{', made quick' if quick else ''}", flush=True)
        try:
            with trio.fail_after(LONGEST_QUICK if quick else LONGEST):
                await SCENARIOS[name][0](promises, quick)
        except Exception as exc:
            traceback.print_exc()
            promises.check("the scenario runs to its end", repr(exc), False)
    return promises.broken


def main() -> None:
    arguments = parse_arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not arguments.quick:
        keep_apart()
    broken = trio.run(run, arguments.scenario or list(SCENARIOS), arguments.quick)
    print(f"\n{f'{broken} promises were not kept' if broken else 'Every promise was kept'}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
