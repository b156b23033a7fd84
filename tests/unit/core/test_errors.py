"""Errors of the drivers become ours by class or code, never by text; none of them tells a password."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import asyncpg
import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.core import errors
from processor.core.errors import (
    FatalError,
    ProcessorError,
    SchemaError,
    SetupError,
    TransientError,
    Unpublishable,
    UsageError,
)
from processor.kafka.client import explain, translate
from processor.store.errors import ReportError, place, sort_error

SECRET = "hunter2"
URL = f"postgresql://me:{SECRET}@db.example:5433/cerebros?sslmode=require"

TRANSIENT = """
    08000 08001 08003 08004 08006 08007 08P01 25001 25006 25P02 25P03 40001 40002 40003 40P01 53000 53100 53200 53300
    53400 55000 55006 55P03 57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 XX000 XX001 XX002
"""
REPORT = """
    22000 22001 22003 22007 22008 22012 22021 22023 22026 2202E 22P02 22P03 22P05 22P06 23000 23001 23502 23503 23505
    23514 23P01 44000 54000 54001 54011 54023 P0001 P0002
"""
SETUP = "0A000 0L000 26000 28000 28P01 3D000 3F000 42501 42601 42703 42883 42P01 42P07 42P10 F0000 99999"


def tls_error(said: bytes = b"HTTP/1.1 400 Bad Request\r\n") -> ssl.SSLError:
    """What a handshake ends with when the other side says that."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(said)
    try:
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="db.example").do_handshake()
    except ssl.SSLError as error:
        return error
    raise AssertionError


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def unreadable_certificate() -> ssl.SSLError:
    try:
        ssl.create_default_context().load_verify_locations(__file__)  # which is no certificate
    except ssl.SSLError as error:
        return error
    raise AssertionError


def postgres_error(state: str, message: str = "it said so") -> BaseException:
    """As the driver makes it of what the server sends: the class of the code, where it knows one."""
    error: BaseException = asyncpg.PostgresError.new({"C": state, "M": message, "D": f"Key (url)=({SECRET})"})
    return error


@pytest.mark.parametrize("state", ["08P01", "26000", "42P05"])
def test_what_poolers_answer_points_at_what_they_must_be(state: str) -> None:
    assert kind_of(postgres_error(state))[1].endswith("if a pooler stands between, see docs/howto/deploy.md")


def kind_of(error: BaseException) -> tuple[type[Exception], str]:
    ours = sort_error(error, place(URL))
    return type(ours), str(ours)


@pytest.mark.parametrize(
    ("state", "expected"),
    [(state, TransientError) for state in TRANSIENT.split()]
    + [(state, ReportError) for state in REPORT.split()]
    + [(state, SetupError) for state in SETUP.split()],
)
@pytest.mark.parametrize("message", ["it said so", "disk full, deadlock, connection refused", "", "two\nlines"])
def test_an_error_of_postgres_is_sorted_by_its_sqlstate_whatever_it_says(
    state: str, expected: type[Exception], message: str
) -> None:
    kind, text = kind_of(postgres_error(state, message))
    assert expected is kind
    assert state in text
    assert "\n" not in text
    assert SECRET not in text  # DETAIL holds values of the row


