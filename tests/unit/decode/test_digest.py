"""The digest of a report stands for its content: what it must tell apart, and that nobody changes the rules unseen."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
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
    3: "4e81ecafba1ae345dc61159bf4862a58ac59d204551fb6d6ef07a3c3ee37fab6",
    4: "02d136e24d40b656584282dec7da8abb1600c8282f3f11fc23cb2af12ed7e785",
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


def test_no_digest_stands_for_two_contents_whatever_the_key_and_the_headers_say() -> None:
    """They are no part of it: so what a report of one run and trial holds must not depend on them."""
    values = [
        {"number": 7, "study_name": "s"},
        {"trial_id": 7, "study_name": "s", "study_id": 7, "run_id": None},
        {"trials": [{"number": 7}], "study_name": "s", "model_run_id": ""},
        {"trial_id": "7"},
    ]
    keys: list[bytes | None] = [None, b"s", b'"s"', b"7", b"null", b"other"]
    found: dict[tuple[str, str, str], set[str]] = {}
    for value in values:
        for key in keys:
            for header in keys:
                for one in DECODE(record(value, key=key, headers=(("run_id", header),))):
                    if isinstance(one, TrialReport):
                        held = repr((one.values, one.extra, one.envelope))
                        found.setdefault((one.digest, one.run_id, one.trial_id), set()).add(held)
    assert len(found) == 8
    assert {1} == {len(held) for held in found.values()}


@pytest.mark.parametrize("pair", [(None, float("nan")), (1.0, True), ("1.5", 1.5)])
def test_avro_that_differs_only_where_json_has_one_form_has_two_digests(pair: tuple[Any, Any]) -> None:
    schema = {"type": "record", "name": "R", "fields": []}
    types = ["null", "double", "boolean", "string"]
    fields = [{"name": name, "type": "string"} for name in ONE] + [{"name": "rank", "type": types}]
    bodies = {None: b"\0", float: b"\2", bool: b"\4\1", str: b"\6\6"}
    seen = []
    for value in pair:
        body = bodies[type(value) if value is not None else None]
        body += struct.pack("<d", value) if type(value) is float else str(value).encode() if body[-1:] == b"\6" else b""
        decode = Decoder(CATALOGUE, writer_schemas=lambda _: {**schema, "fields": fields})
        seen += [getattr(one, "digest", one) for one in decode(record(b"\0\0\0\0\7\2t\2r" + body))]
    assert len(seen) == 2
    assert seen[0] != seen[1]


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
    # of the rules' version 3
    names = ["event", "state", "error", "exception", "params", "hyperparameters", "hyperparams", "value", "values"]
    names += ["duration_s", "duration_seconds", "training_time_sec", "number", "study_name", "study_id", "status"]
    values += [{**ONE, name: value} for name in names for value in [*odd, "ml.trial.failed", "TrialState.FAIL", ["x"]]]
    values += [{"number": 7, name: "key"} for name in ("study_name", "study_id")]
    values += [{**ONE, "spectral_norm": value} for value in ("yes", "1.0", [True], ["no"], "maybe")]
    values += [
        b'{"trial_id":"t","run_id":"r","own":1,"metrics":{"a":1e131072,"b":1e-16384,"c":0.%s}}' % (b"3" * 17_000)
    ]
    return values


def test_no_rule_is_changed_without_a_new_version_of_the_rules() -> None:
    """A replay leaves rows alone whose digest is that of their report: other rules must give other digests.

    Where this fails, the same bytes become another report than before. If that is meant: raise
    `processor.decode.digest.RULES_VERSION`, and add the new version's hash to `MADE`.
    """
    made = [
        (one.run_id, one.trial_id, one.values, one.extra, one.envelope, one.spectral_norm_reported)
        for value in everything()
        for one in DECODE(record(value, key=b"key"))
        if isinstance(one, TrialReport)
    ]
    assert len(made) > 250
    text = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode(made)
    assert hashlib.sha256(text).hexdigest() == MADE[RULES_VERSION]
