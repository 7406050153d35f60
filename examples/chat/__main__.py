import argparse
import sys

import trio_upgrade

from . import make_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description="A chat for the browser.")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    arguments = parser.parse_args()
    try:
        trio_upgrade.run(make_server(), arguments.port, host=arguments.host)
    except OSError as exc:
        sys.exit(f"chat: cannot listen on port {arguments.port}: {exc.strerror}")


if __name__ == "__main__":
    main()
