"""The connection to Redis, and its absence.

It connects again and again. While it cannot, or once a command has failed, every command raises
`Away`: there is one answer to whether Redis is there, for all.
"""

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import trio
from coredis import Redis
from coredis.exceptions import RedisError, ResponseError
from coredis.retry import NoRetryPolicy

from .store import Away

__all__ = ["TIMEOUT", "Client", "Link"]

T = TypeVar("T")

Client = Redis[str]

logger = logging.getLogger("chat.redis")

TIMEOUT = 5  # seconds for a command; less than the page's patience
FIRST_DELAY, LONGEST_DELAY = 0.1, 5  # seconds until Redis is tried again
STABLE = 10  # seconds that a good connection lasts

# What a command raises where Redis is not there or hangs, and where coredis has closed its pool meanwhile.
FAILURES = (RedisError, OSError, trio.TooSlowError)
CLOSED = RuntimeError


class Link:
    """Commands to the Redis at a URL, while `run` runs.

    Raises:
      ValueError: this is no URL of a Redis.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            parts = urlsplit(url)
            self._place = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
            where = {"redis": parts.hostname, "rediss": parts.hostname, "unix": parts.path}
            if not where[parts.scheme]:
                raise ValueError("nowhere")
            self._make_client()
        except Exception:  # of whatever kind; what it says may have the password
            raise ValueError("a Redis is named by a URL such as redis://localhost:6379") from None
        self._client: Client | None = None  # while it works
        self._broken: Exception | None = None  # why it does not any more
        self._breaking = trio.Event()
        self._said_refused = False

    def _make_client(self) -> Client:
        return Redis.from_url(
            self._url,
            decode_responses=True,
            decode_components=True,
            connect_timeout=TIMEOUT,
            retry_policy=NoRetryPolicy(),  # trying again is done here
        )

    async def check(self) -> None:
        """Raise `Away` while Redis is."""
        if self._client is None:
            await trio.lowlevel.checkpoint()
            raise self._away()

    async def do(self, command: Callable[[Client], Awaitable[T]]) -> T:
        """The result of a command.

        One that fails for want of Redis ends the connection: then all know that it is away.

        Raises:
          Away: it was not done, or perhaps it was.
        """
        await self.check()
        client = self._client
        assert client is not None
        try:
            with trio.fail_after(TIMEOUT):
                return await command(client)
        except ResponseError as exc:
            if not self._said_refused:
                logger.error("Redis at %s refuses what the chat asks for: %s", self._place, exc)
                self._said_refused = True
            raise self._away() from exc
        except (*FAILURES, CLOSED) as exc:
            if self._client is client:
                if isinstance(exc, CLOSED):
                    raise
                self._client, self._broken = None, exc
                self._breaking.set()
            raise self._away() from exc

    def _away(self) -> Away:
        return Away(f"Redis at {self._place} is away")

    async def run(
        self,
        begin: Callable[[Client], Awaitable[None]],
        work: Callable[[Client], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Be connected, again and again, until cancelled.

        Args:
          begin: called with each new client, before any command is done with it.
          work: runs for as long as the client works.
          end: called when it does not, or none could be had.
        """
        delay: float = FIRST_DELAY
        level = logging.WARNING
        while True:
            begun = trio.current_time()
            try:
                async with self._make_client() as client:
                    with trio.fail_after(TIMEOUT):
                        await begin(client)
                    logger.info("connected to Redis at %s", self._place)
                    level = logging.WARNING
                    async with self._opened(client):
                        await work(client)
            except* (*FAILURES, Away) as group:
                logger.log(level, "Redis at %s is away: %s; trying again", self._place, self._broken or leaf(group))
            level = logging.DEBUG  # it was said, until there is something new
            end()
            delay = FIRST_DELAY if trio.current_time() - begun > STABLE else min(LONGEST_DELAY, delay * 2)
            await trio.sleep(delay * random.uniform(0.5, 1))

    @contextlib.asynccontextmanager
    async def _opened(self, client: Client) -> AsyncIterator[None]:
        """Do commands with `client`, until one fails: then the block is broken off."""
        self._client, self._broken, self._breaking, self._said_refused = client, None, trio.Event(), False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break)
                yield
        finally:
            self._client = None

    async def _break(self) -> None:
        await self._breaking.wait()
        assert self._broken is not None
        raise self._broken


def leaf(exc: BaseException) -> str:
    """What one of the exceptions of a group says."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return str(exc) or type(exc).__name__
