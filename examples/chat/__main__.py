import argparse
import os
import sys

import trio_upgrade

from . import chat


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description="A chat for the browser.")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("CHAT_REDIS_URL") or None,
        help="share rooms with the other processes that use this Redis, such as redis://localhost:6379 "
        "(default: CHAT_REDIS_URL from the environment; without either, they are in memory)",
    )
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535:
        sys.exit(f"chat: there is no port {arguments.port}: they go from 0 to 65535")
    try:
        trio_upgrade.run(chat(arguments.redis), arguments.port, host=arguments.host)
    except OSError as exc:
        sys.exit(f"chat: cannot listen on {arguments.host}, port {arguments.port}: {exc.strerror}")


if __name__ == "__main__":
    main()
