"""What people send that is no report: each is read, or its rejection says what it is, in one line and no Python."""

from __future__ import annotations

import bz2
import gzip
import json
import pickle
import re
import zlib
from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.decode.decoder import Decoder
from tests.factories import record, report

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
GOOD = {"trial_id": "t", "run_id": "r"}
TEXT = json.dumps(GOOD)
#: what Python and its libraries say, and people should not have to read
PYTHON = re.compile(r"Expecting|Traceback|Error|delimiter|codec|b'|unhashable|object is not|0x[0-9a-f]{6}|<class")


def only(value: Any, **fields: Any) -> Outcome:
    [one] = DECODE(record(value, **fields))
    return one


BYTES: list[tuple[str, bytes, Reason, str]] = [
    ("UTF-16 with a mark", TEXT.encode("utf-16"), Reason.NOT_JSON, "UTF-16"),
    ("UTF-16 little", TEXT.encode("utf-16-le"), Reason.NOT_JSON, "UTF-16"),
    ("UTF-16 big", TEXT.encode("utf-16-be"), Reason.NOT_JSON, "UTF-16"),
    ("UTF-16 list", f"[{TEXT}]".encode("utf-16-be"), Reason.NOT_JSON, "UTF-16"),
    ("UTF-16 big with a mark", b"\xfe\xff" + TEXT.encode("utf-16-be"), Reason.NOT_JSON, "UTF-16"),
    ("UTF-32", TEXT.encode("utf-32"), Reason.NOT_JSON, "UTF-32"),
    ("gzip", gzip.compress(TEXT.encode()), Reason.NOT_JSON, "gzip"),
    ("zlib", zlib.compress(TEXT.encode()), Reason.NOT_JSON, "zlib"),
    ("bzip2", bz2.compress(TEXT.encode()), Reason.NOT_JSON, "bzip2"),
    ("zstd", b"\x28\xb5\x2f\xfd\x00\x00", Reason.NOT_JSON, "zstd"),
    ("lz4", b"\x04\x22\x4d\x18\x00\x00", Reason.NOT_JSON, "lz4"),
    ("snappy", b"\x82SNAPPY\x00\x00", Reason.NOT_JSON, "snappy"),
    ("snappy frames", b"\xff\x06\x00\x00sNaPpY", Reason.NOT_JSON, "snappy"),
    ("a zip file", b"PK\x03\x04\x00", Reason.NOT_JSON, "a zip file"),
    ("a Parquet file", b"PAR1\x15\x04", Reason.NOT_JSON, "a Parquet file"),
    ("a pickle", pickle.dumps(GOOD, 4), Reason.NOT_JSON, "pickle"),
    ("an Avro file", b"Obj\x01\x04\x14avro.codec", Reason.NOT_JSON, "an Avro container file"),
    ("JSON lines", f"{TEXT}\n{TEXT}\n".encode(), Reason.NOT_JSON, "JSON lines"),
    ("JSON lines of lists", f"[{TEXT}]\n[{TEXT}]".encode(), Reason.NOT_JSON, "JSON lines"),
    ("JSON lines with NaN", b'{"a": NaN}\n{"a": 1}', Reason.NOT_JSON, "JSON lines"),
    ("encoded twice", json.dumps(TEXT).encode(), Reason.NOT_OBJECT, "encoded twice"),
    ("a list encoded twice", json.dumps(f" [{TEXT}]").encode(), Reason.NOT_OBJECT, "encoded twice"),
    ("a string", b'"{trial"', Reason.NOT_OBJECT, "a string"),
    ("Apicurio", b"\0" + (7).to_bytes(8, "big") + b"\x02t\x02r", Reason.AVRO_UNKNOWN_SCHEMA, "8-byte schema id 7"),
    ("cut off", TEXT[:-1].encode(), Reason.NOT_JSON, "ends too early"),
    ("text", b"trial 7 done", Reason.NOT_JSON, "from character 0 on"),
    ("Python", str(GOOD).encode(), Reason.NOT_JSON, "from character 1 on"),
    ("two lines of nonsense", b'{"a": \n\n oh\nno}', Reason.NOT_JSON, "from character 9 on"),
    ("not UTF-8", b'{"trial_id": "\xff"}', Reason.NOT_JSON, "not UTF-8 at byte 14"),
    ("not UTF-8 in Avro", b"\xc3\x01" + CATALOGUE.latest("trial_report").fingerprint + b"\x02\xff\x02r\0",
     Reason.AVRO_UNREADABLE, "not UTF-8"),
]  # fmt: skip
OBJECTS: list[tuple[str, Any, str]] = [
    ("CloudEvents", {"specversion": "1.0", "type": "ml.trial", "source": "/x", "id": "1", "data": GOOD}, "CloudEvents"),
    ("CloudEvents in base64", {"specversion": "1.0", "type": "x", "data_base64": "e30="}, "CloudEvents"),
    ("Connect", {"schema": {"type": "struct"}, "payload": GOOD}, "Kafka Connect"),
    ("Connect without a schema", {"schema": None, "payload": GOOD}, "Kafka Connect"),
    ("Debezium", {"before": None, "after": GOOD, "source": {}, "op": "c"}, "Debezium"),
    ("Debezium in Connect", {"schema": {}, "payload": {"before": None, "after": GOOD, "op": "c"}}, "Debezium"),
    ("data", {"data": GOOD}, "there is a trial_id in data"),
    ("reports", {"run_id": "r", "reports": [GOOD]}, "there is a trial_id in reports"),
    ("nothing known", {"a": {"b": 1}}, "the report has no trial_id"),
]