def test_an_error_without_a_sqlstate_is_retried() -> None:
    assert kind_of(asyncpg.PostgresError("?"))[0] is TransientError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111, "Connection refused"), TransientError),
        (ConnectionResetError(104, "reset"), TransientError),
        (BrokenPipeError(32, "pipe"), TransientError),
        (OSError(113, "No route to host"), TransientError),
        (socket.gaierror(-2, "Name or service not known"), TransientError),
        (TimeoutError(), TransientError),
        (EOFError(), TransientError),
        (asyncio.IncompleteReadError(b"", 4), TransientError),
        (tls_error(), TransientError),
        (asyncpg.InterfaceError("connection is closed"), TransientError),
        (asyncpg.InternalClientError("got result for unknown protocol state"), TransientError),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle"), TransientError),
        (untrusted(), SetupError),
        (unreadable_certificate(), UsageError),
        (asyncpg.ClientConfigurationError("sslmode is wrong"), UsageError),
    ],
)
def test_an_error_of_the_driver_is_an_outage_unless_the_address_is_wrong(
    error: BaseException, expected: type[Exception]
) -> None:
    kind, text = kind_of(error)
    assert expected is kind
    assert "db.example:5433/cerebros" in text or "PROCESSOR_DATABASE_URL" in text
    assert SECRET not in text


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyError("x"), KeyboardInterrupt()])
def test_a_defect_of_ours_is_not_taken_for_an_outage(error: BaseException) -> None:
    with pytest.raises(type(error)):
        sort_error(error, "here")


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("28P01", "PROCESSOR_DATABASE_URL"),
        ("3D000", "PROCESSOR_DATABASE_URL"),
        ("42P01", "processor migrate"),
        ("42703", "processor migrate"),
        ("42501", "GRANT"),
    ],
)
def test_what_a_person_has_to_mend_comes_with_advice(state: str, advice: str) -> None:
    assert advice in kind_of(postgres_error(state))[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, "db.example:5433/cerebros"),
        ("postgresql://db.example/cerebros", "db.example:5432/cerebros"),
        (f"postgresql://me:{SECRET}@[::1]/db", "[::1]:5432/db"),
        (f"postgresql://me:{SECRET}@one:1,two/db", "one:1,two:5432/db"),
        ("postgresql:///db", "localhost:5432/db"),
    ],
)
def test_an_address_is_told_without_its_user_and_password(url: str, expected: str) -> None:
    assert expected == place(url)


@pytest.mark.parametrize("url", [f"postgresql://me:a/{SECRET}@h/d", f"postgresql://me:a#{SECRET}@h/d"])
def test_an_address_with_an_unescaped_password_is_refused_without_telling_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        place(url)
    assert SECRET not in str(caught.value)


KAFKA: list[tuple[int, dict[str, Any], type[ProcessorError]]] = [
    (KafkaError._TRANSPORT, {}, TransientError),
    (KafkaError._ALL_BROKERS_DOWN, {}, TransientError),
    (KafkaError._TIMED_OUT, {}, TransientError),
    (KafkaError.REQUEST_TIMED_OUT, {"retriable": True}, TransientError),
    (KafkaError.NOT_ENOUGH_REPLICAS, {"retriable": True}, TransientError),
    (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, {"retriable": True}, TransientError),
    (KafkaError._FATAL, {}, FatalError),
    (KafkaError.PRODUCER_FENCED, {"fatal": True}, FatalError),
    (KafkaError._AUTHENTICATION, {}, SetupError),
    (KafkaError.SASL_AUTHENTICATION_FAILED, {}, SetupError),
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, {}, SetupError),
    (KafkaError.GROUP_AUTHORIZATION_FAILED, {}, SetupError),
    (KafkaError.CLUSTER_AUTHORIZATION_FAILED, {}, SetupError),
    (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, {}, SetupError),
    (KafkaError._SSL, {}, SetupError),
    (KafkaError.FENCED_INSTANCE_ID, {"fatal": True}, SetupError),
]


@pytest.mark.parametrize(("code", "flags", "expected"), KAFKA)
def test_an_error_of_kafka_is_sorted_by_its_code_and_flags(
    code: int, flags: dict[str, Any], expected: type[ProcessorError]
) -> None:
    for text in ("it said so", "fatal: authentication failed"):
        ours = explain(KafkaError(code, text, **flags), "broker:9092")
        assert expected is type(ours)
        assert "broker:9092" in str(ours)
        assert type(translate(KafkaException(KafkaError(code, text, **flags)), "broker:9092")) is expected


def test_the_tree_of_exceptions_is_the_one_that_is_drawn() -> None:
    """Retry and give up are apart: whoever catches an outage never catches what should end the process."""
    expected = {
        ProcessorError: Exception,
        TransientError: ProcessorError,
        FatalError: ProcessorError,
        SetupError: FatalError,
        SchemaError: FatalError,
        Unpublishable: ProcessorError,
        UsageError: ProcessorError,
    }
    ours = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert expected == {one: one.__base__ for one in ours}
    assert [one.__name__ for one in ours if one.__name__ not in str(errors.__doc__)] == []
