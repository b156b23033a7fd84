"""One table of cases, held against every place that judges: Python, the SQL that writes, the SQL that only compares."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, TrialReport, Written
from processor.core.verdict import VERDICTS, Verdict, judge
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.replay.fold import succeed
from processor.store import applying as store_applying
from processor.store.compare import Comparison
from processor.store.rows import row_json
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import record, report

DECODE = Decoder(Catalogue.load())
HELD = (1_700_000_000_000, 2, 50, 1)


class Case(NamedTuple):
    """What arrives, as (timestamp, partition, offset, place), beside a row that holds the report at `held`.

    `held` is None where there is no row, () where the row is from before this processor.
    """

    name: str
    at: tuple[int, int, int, int]
    held: tuple[int, ...] | None
    same: bool
    verdict: Verdict


def moved(place: int, by: int) -> tuple[int, int, int, int]:
    """The held position, one part of it earlier or later."""
    parts = list(HELD)
    parts[place] += by
    return tuple(parts)  # type: ignore[return-value]


PARTS = ("timestamp", "partition", "offset", "place")
CASES = [
    Case("no row", HELD, None, False, Verdict.INSERTED),
    Case("a row from before, other content", HELD, (), False, Verdict.CHANGED),
    Case("a row from before, same content", HELD, (), True, Verdict.TOUCHED),
    Case("the very report", HELD, HELD, True, Verdict.UNCHANGED),
    Case("the very position, other content", HELD, HELD, False, Verdict.CHANGED),
    *(
        Case(f"{name} {word}, {'same' if same else 'other'} content", moved(place, by), HELD, same, verdict)
        for place, name in enumerate(PARTS)
        for by, word, same, verdict in (
            (-1, "earlier", True, Verdict.STALE),
            (-1, "earlier", False, Verdict.STALE),
            (1, "later", True, Verdict.TOUCHED),
            (1, "later", False, Verdict.CHANGED),
        )
    ),
    Case("a later timestamp at an earlier offset", (HELD[0] + 1, 0, 0, 0), HELD, False, Verdict.CHANGED),
    Case("an earlier timestamp at a later offset", (HELD[0] - 1, 9, 99, 9), HELD, False, Verdict.STALE),
]


def at(place: tuple[int, ...], **content: Any) -> TrialReport:
    """A report of the one trial that all cases are about, at this position."""
    timestamp_ms, partition, offset, index = place
    others = [report(trial_id=f"other-{number}") for number in range(index)]
    made = record(
        [*others, report(trial_id="t", run_id="r", **content)],
        timestamp_ms=timestamp_ms,
        partition=partition,
        offset=offset,
    )
    found = DECODE(made)[index]
    assert isinstance(found, TrialReport)
    return found


def arriving(case: Case) -> TrialReport:
    return at(case.at, metrics={"a": 1 if case.same else 2}, **SAID)


#: whatever the factory would make anew each time
SAID: dict[str, Any] = {"mlflow_run_id": "m", "parameters": {"lr": 1}}


def put_row(store: Session, case: Case) -> None:
    """The row that the case begins with."""
    if case.held is None:
        return
    held = case.held or HELD
    TrialStore(store, EventWriter()).write(Batch([at(held, metrics={"a": 1}, **SAID)], [], {}))
    if not case.held:
        columns = ", ".join(f"source_{name} = null" for name in ("topic", "partition", "offset", "index", "timestamp"))
        update = f"update cerebros_model_trials set {columns}, source_digest = null, revision = 0"
        store.run(lambda connection: connection.execute(update))


def verdict_of(written: Written) -> Verdict:
    [word] = [word for word in VERDICTS if getattr(written, word)]
    return Verdict[word.upper()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_python_judges_as_the_table_says(case: Case) -> None:
    if case.held is None:
        assert succeed(None, arriving(case))[0] is case.verdict
        return
    assert judge(case.at, case.held or None, case.same) is case.verdict  # type: ignore[arg-type]
    if case.held:
        _, trial = succeed(None, at(case.held, metrics={"a": 1}, **SAID))
        assert succeed(trial, arriving(case))[0] is case.verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sql_that_compares_judges_as_the_table_says(case: Case, store: Session) -> None:
    put_row(store, case)
    [row] = Comparison(store).compare([row_json(arriving(case))])
    assert row.verdict is case.verdict


@pytest.mark.parametrize("bulk_least", [1, 10**9], ids=["by a look", "by SQL alone"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_writing_judges_as_the_table_says(
    case: Case, bulk_least: int, store: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_applying, "BULK_LEAST", bulk_least)
    put_row(store, case)
    assert verdict_of(TrialStore(store, EventWriter()).write(Batch([arriving(case)], [], {}))) is case.verdict


def test_keys_of_other_programs_in_bridge_payload_are_no_change_of_content(store: Session) -> None:
    case = next(one for one in CASES if one.name == "the very report")
    put_row(store, case)
    update = """update cerebros_model_trials set bridge_payload = '{"response": 1}', source_digest = null"""
    store.run(lambda connection: connection.execute(update))
    [row] = Comparison(store).compare([row_json(arriving(case))])
    assert (row.verdict, row.fields) == (Verdict.UNCHANGED, ())
    assert verdict_of(TrialStore(store, EventWriter()).write(Batch([arriving(case)], [], {}))) is Verdict.UNCHANGED
