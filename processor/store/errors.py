"""The one place where Postgres' errors are sorted, and what a URL may be told as.

Errors are sorted by SQLSTATE class (PostgreSQL manual, appendix A), never by text:

    TransientError   the server is down, full, read-only, overloaded, switching over, or somebody holds a lock:
                     08 connection, 25 wrong transaction state (read-only), 40 serialization and deadlock,
                     53 resources, 55 object state (lock timeout), 57 operator (shutdown, cancel), 58 system,
                     XX internal
    SetupError       waiting does not help: 28 password, 3D database, 42 missing table or right, 0A, 3F ...
    ReportError      only what was written can be the cause: 22 data, 23 constraint, 54 limits, 44, P0 triggers

A `TransientError` says by its `trouble` whether what was asked may itself be the cause.
"""

from __future__ import annotations

import os
import ssl
from urllib.parse import parse_qs, urlsplit

import asyncpg

from processor.core.errors import SetupError, TransientError, Trouble, UsageError

_TRANSIENT_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58", "XX"})
_REPORT_CLASSES = frozenset({"22", "23", "54", "44", "P0"})
#: a statement, a transaction or its pauses took too long, or too much memory or temporary space
_TOO_MUCH = frozenset({"57014", "25P03", "25P04", "53200", "53400"})
#: the server ended this session, itself or one beside it: whoever ends what runs long, or what runs out of memory
_ENDED = frozenset({"57P01", "57P02", "57P05"})
_LOCKED = "55P03"
_POOLER = "; if a pooler stands between, see docs/howto/deploy.md"
_CONSTRAINT_CLASSES = frozenset({"23", "44", "P0"})
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


class ReportError(Exception):
    """The database refuses what was written, and would again; stays inside the store, which isolates the report.

    `by_constraint`: not the value was impossible, a constraint or a trigger would not have it.
    """

    def __init__(self, text: str, *, by_constraint: bool = False) -> None:
        super().__init__(text)
        self.by_constraint = by_constraint


def sort_error(error: BaseException, where: str, *, at_work: bool = False) -> Exception:
    """The exception of ours that stands for a driver's; `at_work`: it came after the connection was there."""
    if isinstance(error, asyncpg.PostgresError):
        return _sort_state(error, where, at_work)
    if isinstance(error, ssl.SSLCertVerificationError):
        return SetupError(f"Postgres at {where}: its TLS certificate is not trusted ({error.verify_message})")
    if isinstance(error, ssl.SSLError) and error.library in {"X509", "PEM", "ASN1"}:  # a file of ours, not the peer
        return _wrong_url(f"a certificate or key can't be used ({error.reason})")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return _wrong_url(str(error))
    trouble = Trouble.WORK if at_work else Trouble.WORLD
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, asyncpg.InternalClientError):
        return TransientError(f"Postgres at {where}: {error}", trouble)
    if isinstance(error, TimeoutError):
        return TransientError(f"Postgres at {where} does not answer in time", trouble)
    if isinstance(error, (OSError, EOFError, asyncpg.InternalClientError)):
        return TransientError(f"Postgres at {where} can't be reached: {_words(error)}", trouble)
    raise error


def _sort_state(error: asyncpg.PostgresError, where: str, at_work: bool) -> Exception:
    state = error.sqlstate or "XX000"
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    told = f"Postgres at {where}: {message} (SQLSTATE {state}){_hint(state)}"
    if state[:2] in _TRANSIENT_CLASSES:
        return TransientError(told, _trouble(state, at_work))
    if state[:2] in _REPORT_CLASSES:
        return ReportError(f"{message} (SQLSTATE {state})", by_constraint=state[:2] in _CONSTRAINT_CLASSES)
    return SetupError(told)


def _trouble(state: str, at_work: bool) -> Trouble:
    if state == _LOCKED:
        return Trouble.LOCK
    ours = state in _TOO_MUCH or state in _ENDED or state[:2] in ("XX", "08")
    return Trouble.WORK if at_work and ours else Trouble.WORLD


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
        "08P01": _POOLER,  # PgBouncer says so of a setting that it does not take, and of a server that is down
        "42P05": _POOLER,
        "26000": _POOLER,
        "3D000": "; create the database, or mend PROCESSOR_DATABASE_URL",
        "42P01": "; run `processor migrate`",
        "42703": "; run `processor migrate`",
        "42501": "; the role lacks a right, see the GRANT list in deploy/grants.sql",
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
