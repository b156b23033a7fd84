"""Whatever a record holds: it ends as storable reports or as rejections, the same each time, at a bounded cost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, RawRecord, Reason, Rejection, TrialReport, read_text
from processor.core.numbers import places, read_float, read_integer
from processor.core.text import storable
from processor.decode.decoder import Decoder
from processor.events.bodies import complete_body, failed_body
from processor.events.headers import dead_letter_message
from processor.store.rows import row_json
from tests.factories import record, report

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
ALIASES = [
    *("event", "state", "error", "exception", "params", "hyperparams", "value", "values", "duration_s"),
    *("training_time_sec", "number", "study_name", "study_id"),
]
FIELDS = [*CATALOGUE.fields("trial_report"), "model_run_id", "own", "trials"]
MIB = 2**20

# JSON as text, so that it has what no writer of JSON would write: duplicate keys, odd numbers, half surrogate pairs
DIGITS = st.integers(0, 10**30).map(str)
NUMBERS = st.tuples(
    st.sampled_from(["", "-"]),
    DIGITS,
    st.just("") | DIGITS.map(".{}".format),
    st.just("") | st.sampled_from(["e0", "E+22", "e-400", "e308", "e309", "E-9999"]),
).map("".join)
PIECES = ["a", "é", "😀", " ", "\\n", "\\/", "\\u0000", "\\ud83d", "\\uDE00", "\\u0041", "0", "\x7f", "failed"]
STRINGS = st.lists(st.sampled_from(PIECES), max_size=4).map(lambda parts: f'"{"".join(parts)}"')
ODD = [
    "0." + "7" * 17_000,
    "1e131071",
    "1e131072",
    "1e-16383",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "null",
    '"SUCCESS"',
    '" 1e2 "',
    "1e999999999",
    "9" * 5000,
]
DEEP = [f"{'[' * deep}{']' * deep}" for deep in (199, 200, 201, 1200)]
SCALARS = st.one_of(NUMBERS, STRINGS, st.sampled_from([*ODD, *DEEP]))


def members(keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(keys, values).map(":".join), max_size=5).map(",".join)


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | members(STRINGS, inner).map("{{{}}}".format)
    ),
    max_leaves=8,
)
#: fields that take anything, or nearly, three times as often as any field with any value
LIKELY = st.tuples(st.sampled_from(['"metrics"', '"parameters"']), members(STRINGS, VALUES).map("{{{}}}".format))
FREE = st.tuples(st.sampled_from(['"own"', '"warnings"', '"spectral_norm"', '"a\\u0000"']), VALUES)
ANY = st.tuples(st.sampled_from(FIELDS).map(json.dumps), STRINGS | VALUES)
#: what the rules look for beside the schema's fields, with words that they know
WORDS = st.sampled_from(
    ['"ml.trial.failed"', '"ml.run.stop"', '"TrialState.FAIL"', '"RUNNING"', '["yes"]', "[1]", "0.5"]
)
SOUGHT = st.tuples(st.sampled_from([*ALIASES, "status", "spectral_norm"]).map(json.dumps), WORDS | STRINGS | VALUES)
REPORTS = st.lists(st.one_of(LIKELY, LIKELY, FREE, ANY, SOUGHT).map(":".join), max_size=5).map(
    lambda found: "{" + ",".join(['"trial_id":"t"', '"run_id":"r"', *found]) + "}"
)
ENVELOPES = st.tuples(st.lists(REPORTS | VALUES, max_size=4), VALUES).map(
    lambda parts: f'{{"run_id":"r","trials":[{",".join(parts[0])}],"own":{parts[1]}}}'
)
DOCUMENTS = st.one_of(REPORTS, ENVELOPES, VALUES).map(str.encode)
FRAMED = st.tuples(
    st.sampled_from([b"\xc3\x01" + CATALOGUE.latest("trial_report").fingerprint, b"\xc3\x01", b"\x00\x00\x00\x00\x01"]),
    st.binary(max_size=60),
).map(b"".join)


def strings_and_numbers_in(value: Any, depth: int = 0) -> Iterator[Any]:
    assert depth <= 201  # the value's own levels, and the object that holds the fields
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_and_numbers_in(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from strings_and_numbers_in(item, depth + 1)
    else:
        yield value


def check_storable(outcome: TrialReport) -> None:
    kept = [outcome.values, outcome.extra or {}, outcome.envelope or {}]
    for value in strings_and_numbers_in(kept, -1):
        if isinstance(value, str):
            assert b"\0" not in value.encode()  # strict: half a surrogate pair would raise
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
        elif isinstance(value, Decimal):
            assert value.adjusted() < 131_072
            assert places(value) <= 16_383
        elif isinstance(value, float):
            assert math.isfinite(value)
    assert read(row_json(outcome))["metrics"] == outcome.values["metrics"]
    assert outcome.trial_id
    assert outcome.run_id
    assert CATALOGUE.check("trial_report", outcome.values) is None
    for name, body in (("ml.trial.complete", complete_body(outcome, 1)), ("ml.trial.failed", failed_body(outcome, 1))):
        assert (
            CATALOGUE.check(name, {field: read_text(held) for field, held in msgspec.structs.asdict(body).items()})
            is None
        )


def read(text: bytes) -> Any:
    """JSON with all the digits of its numbers."""
    return json.loads(text, parse_float=read_float, parse_int=lambda digits: storable(read_integer(digits)))


def check(one: RawRecord) -> list[Outcome]:
    outcomes = DECODE(one)
    for outcome in outcomes:
        if isinstance(outcome, TrialReport):
            check_storable(outcome)
        else:
            assert isinstance(outcome, Rejection)
            assert outcome.detail
            assert dead_letter_message(outcome, 1).value == one.value
    indices = [outcome.index for outcome in outcomes]
    assert indices in ([-1], list(range(len(outcomes))))
    again = DECODE(one)
    assert [(one.index, getattr(one, "values", one)) for one in outcomes] == [
        (one.index, getattr(one, "values", one)) for one in again
    ]
    return outcomes


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_any_json_ends_as_storable_reports_or_rejections(value: bytes) -> None:
    assert {Reason.NOT_JSON}.isdisjoint(getattr(outcome, "reason", None) for outcome in check(record(value)))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=80), FRAMED, DOCUMENTS), st.none() | st.binary(max_size=4), st.data())
def test_any_bytes_end_as_storable_reports_or_rejections(value: bytes, key: bytes | None, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(value)))
    broken = value[:place] + data.draw(st.binary(max_size=2)) + value[place + data.draw(st.integers(0, 2)) :]
    check(record(broken, key=key, headers=(("run_id", key),)))


@settings(max_examples=150, deadline=None)
@example(b'{"trial_id": 123456789012345678901234567890, "run_id": "r"}')
@example(b'{"trial_id": "t", "run_id": "r", "error_message": "oom"}')
@example(b'{"trial_id": "t", "run_id": "r", "error_message": " "}')
@example(b'{"trial_id": "t", "run_id": "r", "error_message": "oom", "status": "succeeded"}')
@example(b'{"trial_id": "t", "run_id": "r", "metrics": {"a": 0.12345678901234567890, "b": 1.50, "c": 1e5}}')
@example(b'{"trial_id": "t", "run_id": "r", "metrics": {"a": 0.%s}}' % (b"7" * 17_000))
@example(b'{"trial_id": "t", "run_id": "r", "metrics": {"a": 0.%se-99}}' % (b"7" * 16_300))
@example(b'{"trial_id": 1, "run_id": "r", "metrics": {"a": -0.0, "b": -0, "c": 1E2, "a": 5e-324}}')
@given(DOCUMENTS)
def test_the_short_way_and_the_lenient_way_of_reading_json_agree(value: bytes) -> None:
    def names(outcome: Outcome) -> list[str]:
        held = [name for name in outcome.__struct_fields__ if name not in ("record", "content", "digest")]
        return [*held, "values"] if isinstance(outcome, TrialReport) else held

    def seen(raw: bytes) -> list[Any]:
        """All of the outcomes but their records, as text: 1, 1.0 and true differ in it."""
        return [repr([getattr(outcome, name) for name in names(outcome)]) for outcome in DECODE(record(raw))]

    mark = b"\xef\xbb\xbf"  # a byte order mark, which only the lenient way reads
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(mark + value)
    assert seen(value) == seen(mark + value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(DOCUMENTS, FRAMED, st.binary(max_size=80), st.just(b"")), max_size=40))
def test_records_that_are_decoded_together_come_out_as_each_alone(values: list[bytes]) -> None:
    def seen(outcomes: Iterable[Outcome]) -> list[Any]:
        return [(one.record, one.index, getattr(one, "values", None) or repr(one)) for one in outcomes]

    some = [record(value, key=b"key") for value in values]
    assert [seen(DECODE(one)) for one in some] == [seen(outcomes) for outcomes in DECODE.each(some)]


def report_with(raw: bytes) -> bytes:
    return b'{"trial_id": "t", "run_id": "r", %s}' % raw


def nested(opening: bytes, closing: bytes) -> bytes:
    times = MIB // len(opening + closing)
    return report_with(b'"metrics": {"a": ' + opening * times + b"1" + closing * times + b"}")


HOSTILE: dict[str, bytes] = {
    "17,000 digits behind the point 60 times": report_with(b'"own": [%s]' % b",".join([b"0." + b"7" * 17_000] * 60)),
    "numbers of 131,072 digits": report_with(b'"own": [%s]' % b",".join([b"1e131071"] * 100_000)),
    "numbers of 16,383 places": report_with(b'"own": [%s]' % b",".join([b"1e-16383"] * 100_000)),
    "17 digits": report_with(b'"own": [%s, NaN]' % b",".join([b"0.12345678901234567"] * 50_000)),
    "a number with a huge exponent for an id": report_with(b'"number": 1e999999999, "study_name": "r"'),
    "a class of many parts": report_with(b'"status": "%s"' % (b"a." * (MIB // 2))),
    "a class of one part": report_with(b'"status": "%s"' % (b"a" * MIB)),
    "a state of blanks and hyphens": report_with(b'"state": "%s"' % (b"- " * (MIB // 2))),
    "boxes in boxes": report_with(b'"spectral_norm": [%s]' % b",".join([b"[[1]]"] * 100_000)),
    "many reports of no use": b"[%s]" % b",".join([b'{"trial_id":1,"status":"x"}'] * 30_000),
    "100,000 metrics": report_with(b'"metrics": {%s}' % b",".join(b'"k%d": 1' % n for n in range(100_000))),
    "100,000 own fields and NaN": report_with(b'"n": NaN, %s' % b",".join(b'"k%d": 1' % n for n in range(100_000))),
    "a key 150,000 times": report_with(b",".join([b'"a": 1'] * 150_000)),
    "a string of 1 MB": report_with(b'"artifact_uri": "%s"' % (b"x" * MIB)),
    "NULs": report_with(b'"artifact_uri": "%s"' % (b"\\u0000" * (MIB // 6))),
    "an id of 1 MB": report_with(b'"trial_id": "%s"' % (b"x" * MIB)),
    "a status of 1 MB": report_with(b'"status": "%s"' % (b"x" * MIB)),
    "a number of blanks": report_with(b'"rank": "%s"' % (b" " * MIB)),
    "a number of 1 MB in a string": report_with(b'"rank": "%s"' % (b"1" * MIB)),
    "an integer of 1 MB": report_with(b'"metrics": {"a": %s}' % (b"9" * MIB)),
    "a fraction of 1 MB": report_with(b'"metrics": {"a": 0.%s}' % (b"9" * MIB)),
    "5,000 digits 200 times": report_with(b'"own": [%s]' % b",".join([b"9" * 5000] * 200)),
    "4,300 digits 240 times": report_with(b'"own": [%s]' % b",".join([b"9" * 4300] * 240)),
    "huge exponents": report_with(b'"own": [%s]' % b",".join([b"1e999999999"] * 90_000)),
    "lists as deep as it goes": nested(b"[", b"]"),
    "objects as deep as it goes": nested(b'{"a":', b"}"),
    "blanks between deep lists": nested(b"[ ", b" ]"),
    "a deep list and a string without end": report_with(b'"own": ' + b"[" * 2000 + b'"' + b'\\"' * (MIB // 2)),
    "quotes": report_with(b'"own": ' + b"[" * 2000 + b'"' * MIB),
    "400 reports 199 deep": b"[%s]" % b",".join([report_with(b'"own": %s%s' % (b"[" * 199, b"]" * 199))] * 400),
    "400 reports 201 deep": b"[%s]" % b",".join([report_with(b'"own": %s%s' % (b"[" * 201, b"]" * 201))] * 400),
    "10,000 reports": b'{"run_id": "r", "trials": [%s]}' % b",".join([b'{"trial_id": 1}'] * 10_000),
    "10,000 reports and NaN": b'{"run_id": "r", "n": NaN, "trials": [%s]}' % b",".join([b'{"trial_id": 1}'] * 10_000),
    "10,000 reports in an envelope of 50,000 fields": b'{"run_id": "r", %s, "trials": [%s]}'
    % (b",".join(b'"k%d": 1' % n for n in range(50_000)), b",".join([b'{"trial_id": 1}'] * 10_000)),
    "100,000 numbers for reports": b"[%s]" % b",".join([b"1"] * 100_000),
    "5 MB": report_with(b'"own": "%s"' % (b"x" * (5 * MIB))),
}


def cost_of_a_byte(value: bytes) -> float:
    """Seconds of processor time of this thread, the least of three."""
    decode, one = Decoder(CATALOGUE, max_report_bytes=4 * MIB), record(value)
    costs = []
    for _ in range(3):
        began = time.thread_time()
        decode(one)
        costs.append(time.thread_time() - began)
    return min(costs) / len(value)


@pytest.fixture(scope="module")
def normal_cost() -> float:
    """Of reports that take the thorough way, as hostile ones do."""
    return cost_of_a_byte(json.dumps([report(own=1) for _ in range(2500)]).encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_byte_of_a_hostile_record_costs_little_more_than_one_of_a_normal_record(
    name: str, normal_cost: float
) -> None:
    """What is measured is 15 times the normal cost at the most; anything quadratic would be thousands of times."""
    assert cost_of_a_byte(HOSTILE[name]) < 100 * normal_cost
