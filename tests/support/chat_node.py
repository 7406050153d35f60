"""A node of the chat in which nobody writes too fast, and whose people are soon missed.

python -m tests.support.chat_node PORT REDIS
"""

import sys

import trio_upgrade
from examples.chat import chat, connection, redis


def main() -> None:
    connection.RATE = connection.BURST = connection.ADDRESS_RATE = connection.ADDRESS_BURST = 10**9
    connection.ENTER_RATE = connection.ENTER_BURST = 10**9
    redis.HEARTBEAT, redis.NODE_SECONDS = 1, 2
    port, url = sys.argv[1:]
    trio_upgrade.run(chat(url), int(port))


if __name__ == "__main__":
    main()
