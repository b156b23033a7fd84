"""How a session found rows when there were next to none is not how it goes on: a report costs what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, TrialReport
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.service.wiring import open_sink
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.conftest import execute, settings_of
from tests.factories import record, report

DECODE = Decoder(Catalogue.load())
#: new trials of a batch, and how many of those before it are reported again, changed
NEW, AGAIN = 500, 100
READ = (
    "select (select sum(idx_tup_read) from pg_stat_user_indexes where relname = $1) + "
    "(select seq_tup_read from pg_stat_user_tables where relname = $1)"
)


@pytest.fixture
def sink(database_url: str) -> Iterator[TrialStore]:
    """As ingest has it. Nothing analyses the tables meanwhile, as in the first minute of a database."""
    for table in ("cerebros_model_trials", "cerebros_model_runs"):
        execute(database_url, f"alter table {table} set (autovacuum_enabled = false)")
    sink = open_sink(settings_of({"PROCESSOR_DATABASE_URL": database_url}), EventWriter(), "test-plans")
    yield sink
    sink.close()


def reports(first: int, number: int, offset: int, **fields: object) -> list[TrialReport]:
    found = []
    for place in range(number):
        one = record(report(trial_id=f"t{first + place}", run_id="run", **fields), offset=offset + place)
        found += [outcome for outcome in DECODE(one) if isinstance(outcome, TrialReport)]
    return found


def rows_read(store: Session) -> int:
    """Of the trials, by every session so far: what sessions have read is counted once they have told it."""
    return int(store.run(lambda connection: connection.fetchval(READ, "cerebros_model_trials")))


def test_a_session_that_began_with_few_trials_does_not_look_through_all_of_a_run(
    sink: TrialStore, store: Session
) -> None:
    offset = 0
    for trial in range(10):  # one by one, often enough for plans that are kept
        sink.write(Batch(reports(trial, 1, offset), (), {}))
        offset += 1
    for turn in range(8):
        first = 10 + turn * NEW
        new, again = reports(first, NEW, offset), reports(max(0, first - NEW), AGAIN, offset + NEW, duration_ms=turn)
        written = sink.write(Batch([*new, *again], (), {}))
        assert (written.inserted, written.changed) == (NEW, AGAIN)
        offset += NEW + AGAIN
    sink.close()  # whose session tells then what it has read
    told = 8 * (NEW + AGAIN) + 10
    assert rows_read(store) < 20 * told
