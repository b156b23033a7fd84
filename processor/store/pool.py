"""Connections to Postgres for a process that lives in an event loop: a web server that answers many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar

import asyncpg

from processor.core.errors import TransientError
from processor.store.connection import CONNECT_SECONDS, hold_settings, prepare, session_settings
from processor.store.errors import place, sort_error
from processor.store.queries import load_queries

T = TypeVar("T")
#: rows that a stream reads ahead of whoever takes them
PREFETCH_ROWS = 500


class Pool:
    """At most `most` connections, opened when they are needed; an async context manager, for one event loop.

    Every method raises `TransientError` when the world is down, when a statement takes longer than `timeout_ms`, and
    when no connection was free for as long; `SetupError` when a person has to act; `ReportError` for what only the
    arguments can have caused. With `read_only` the server refuses every write.
    """

    def __init__(
        self,
        url: str,
        *,
        most: int = 8,
        timeout_ms: int = 30_000,
        application: str = "cerebros-processor",
        read_only: bool = False,
        session: Mapping[str, str] = MappingProxyType({}),
        queries: Mapping[str, str] | None = None,
    ) -> None:
        """`session` are settings of the server's sessions; `queries` are called by name, by default ours."""
        self._url, self._most, self._timeout_s = url, most, timeout_ms / 1000
        guard = {"default_transaction_read_only": "on"} if read_only else {}
        self._settings = {**session_settings(application, timeout_ms), **guard, **session}
        self._queries = load_queries() if queries is None else queries
        self.where = place(url)
        self._pool: asyncpg.Pool | None = None
        self._by_statement = False  # a pooler dropped our settings, and what statements set is reset with each release

    async def __aenter__(self) -> Self:
        """Connects to nobody yet: a server that is down is met by who asks for something."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._most,
            timeout=CONNECT_SECONDS,
            # the server enforces statement_timeout; this is for a server that does not answer at all
            command_timeout=self._timeout_s + 5,
            init=self._prepare,
            reset=self._set_again,
            server_settings=self._settings,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Waits for nobody: what is still asked is cut off."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def fetch(self, name: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a named query, jsonb columns as Python values."""
        rows = await self.run(lambda connection: connection.fetch(self._queries[name], *args))
        return [dict(row) for row in rows]

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """What a coroutine function makes of a connection that is its own for so long."""
        connection = await self._acquire()
        try:
            async with asyncio.timeout(self._timeout_s * 2):
                return await work(connection)
        except Exception as error:
            raise self._sorted(error, connection) from error
        finally:
            await self._release(connection)

    async def stream(self, name: str, *args: Any) -> AsyncGenerator[dict[str, Any], None]:
        """The rows of a named query one by one, however many there are, in memory that does not grow with them."""
        connection = await self._acquire()
        try:
            async with connection.transaction():
                async for row in connection.cursor(self._queries[name], *args, prefetch=PREFETCH_ROWS):
                    yield dict(row)
        except Exception as error:
            raise self._sorted(error, connection) from error
        finally:
            await self._release(connection)

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        self._by_statement = await prepare(connection, self._settings)

    async def _set_again(self, connection: asyncpg.Connection) -> None:
        if self._by_statement:
            await hold_settings(connection, self._settings)

    async def _acquire(self) -> asyncpg.Connection:
        if self._pool is None:
            raise RuntimeError("the pool is not open: use it as an async context manager")
        try:
            return await self._pool.acquire(timeout=self._timeout_s)
        except TimeoutError:
            raise TransientError(f"Postgres at {self.where}: no connection was free for {self._timeout_s} s") from None
        except Exception as error:
            raise sort_error(error, self.where) from error

    def _sorted(self, error: Exception, connection: asyncpg.Connection) -> Exception:
        """The exception of ours; a connection that may still be busy with what timed out is given up."""
        if isinstance(error, TimeoutError):
            connection.terminate()
        return sort_error(error, self.where, at_work=True)

    async def _release(self, connection: asyncpg.Connection) -> None:
        if self._pool is not None:
            await self._pool.release(connection)