@pytest.mark.parametrize(("value", "reason", "said"), [case[1:] for case in BYTES], ids=[case[0] for case in BYTES])
def test_bytes_that_are_no_report_are_named_in_one_line(value: bytes, reason: Reason, said: str) -> None:
    rejection = only(value)
    assert isinstance(rejection, Rejection)
    assert (reason, -1 if reason is not Reason.MISSING_TRIAL_ID else 0) == (rejection.reason, rejection.index)
    assert said in rejection.detail
    assert len(rejection.detail.splitlines()) == 1
    assert not PYTHON.search(rejection.detail), rejection.detail


@pytest.mark.parametrize("form", ["single", "list", "envelope"])
@pytest.mark.parametrize(("value", "said"), [case[1:] for case in OBJECTS], ids=[case[0] for case in OBJECTS])
def test_an_envelope_of_another_kind_is_named(value: Any, said: str, form: str) -> None:
    whole = {"single": value, "list": [value], "envelope": {"run_id": "r", "trials": [value]}}[form]
    rejection = only(whole)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.MISSING_TRIAL_ID
    assert said in rejection.detail
    assert len(rejection.detail) < 250


def prefixed(value: Any) -> bytes:
    return b"\x00\x00\x00\x00\x07" + (value if isinstance(value, bytes) else json.dumps(value).encode())


@pytest.mark.parametrize(
    "value", [report(), report(own=1), report(status="FAIL"), [GOOD, GOOD], {"trials": [GOOD], "own": float("nan")}]
)
def test_json_behind_confluents_prefix_is_read_as_json(value: Any) -> None:
    def seen(outcomes: list[Outcome]) -> list[Any]:
        return [(one.values, one.extra, one.envelope, one.index) for one in outcomes if isinstance(one, TrialReport)]

    expected = seen(DECODE(record(value)))
    assert expected
    assert expected == seen(DECODE(record(prefixed(value))))
    assert [expected] == [seen(outcomes) for outcomes in DECODE.each([record(prefixed(value))])]


@pytest.mark.parametrize("body", [b'{"trial_id": ', b"{}x", b"[1", b"\x02t\x02r"])
def test_what_only_begins_like_json_behind_the_prefix_is_taken_for_avro(body: bytes) -> None:
    rejection = only(prefixed(body))
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.AVRO_UNKNOWN_SCHEMA


KEYS: list[tuple[bytes, str | None]] = [
    (b"run-7", "run-7"),
    (b'"run-7"', "run-7"),
    (b'"r\\u00fcn"', "rün"),
    (b'"a\\"b"', 'a"b'),
    (b"7", "7"),
    (b'"7"', "7"),
    (b'"null"', "null"),
    (b'"', '"'),
    (b'"a"b"', '"a"b"'),
    (b'"\\ud800"', '"\\ud800"'),
    (b"null", None),
    (b'""', None),
    (b"", None),
]


@pytest.mark.parametrize("where", ["key", "header"])
@pytest.mark.parametrize(("raw", "run_id"), KEYS)
def test_a_key_that_is_a_json_string_is_that_string_and_null_is_none(
    raw: bytes, run_id: str | None, where: str
) -> None:
    place: dict[str, Any] = {"key": raw} if where == "key" else {"headers": (("run_id", raw),), "key": b"key"}
    outcome = only({"trial_id": "t"}, **place)
    if run_id is None and where == "key":
        assert isinstance(outcome, Rejection)
        assert outcome.reason is Reason.MISSING_RUN_ID
        return
    assert isinstance(outcome, TrialReport)
    assert (run_id or "key") == outcome.run_id
    assert outcome.bent == (("run_id",) if run_id and raw.decode() != run_id else ())


ENVELOPES: list[tuple[str, dict[str, Any], dict[str, Any], Any]] = [
    ("a failed event", {"event": "ml.trial.failed"}, {}, "failed"),
    ("its own event first", {"event": "ml.trial.failed"}, {"event": "ml.trial.complete"}, "succeeded"),
    ("its own status first", {"event": "ml.trial.failed"}, {"status": "ok"}, "succeeded"),
    ("a run's event", {"event": "ml.run.stop"}, {}, Reason.UNSUPPORTED_EVENT),
    ("a run's event around progress", {"event": "ml.run.start"}, {"event": "ml.trial.failed"}, "failed"),
    ("an event of its own", {"event": "batch"}, {}, "succeeded"),
]


@pytest.mark.parametrize(("around", "one", "expected"), [case[1:] for case in ENVELOPES], ids=[c[0] for c in ENVELOPES])
def test_the_event_of_an_envelope_is_that_of_its_reports(
    around: dict[str, Any], one: dict[str, Any], expected: Any
) -> None:
    outcome = only({**around, "trials": [{**GOOD, **one}]})
    said = outcome.reason if isinstance(outcome, Rejection) else outcome.content["status"]
    assert expected == said


def test_optunas_numbers_are_ids_where_the_envelope_names_the_study() -> None:
    outcomes = DECODE(record({"study_name": "s", "trials": [{"number": 0}, {"number": 1}]}))
    assert [(one.run_id, one.trial_id) for one in outcomes if isinstance(one, TrialReport)] == [("s", "0"), ("s", "1")]
