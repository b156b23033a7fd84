"""Records of the events topic, read back: what the processor itself publishes, and what is no event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import RawRecord, TrialReport
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.events.headers import cloud_event_headers
from processor.mlflow.content import Happening
from processor.mlflow.events import EventReader, Unreadable
from processor.mlflow.rows import event_of
from tests.factories import record, report

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas")
READ = EventReader(CATALOGUE)


def published(**fields: Any) -> RawRecord:
    (decoded,) = Decoder(CATALOGUE)(record(report(**fields)))
    assert isinstance(decoded, TrialReport)
    event = EventWriter()(decoded, 3)
    assert event is not None
    return record(event.value, headers=tuple(cloud_event_headers(event, b"/")))


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_an_event_is_read_as_the_row_of_its_trial_says(status: str) -> None:
    """What `verify --mend` makes from the tables is what the mirror makes from the topic."""
    given = report(status=status, warnings=["w"], trial_id="t")
    found = READ(published(**given))
    assert isinstance(found, Happening)
    row = {**given, "revision": 3, "reported_run": given["mlflow_run_id"], "time_ms": found.moment.time_ms}
    row |= {"error_message": None, "error_type": None, "stacktrace": None}
    same = event_of(row)
    assert (same.kind, same.trial, same.moment) == (found.kind, found.trial, found.moment)
    assert {name: same.body.get(name) for name in found.body} == dict(found.body)


def test_other_kinds_are_passed_over() -> None:
    assert READ(record(b"{}", headers=(("ce_type", b"ml.other"),))) is None


GOOD = published(trial_id="t")
BAD: list[tuple[bytes | None, dict[str, bytes]]] = [
    (GOOD.value, {"ce_type": b""}),
    (GOOD.value, {"ce_time": b"yesterday"}),
    (b"not json", {}),
    (b"", {}),
    (None, {}),
    (b"[1]", {}),
    (b"\x00\x00\x00\x00\x07avro", {}),
    ((GOOD.value or b"").replace(b'"revision":3', b'"revision":0'), {}),
    ((GOOD.value or b"").replace(b'"completed"', b'"running"'), {}),
    (b"[" * 100_000, {}),
    (b'{"revision": ' + b"9" * 5000 + b"}", {}),
]


@pytest.mark.parametrize(("value", "headers"), BAD)
def test_what_is_no_event_says_why(value: bytes | None, headers: dict[str, bytes]) -> None:
    changed = {**dict(GOOD.headers), **headers}
    found = READ(RawRecord("events", 0, 1, 1, b"run", value, tuple(changed.items())))
    assert isinstance(found, Unreadable)
    assert found.why
