"""The digest of a report stands for its content: what it must tell apart, and that nobody changes the rules unseen."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.avro.folder import find_released
from processor.contracts.catalogue import Catalogue
from processor.core.messages import TrialReport
from processor.decode import digest
from processor.decode.decoder import Decoder
from processor.decode.digest import RULES_VERSION
from tests.factories import record, report

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
ONE = {"trial_id": "t", "run_id": "r"}
#: what the rules of a version make of `everything()`; add a line with a new version, never change one
MADE = {
    1: "2ce837f6aea5b72c1d868d872414e543794cf8e282c3e237264f5edf27750e0f",
    2: "8aea1c7f8199a98bad3a060712aa7f93b8bb77fb2678ac8c7249103cf2ab836f",
}


def digests(value: Any, decoder: Decoder = DECODE, **fields: Any) -> list[str]:
    outcomes = decoder(record(value, **fields))
    return [one.digest for one in outcomes if isinstance(one, TrialReport)]


@pytest.mark.parametrize(
    "value",
    [
        report(),
        report(status="PRUNED", own=1),
        [ONE, ONE, {**ONE, "own": 1}],
        {"trials": [ONE, ONE]},
        {"trials": [ONE, {**ONE, "rank": "7"}], "note": "\0"},
        CATALOGUE.single_object("trial_report", report()),
    ],
    ids=["plain", "bent", "list", "envelope", "bent envelope", "Avro"],
)
def test_the_same_bytes_give_the_same_digests_and_each_report_its_own(value: Any) -> None:
    record_bytes = record(value).value
    first, again = digests(record_bytes), digests(record_bytes, offset=7, timestamp_ms=8, key=b"k")
    assert first == again
    assert len(set(first)) == len(first) > 0
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in first)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 10_000))
def test_any_other_byte_gives_another_digest(change: bytes, place: int) -> None:
    value = json.dumps(report()).encode()
    place %= len(value)
    other = value[:place] + change + value[place + len(change) :]
    assert (digests(value) == digests(other)) is (value == other)


def test_what_stands_around_a_report_is_in_its_digest() -> None:
    assert digests({"trials": [ONE], "note": 1}) != digests({"trials": [ONE], "note": 2})
    assert digests([ONE, ONE])[0] != digests([ONE])[0]


def test_another_schema_gives_other_digests(tmp_path: Path) -> None:
    """A field that a new version knows is no longer among the extras: the same bytes are another content."""
    shutil.copytree(find_released(), tmp_path, dirs_exist_ok=True)
    schema = json.loads((tmp_path / "trial_report" / "v3.avsc").read_text())
    schema["fields"].append({"name": "own", "type": ["null", "string"], "default": None})
    (tmp_path / "trial_report" / "v4.avsc").write_text(json.dumps(schema))
    assert digests(ONE) != digests(ONE, Decoder(Catalogue.load(tmp_path)))


def test_the_same_avro_has_another_digest_once_the_registry_says_something_else_of_it() -> None:
    right: Any = CATALOGUE.latest("trial_report").definition
    swap = {"pulse_id": "candidate_id", "candidate_id": "pulse_id"}
    wrong = {
        **right,
        "fields": [{**field, "name": swap.get(field["name"], field["name"])} for field in right["fields"]],
    }
    value = b"\0\0\0\0\7" + CATALOGUE.encode("trial_report", report(pulse_id="p", candidate_id="c"))
    first, again, other = (
        digests(value, Decoder(CATALOGUE, writer_schemas=lambda _, said=said: said))  # type: ignore[misc]
        for said in (right, right, wrong)
    )
    assert first == again != other
    assert len(first) == len(other) == 1


def test_other_rules_give_other_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "RULES_VERSION", RULES_VERSION + 1)
    assert digests(ONE) != digests(ONE, Decoder(CATALOGUE))


def everything() -> list[Any]:
    """Values that every rule has something to do with."""
    odd: list[Any] = [
        None, True, False, 0, 1, -1, 7, 10**30, -(10**30), 1.5, 2.5, -0.0, 1e300, float("nan"), float("inf"), "", "x",
        "true", "FALSE", "12", "1.5", "-1", " 3 ", "NaN", "a\0b", "\ud800", "ünï", [], [1, None, "a", True, {}], {},
        {"a": float("nan"), "b": [10**30, "\0"], "c\0": {"d": 1e308}},
    ]  # fmt: skip
    names = [field["name"] for field in CATALOGUE.versions("trial_report")[1].definition["fields"]]
    values: list[Any] = [{**ONE, name: value} for name in [*names, "own"] for value in odd]
    statuses = ["complete", "Completed", "SUCCESS", "pruned", "canceled", "timeout", "error", "skipped", "Cancelled"]
    values += [{**ONE, "status": status} for status in statuses]
    values += [{"trials": [ONE, {"trial_id": "u"}], "model_run_id": "m", "note": value} for value in odd]
    values += [b'{"trial_id":"t","run_id":"r","metrics":{"a":1e999,"b":-1e999,"c":NaN,"d":12345678901234567890}}']
    metrics = {"accuracy": 0.5, "nan": float("nan"), "deep": [{"a": None}]}
    avro = report(trial_id="t", mlflow_run_id="m", metrics=metrics)
    values += [CATALOGUE.single_object("trial_report", avro, version) for version in (1, 2)]
    # of version 3
    values += [{**ONE, name: value} for name in ("error_message", "error_type", "stacktrace") for value in odd]
    return values


def test_no_rule_is_changed_without_a_new_version_of_the_rules() -> None:
    """A replay leaves rows alone whose digest is that of their report: other rules must give other digests.

    Where this fails, the same bytes become another report than before. If that is meant: raise
    `processor.decode.digest.RULES_VERSION`, and add the new version's hash to `MADE`.
    """
    made = [
        (one.run_id, one.trial_id, one.values, one.extra, one.envelope)
        for value in everything()
        for one in DECODE(record(value, key=b"key"))
        if isinstance(one, TrialReport)
    ]
    assert len(made) > 250
    text = msgspec.json.encode(made, order="deterministic")
    assert hashlib.sha256(text).hexdigest() == MADE[RULES_VERSION]
