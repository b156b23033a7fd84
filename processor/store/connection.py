"""One Postgres connection behind a synchronous face, and the one place where its errors are sorted.

Errors are sorted by SQLSTATE class (PostgreSQL manual, appendix A), never by text:

    TransientError   the server is down, full, read-only, overloaded, switching over, or somebody holds a lock:
                     08 connection, 25 wrong transaction state (read-only), 40 serialization and deadlock,
                     53 resources, 55 object state (lock timeout), 57 operator (shutdown, cancel), 58 system,
                     XX internal
    SetupError       waiting does not help: 28 password, 3D database, 42 missing table or right, 0A, 3F ...
    ReportError      only what was written can be the cause: 22 data, 23 constraint, 54 limits, 44, P0 triggers
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec

from processor.errors import SetupError, TransientError, UsageError
from processor.store.queries import load_queries

T = TypeVar("T")

_TRANSIENT_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58", "XX"})
_REPORT_CLASSES = frozenset({"22", "23", "54", "44", "P0"})
CONNECT_SECONDS = 10.0
#: another session that holds a row must not hold us for longer than this; we come back later
LOCK_TIMEOUT_MS = 5000
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


class ReportError(Exception):
    """The database refuses what was written, and would again; stays inside the store, which isolates the report."""


def sort_error(error: BaseException, where: str) -> Exception:
    """The exception of ours that stands for a driver's."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or "XX000"
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if state[:2] in _TRANSIENT_CLASSES:
            return TransientError(f"Postgres at {where}: {message} (SQLSTATE {state})")
        if state[:2] in _REPORT_CLASSES:
            return ReportError(f"{message} (SQLSTATE {state})")
        return SetupError(f"Postgres at {where}: {message} (SQLSTATE {state}){_hint(state)}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return SetupError(f"Postgres at {where}: its TLS certificate is not trusted ({error.verify_message})")
    if isinstance(error, ssl.SSLError) and error.library in {"X509", "PEM", "ASN1"}:  # a file of ours, not the peer
        return _wrong_url(f"a certificate or key can't be used ({error.reason})")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return _wrong_url(str(error))
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, asyncpg.InternalClientError):
        return TransientError(f"Postgres at {where}: {error}")
    if isinstance(error, TimeoutError):
        return TransientError(f"Postgres at {where} does not answer in time")
    if isinstance(error, (OSError, EOFError, asyncpg.InternalClientError)):
        return TransientError(f"Postgres at {where} can't be reached: {_words(error)}")
    raise error


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # below 0: name resolution
    return str(error) or type(error).__name__


def _wrong_url(why: str) -> UsageError:
    return UsageError(f"wrong settings: PROCESSOR_DATABASE_URL: {why}")


def _hint(state: str) -> str:
    return {
        "28P01": "; check user and password in PROCESSOR_DATABASE_URL",
        "28000": "; check user, password and pg_hba.conf",
        "3D000": "; create the database, or mend PROCESSOR_DATABASE_URL",
        "42P01": "; run `processor migrate`",
        "42703": "; run `processor migrate`",
        "42501": "; the role lacks a right, see the GRANT list in the README",
    }.get(state, "")


def place(url: str) -> str:
    """host:port/database of a URL, without user, password and parameters.

    Raises `UsageError` where the URL can't be right, and never tells a part that may be a piece of the password.
    """
    try:
        parts = urlsplit(url)
        parameters = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong_url("it can't be read; parameters are ?name=value&name=value") from None
    if parts.netloc.count("@") > 1 or "@" in parts.path or parts.fragment:
        raise _wrong_url("write / ? # @ of a password as %2F %3F %23 %40")
    for name in _TLS_FILES:
        for file in parameters.get(name, []):
            if not os.access(file, os.R_OK):
                raise _wrong_url(f"{name}: there is no readable file {file}")
    hosts = (parts.netloc.rpartition("@")[2] or "localhost").split(",")
    return ",".join(host if ":" in host.rpartition("]")[2] else f"{host}:5432" for host in hosts) + parts.path


class Store:
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
    ) -> None:
        self._url, self._timeout_ms, self._application, self._session = url, timeout_ms, application, session
        self.where = place(url)
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None
        #: how many connections there have been: what a session holds (locks, listeners) is gone when it grows
        self.connections = 0
        self._worked = False  # the present one

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fetch(self, name: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a named query (processor/sql/*.sql), jsonb columns as Python values."""
        rows = self.run(lambda connection: connection.fetch(load_queries()[name], *args))
        return [dict(row) for row in rows]

    def execute(self, name: str, *args: Any) -> str:
        """Runs a named query; the command tag, such as ``DELETE 3``."""
        return str(self.run(lambda connection: connection.execute(load_queries()[name], *args)))

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]], *, timeout_s: float = 0.0) -> T:
        """Runs a coroutine function on the connection, for at most `timeout_s`.

        0: twice as long as a statement may take; infinity: only each statement is limited.
        """
        limit = timeout_s or self._timeout_ms / 1000 * 2
        return self._runner.run(self._guarded(work, None if limit == math.inf else limit))

    async def _guarded(self, work: Callable[[asyncpg.Connection], Awaitable[T]], timeout_s: float | None) -> T:
        try:
            connection = await self.connect()
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
            sorted_error = sort_error(error, self.where)
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
            self._connection = connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_SECONDS,
                command_timeout=self._timeout_ms / 1000 + 5,
                server_settings={
                    "application_name": self._application,
                    "statement_timeout": str(self._timeout_ms),
                    "lock_timeout": str(min(LOCK_TIMEOUT_MS, self._timeout_ms)),
                    "idle_in_transaction_session_timeout": "60000",
                    "timezone": "UTC",
                    # a batch is judged in memory, and its statements are planned once
                    "work_mem": "64MB",
                    "jit": "off",
                    **self._session,
                },
            )
            await _read_jsonb_as_values(connection)
            await connection.execute(load_queries()["commit_durably"])
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


async def _read_jsonb_as_values(connection: asyncpg.Connection) -> None:
    """jsonb parameters are given as bytes of JSON, jsonb columns come as Python values."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda text: b"\x01" + text,  # the binary form of jsonb is a version byte and the text
        decoder=lambda raw: msgspec.json.decode(raw[1:]),
    )
