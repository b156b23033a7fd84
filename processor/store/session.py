"""One Postgres connection behind a synchronous face, for the pipeline's threads and the commands."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import asyncpg

from processor.core.errors import TransientError
from processor.store.connection import CONNECT_SECONDS, prepare, session_settings
from processor.store.errors import ReportError, place, sort_error
from processor.store.queries import load_queries

T = TypeVar("T")
ANSWER_SECONDS = 2.0


class Session:
    """A connection that opens when it is first needed and again after it broke. Use it in one thread only.

    Every method raises `TransientError` when the world is down and `SetupError` when a person has to act.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_ms: int = 30_000,
        application: str = "cerebros-processor",
        session: Mapping[str, str] = MappingProxyType({}),
        queries: Mapping[str, str] | None = None,
    ) -> None:
        """`session` are settings of the server's session; `queries` are called by name, by default ours."""
        self._url, self._timeout_ms = url, timeout_ms
        self._settings = {**session_settings(application, timeout_ms), **session}
        self._queries = load_queries() if queries is None else queries
        self.where = place(url)
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None
        #: how many connections there have been: what a session holds (locks, listeners) is gone when it grows
        self.connections = 0
        self._worked = False  # the present one

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fetch(self, name: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a named query, jsonb columns as Python values."""
        rows = self.run(lambda connection: connection.fetch(self._queries[name], *args))
        return [dict(row) for row in rows]

    def execute(self, name: str, *args: Any) -> str:
        """Runs a named query; the command tag, such as ``DELETE 3``."""
        return str(self.run(lambda connection: connection.execute(self._queries[name], *args)))

    def answers(self) -> bool:
        """Whether the server does anything at all just now: what failed may have been too much to ask."""
        try:
            self.run(lambda connection: connection.fetchval("select 1"), timeout_s=ANSWER_SECONDS)
        except TransientError:
            return False
        return True

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]], *, timeout_s: float = 0.0) -> T:
        """Runs a coroutine function on the connection, for at most `timeout_s`.

        0: twice as long as a statement may take; infinity: only each statement is limited.
        """
        limit = timeout_s or self._timeout_ms / 1000 * 2
        return self._runner.run(self._guarded(work, None if limit == math.inf else limit))

    async def _guarded(self, work: Callable[[asyncpg.Connection], Awaitable[T]], timeout_s: float | None) -> T:
        connected = False
        try:
            connection = await self.connect()
            connected = True
            # the server enforces statement_timeout; this is for a server that does not answer at all
            async with asyncio.timeout(timeout_s):
                result = await work(connection)
                self._worked = True
                return result
        except ReportError:
            raise
        except Exception as error:
            if isinstance(error, asyncpg.InterfaceError) and self._is_sound(error):
                raise  # a misuse of ours, which no waiting mends
            sorted_error = sort_error(error, self.where, at_work=connected)
            if isinstance(sorted_error, TransientError):
                self._forget()
            raise sorted_error from error

    def _is_sound(self, error: BaseException) -> bool:
        """Whether the driver's complaint can't come from a connection that is dead and not known to be.

        A server that ends a session says so before it closes the connection: the driver, told in between, waits for
        more and calls whatever we ask for a misuse. A real misuse comes again on a new connection.
        """
        if self._connection is None or self._connection.is_closed() or self._worked:
            return False
        before = error.__context__
        while before is not None:
            if isinstance(before, (asyncpg.PostgresError, asyncpg.InternalClientError, OSError)):
                return False
            before = before.__context__
        return True

    async def connect(self) -> asyncpg.Connection:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_SECONDS,
                command_timeout=self._timeout_ms / 1000 + 5,
                server_settings=self._settings,
            )
            try:
                await prepare(connection, self._settings)
            except BaseException:
                connection.terminate()  # half prepared it would be taken for a whole one
                raise
            self._connection = connection
            self.connections += 1
            self._worked = False
        return connection

    def _forget(self) -> None:
        """A connection in an unknown state is no use: the next call opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None and not connection.is_closed():
                self._runner.run(connection.close(timeout=2))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # it was to end anyway
        finally:
            self._runner.close()
