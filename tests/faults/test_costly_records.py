"""Records and rows that cost more than their neighbours: memory stays bounded, and the stream goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.store.dead_letters import DeadLetters
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.faults.test_limits import peak_mib
from tests.support.ledger import check_ledger
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import rows, wait_settled

Start = Callable[..., Process]


def test_a_record_of_a_thousand_bad_reports_takes_tens_of_megabytes(
    settings: Settings, start: Start, environment: dict[str, str]
) -> None:
    """A reporter's bug, once in each report of a large envelope."""
    bad = [
        report(trial_id=f"t{number}", run_id="r", status="no-such-status", parameters={"p": "x" * 600})
        for number in range(1000)
    ]
    value = json.dumps({"run_id": "r", "trials": bad}).encode()
    assert 900_000 < len(value) < 1_048_000
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", json.dumps(report(run_id="r")).encode())])
    ingest, relay = start("ingest", PROCESSOR_MEMORY_MB="256"), start("relay")
    wait_until(lambda: rows(settings) == 1, "a report is written")
    wait_settled(settings)
    before = peak_mib(ingest), peak_mib(relay)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value)])
    wait_until(lambda: bool(list(read_topic(settings, settings.dead_letter_topic))), "dead letters are out", 60)
    wait_settled(settings)
    more = peak_mib(ingest) - before[0], peak_mib(relay) - before[1]
    print(f"ingest {peak_mib(ingest)} MiB, {more[0]} more than before; relay {peak_mib(relay)} MiB, {more[1]} more")
    assert max(more) < 64, more
    published = list(read_topic(settings, settings.dead_letter_topic))
    assert sum(len(one.value or b"") for one in published) == len(value)
    done = run_command(environment, "verify")
    assert done.returncode == 0, done.stdout


def test_a_batch_that_the_database_cannot_write_in_its_time_is_written_in_smaller_ones(
    settings: Settings, start: Start, database_url: str, environment: dict[str, str]
) -> None:
    """A trigger of another program takes a millisecond a row: a whole batch takes longer than a statement may."""
    execute(
        database_url,
        "create function slow() returns trigger language plpgsql as "
        "$$ begin perform pg_sleep(0.001); return new; end $$",
        "create trigger slow before insert on cerebros_model_trials for each row execute function slow()",
    )
    messages = [
        (f"run-{n % 8}", json.dumps(report(trial_id=f"t{n}", run_id=f"run-{n % 8}")).encode()) for n in range(8000)
    ]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    start("relay")
    ingest = start("ingest", PROCESSOR_DATABASE_TIMEOUT_MS="3000", PROCESSOR_BATCH_MAX_RECORDS="4000")
    wait_until(lambda: rows(settings) == 8000, "all rows are written", 90)
    wait_settled(settings)
    assert "batch_halved" in ingest.log.read_text()
    assert check_ledger(settings).dead_letters == 0
    assert run_command(environment, "verify").returncode == 0


REFUSING = "alter table cerebros_model_trials add constraint new_rule check (pulse_id <> 'pulse-1') not valid"


def test_a_constraint_that_refuses_nearly_everything_is_an_outage_and_rejects_nothing(
    settings: Settings, start: Start, database_url: str, environment: dict[str, str]
) -> None:
    # (fuller batches: the first hundred that are refused might come alone, and be single bad rows)
    ingest, _relay = start("ingest", PROCESSOR_BATCH_MAX_WAIT_MS="1000"), start("relay")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=71))
    wait_settled(settings)
    execute(database_url, REFUSING)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(4000, seed=72))
    ingest.wait_said("database_refuses")
    time.sleep(3)
    said = ingest.log.read_text()
    assert said.count("database_refuses") <= 2  # one a writer
    assert "nothing is rejected for now" in said
    refused = "select count(*) from dead_letters where reason = 'database_refused'"
    with Session(database_url) as store:
        assert store.run(lambda connection: connection.fetchval(refused)) == 0
    execute(database_url, "alter table cerebros_model_trials drop constraint new_rule")
    wait_settled(settings, 60)
    check_ledger(settings)
    assert run_command(environment, "verify").returncode == 0


def test_a_row_that_a_trigger_refuses_is_rejected_alone(
    settings: Settings, start: Start, database_url: str, environment: dict[str, str]
) -> None:
    execute(
        database_url,
        "create function choosy() returns trigger language plpgsql as $$ begin "
        "if new.trial_id like 'bad-%' then raise exception 'not this one'; end if; return new; end $$",
        "create trigger choosy before insert on cerebros_model_trials for each row execute function choosy()",
    )
    made = [report(trial_id=f"{'bad' if number % 50 == 0 else 't'}-{number}", run_id="r") for number in range(3000)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", json.dumps(one).encode()) for one in made])
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings, 60)
    assert rows(settings) == 2940
    assert "database_refuses" not in ingest.log.read_text()
    with Session(database_url) as store:
        assert [(one["reason"], one["count"]) for one in DeadLetters(store).reasons()] == [("database_refused", 60)]


def test_a_constraint_that_is_meant_rejects_what_it_refuses_where_the_setting_says_so(
    settings: Settings, start: Start, database_url: str
) -> None:
    execute(database_url, REFUSING)
    made = [report(trial_id=f"t{number}", run_id="r") for number in range(300)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", json.dumps(one).encode()) for one in made])
    start("ingest", PROCESSOR_DATABASE_REFUSALS_SHARE="1"), start("relay")
    wait_settled(settings, 60)
    with Session(database_url) as store:
        assert [(one["reason"], one["count"]) for one in DeadLetters(store).reasons()] == [("database_refused", 300)]
