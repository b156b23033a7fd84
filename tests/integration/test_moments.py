"""Times to the millisecond, up to the last that Python and Postgres have, in every query that has to do with one."""

from __future__ import annotations

from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, RawRecord, Reason, Rejection, TrialReport, Written
from processor.core.times import timestamp_text
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.replay.redrive import redrive
from processor.store import applying
from processor.store.compare import Comparison, Letter
from processor.store.dead_letters import DeadLetters, Selection
from processor.store.queries import load_queries
from processor.store.redrive import RedriveStore
from processor.store.rows import row_json
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import record, report

DECODE = Decoder(Catalogue.load())
EVENTS = EventWriter()
LAST = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
#: microseconds since the epoch stop to fit into a double in 2255
MOMENTS = [0, 1, 999, 1_700_000_000_123, 9_007_199_254_741, *(9_007_199_254_740_993 // 1000 + n for n in range(3))]
MOMENTS += [20_000_000_000_001, 100_000_000_000_003, 150_000_000_000_007, *(LAST - n for n in range(4))]


def at(timestamp_ms: int, **fields: Any) -> TrialReport:
    said = {"trial_id": "t", "run_id": "r", "mlflow_run_id": "m", "metrics": {}, **fields}
    made = record(report(**said), timestamp_ms=timestamp_ms, offset=1)
    [found] = DECODE(made)
    assert isinstance(found, TrialReport)
    return found


def write(store: Session, *reports: TrialReport, rejections: tuple[Rejection, ...] = ()) -> Written:
    return TrialStore(store, EVENTS).write(Batch(reports, rejections, {}))


def held(store: Session, column: str, table: str) -> list[Any]:
    sql = f'select to_char({column}, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\') from {table}'
    return [row[0] for row in store.run(lambda connection: connection.fetch(sql))]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("bulk_least", [1, 10**9], ids=["copied", "judged by SQL"])
def test_a_row_holds_its_time_exactly_and_the_same_report_is_recognised(
    store: Session, moment: int, bulk_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BULK_LEAST", bulk_least)
    assert write(store, at(moment)).inserted == 1
    assert held(store, "source_timestamp", "cerebros_model_trials") == [timestamp_text(moment)]
    for least in (1, 10**9):
        monkeypatch.setattr(applying, "BULK_LEAST", least)
        assert write(store, at(moment)).unchanged == 1
    [compared] = Comparison(store).compare([row_json(at(moment))])
    assert (compared.newer, compared.fields) == (0, ())


@pytest.mark.parametrize("moment", [one for one in MOMENTS if one])
@pytest.mark.parametrize("bulk_least", [1, 10**9], ids=["copied", "judged by SQL"])
def test_a_report_that_is_a_millisecond_older_never_overwrites(
    store: Session, moment: int, bulk_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BULK_LEAST", bulk_least)
    write(store, at(moment, metrics={"a": 2}))
    assert write(store, at(moment - 1, metrics={"a": 1})).stale == 1
    assert Comparison(store).compare([row_json(at(moment - 1, metrics={"a": 1}))])[0].newer == -1
    write(store, at(moment - 1, metrics={"a": 1}, trial_id="t-2"))
    assert write(store, at(moment, metrics={"a": 2}, trial_id="t-2")).changed == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dead_letter_holds_its_time_exactly_and_is_found_and_resolved_by_it(store: Session, moment: int) -> None:
    def reject(one: RawRecord) -> Rejection:
        return Rejection(one, 0, Reason.NOT_JSON, "no")

    of = at(moment).record
    for _ in range(2):
        write(store, rejections=(reject(of),))
    assert held(store, "record_timestamp", "dead_letter_records") == [timestamp_text(moment)]
    assert Comparison(store).letters([of]) == {Letter(0, 1, moment, 0): True}
    letters = DeadLetters(store)
    [[letter]] = list(letters.pages(Selection(), 10, 2**20))
    assert letter.record.timestamp_ms == moment
    write(store, at(moment))
    assert Comparison(store).letters([of]) == {Letter(0, 1, moment, 0): False}
    write(store, rejections=(reject(of),))
    tally = redrive(letters.pages(Selection(), 10, 2**20), DECODE, RedriveStore(store, EVENTS))
    assert (tally.resolved, tally.reports["equal"]) == (1, 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_dead_letters_are_selected_by_the_exact_time(store: Session, moment: int) -> None:
    write(store, rejections=(Rejection(record(b"x"), 0, Reason.NOT_JSON, "no"),))
    update = f"update dead_letters set first_seen = '{timestamp_text(moment)}'"
    store.run(lambda connection: connection.execute(update))
    letters = DeadLetters(store)
    assert [letters.count(Selection(since_ms=since)) for since in (moment, moment + 1)] == [1, 0]
    pages = [list(letters.pages(Selection(since_ms=since), 10, 2**20)) for since in (moment, moment + 1)]
    assert [len(page) for page in pages] == [1, 0]


def test_no_query_converts_a_time_in_another_way() -> None:
    for name, sql in load_queries().items():
        plain = sql.replace(" ", "")
        assert "to_timestamp" not in plain, name
        assert plain.count("interval'1millisecond'") == plain.count("%1000)*interval'1millisecond'"), name
