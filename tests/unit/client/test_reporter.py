"""TrialReporter loses no report silently: on librdkafka's own in-process broker, and on a port that nobody serves."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cerebros_client import RAW_TOPIC, TrialReporter, Undelivered, UndeliveredError
from cerebros_client.kafka import KafkaTransport
from cerebros_client.transport import Target
from cerebros_client.words import identifier
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from processor.contracts.catalogue import Catalogue
from processor.core.messages import RawRecord, TrialReport
from processor.decode.decoder import Decoder
from tests.support.patience import patient
from tests.unit.client.sending import recorded

MOCK = {"test.mock.num.brokers": 1}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address that refuses connections for as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def reporter(servers: str = "mock:9092", **options: Any) -> TrialReporter:
    arguments: dict[str, Any] = {"options": MOCK, "close_timeout_s": 10.0} | options
    return TrialReporter(servers, **arguments)


def read(from_: TrialReporter, count: int) -> list[Message]:
    """The first `count` records of the raw topic, in any order of partitions."""
    transport: Any = from_._usable()._transport  # type: ignore[attr-defined]
    metadata = transport._producer.list_topics(RAW_TOPIC, timeout=5)
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False})
    partitions = metadata.topics[RAW_TOPIC].partitions
    consumer.assign([TopicPartition(RAW_TOPIC, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Message] = []
    deadline = time.monotonic() + patient(20)
    while len(found) < count and time.monotonic() < deadline:
        found += [message for message in consumer.consume(count, 0.5) if message.error() is None]
    consumer.close()
    return found


def test_what_is_reported_is_what_the_processor_reads() -> None:
    """Every field arrives, under the run's key, as a valid report; NaN and numpy values too."""
    with reporter() as sender:
        sender.report(
            "run-1",
            7,
            status="failed",
            metrics={"loss": float("nan"), "layers": [{"norm": np.float32(1.5)}], "matrix": np.eye(2)},
            parameters={"learning_rate": np.float64(0.25), "layers": np.int64(3)},
            spectral_norm=True,
            mlflow_run_id="abc",
            artifact_uri="s3://models/1",
            duration_ms=840,
            rank=2,
            warnings=("loss is NaN at epoch 3",),
            candidate_id="c-1",
            pulse_id="p-1",
            error_message="diverged",
            error_type="nan_loss",
            stacktrace="line 1\nline 2",
        )
        sender.flush()
        [message] = read(sender, 1)
    assert message.key() == b"run-1"
    record = RawRecord("raw", 0, 0, message.timestamp()[1], message.key(), message.value())
    [outcome] = Decoder(Catalogue.load())(record)
    assert isinstance(outcome, TrialReport)
    assert outcome.schema_version == 3
    assert outcome.extra is None
    assert outcome.values == {
        "run_id": "run-1",
        "trial_id": "7",
        "status": "failed",
        "metrics": {"loss": "NaN", "layers": [{"norm": 1.5}], "matrix": [[1.0, 0.0], [0.0, 1.0]]},
        "parameters": {"learning_rate": 0.25, "layers": 3},
        "spectral_norm": True,
        "mlflow_run_id": "abc",
        "artifact_uri": "s3://models/1",
        "duration_ms": 840,
        "rank": 2,
        "warnings": ["loss is NaN at epoch 3"],
        "candidate_id": "c-1",
        "pulse_id": "p-1",
        "error_message": "diverged",
        "error_type": "nan_loss",
        "stacktrace": "line 1\nline 2",
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, (False, False)),
        ({"spectral_norm": None}, (False, False)),
        ({"spectral_norm": False}, (False, True)),
        ({"spectral_norm": np.bool_(True)}, (True, True)),
    ],
)
def test_that_nobody_said_anything_of_spectral_norm_is_no_false_that_was_said(
    said: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    """The comparison tells the arm of those who said no from that of those who said nothing."""
    with reporter() as sender:
        sender.report("run-1", 7, **said)
        sender.flush()
        [message] = read(sender, 1)
    [outcome] = Decoder(Catalogue.load())(
        RawRecord("raw", 0, 0, message.timestamp()[1], message.key(), message.value())
    )
    assert isinstance(outcome, TrialReport)
    assert (outcome.values["spectral_norm"], outcome.spectral_norm_reported) == expected


def test_a_full_queue_makes_report_wait_and_loses_nothing() -> None:
    """With room for two reports, two hundred from four threads arrive, each run's in its order."""
    with reporter(queue_max_reports=2) as sender:

        def send(run_id: str) -> None:
            for number in range(50):
                sender.report(run_id, number)

        threads = [threading.Thread(target=send, args=(f"run-{one}",)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sender.flush()
        messages = read(sender, 200)
    by_run: dict[bytes, list[str]] = {}
    for message in messages:
        by_run.setdefault(message.key() or b"", []).append(json.loads(message.value() or b"")["trial_id"])
    assert by_run == {f"run-{one}".encode(): [str(number) for number in range(50)] for one in range(4)}


def test_reports_of_a_run_stay_on_one_partition() -> None:
    """The order of a run's reports is the order they were reported in."""
    with reporter() as sender:
        for number in range(30):
            sender.report(f"run-{number % 3}", number)
        sender.flush()
        places = {(message.key(), message.partition()) for message in read(sender, 30)}
    assert len(places) == 3


def test_a_clock_that_is_set_back_does_not_make_a_report_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The later report of a trial never has the earlier timestamp."""
    hour_ago = time.time_ns() - 3_600_000_000_000
    with reporter() as sender:
        sender.report("run", "trial", metrics={"accuracy": 0.1})
        monkeypatch.setattr(time, "time_ns", lambda: hour_ago)
        sender.report("run", "trial", metrics={"accuracy": 0.2})
        sender.flush()
        first, second = (message.timestamp()[1] for message in read(sender, 2))
    assert second >= first


def test_leaving_the_block_names_what_kafka_does_not_have(nowhere: str) -> None:
    """No broker: the exception has every trial with its bytes, and comes in time."""

    def search() -> None:
        with reporter(nowhere, options={}, close_timeout_s=0.5) as sender:
            sender.report("run-1", "trial-1", metrics={"accuracy": 0.5})
            sender.report("run-1", "trial-2")

    begin = time.monotonic()
    with pytest.raises(UndeliveredError, match=r"run-1/trial-1.*run-1/trial-2") as caught:
        search()
    assert time.monotonic() - begin < patient(10)
    first, second = caught.value.trials
    assert (first.trial_id, second.trial_id) == ("trial-1", "trial-2")
    assert json.loads(first.value)["metrics"] == {"accuracy": 0.5}


def test_an_exception_in_the_block_does_not_hide_what_was_not_delivered(nowhere: str) -> None:
    """Both are there: the reporter's, and in its context the search's own."""

    def search() -> None:
        with reporter(nowhere, options={}, close_timeout_s=0.2) as sender:
            sender.report("run", "trial")
            raise ValueError("the search broke")

    with pytest.raises(UndeliveredError) as caught:
        search()
    assert isinstance(caught.value.__context__, ValueError)


def test_flush_that_ran_out_of_time_leaves_the_reports_queued(nowhere: str) -> None:
    """They are named by each flush, until they are delivered."""
    sender = reporter(nowhere, options={}, close_timeout_s=0)
    sender.report("run", "trial")
    for _ in range(2):
        with pytest.raises(UndeliveredError, match=r"1 trial report.*run/trial: no confirmation yet"):
            sender.flush(0.1)
    with pytest.raises(UndeliveredError):
        sender.close()


def test_a_failed_delivery_is_raised_once_with_kafkas_reason(nowhere: str) -> None:
    """The flush after the failure names trial and reason; the next one has nothing to say."""
    sender = reporter(nowhere, options={"message.timeout.ms": 100})
    sender.report("run", "trial")
    with pytest.raises(UndeliveredError, match=r"run/trial: .*timed out"):
        sender.flush(20)
    sender.flush(1)
    sender.close()


def test_a_report_that_can_not_be_queued_is_named_at_once() -> None:
    """Too large for the client: `report` itself raises, and nothing is left behind for flush."""
    with reporter(options=MOCK | {"message.max.bytes": 2000}) as sender:
        with pytest.raises(UndeliveredError, match=r"run/trial: .*too large"):
            sender.report("run", "trial", metrics={"text": "x" * 3000})
        sender.report("run", "small")


def test_a_report_larger_than_the_whole_queue_is_named_at_once(nowhere: str) -> None:
    """It would wait for ever for room that there can't be; a report that fits waits, or is queued."""
    sender = reporter(nowhere, options={}, queue_max_kib=2, close_timeout_s=0)
    with pytest.raises(UndeliveredError, match=r"run/trial: it is larger than the whole queue \(queue_max_kib\)"):
        sender.report("run", "trial", metrics={"text": "x" * 3000})
    sender.report("run", "small")
    with pytest.raises(UndeliveredError, match="run/small: no confirmation yet"):
        sender.close()


def test_ctrl_c_ends_the_wait_for_room(nowhere: str) -> None:
    """The report that waited is not sent and not counted; those before it still are."""
    sender = reporter(nowhere, options={}, queue_max_reports=1, close_timeout_s=0)
    sender.report("run", "queued")
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        sender.report("run", "waiting")
    signal.signal(signal.SIGALRM, previous)
    with pytest.raises(UndeliveredError) as caught:
        sender.close()
    assert [one.trial_id for one in caught.value.trials] == ["queued"]


def test_a_closed_reporter_says_so() -> None:
    """Closing twice is harmless, reporting afterwards is not silently ignored."""
    sender = reporter()
    sender.close()
    sender.close()
    with pytest.raises(RuntimeError, match="closed"):
        sender.report("run", "trial")


def test_options_can_not_take_the_promises_away() -> None:
    """Idempotence and acks=all win over what the options say; unknown options are named."""
    with pytest.raises(ValueError, match=r"no.such.property"):
        reporter(options={"no.such.property": 1})
    with reporter(options=MOCK | {"acks": "0", "enable.idempotence": False}) as sender:
        sender.report("run", "trial")


def test_the_exception_names_many_but_not_endlessly_many() -> None:
    """Its text stays readable, its `trials` are complete."""
    trials = [Undelivered("run", f"trial-{number}", "gone", b"") for number in range(500)]
    error = UndeliveredError(trials)
    assert len(error.trials) == 500
    assert "500 trial report(s)" in str(error)
    assert str(error).endswith("and 480 more")


def test_broker_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A person who watches the log learns that the broker is away."""
    transport = KafkaTransport(Target(url="mock:9092", options=MOCK))
    transport._note_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    transport.close()
    assert "All broker connections are down" in caplog.text


def test_flush_waits_for_what_was_reported_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits, another report comes for each that is confirmed."""
    reporter, recorder = recorded(monkeypatch)
    recorder.is_down = True
    reporter.report("run", "mine")

    def serve(timeout_s: float) -> None:
        if recorder.is_down and timeout_s:
            reporter.report("others", "next")
            report, settled = recorder._held.popleft()
            recorder.confirmed.append(report)
            settled(None)

    monkeypatch.setattr(recorder, "serve", serve)
    reporter.flush(patient(5))
    assert [report.run_id for report in recorder.confirmed] == ["run"]
    recorder._held.popleft()[1](None)
    reporter.close()


def test_an_id_of_a_million_digits_is_refused_by_name_and_without_writing_it() -> None:
    with pytest.raises(ValueError, match="run_id has more than 500 characters: an integer of 3321929 bits"):
        identifier(10**1_000_000, "run_id")
