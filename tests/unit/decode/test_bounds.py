"""What one record may cost: bytes before it is read, reports, rejections, memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.decode.decoder import Decoder
from processor.decode.gather import MAX_REJECTIONS
from processor.decode.split import MAX_REPORTS
from tests.factories import record, report

MIB = 2**20
CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)


def the_rejection(value: bytes, decode: Decoder = DECODE) -> Rejection:
    [one] = decode(record(value, key=b"r"))
    assert isinstance(one, Rejection)
    return one


@pytest.mark.parametrize("form", [b"[%s]", b'{"trials":[%s]}', b"\0\0\0\0\7[%s]", b"\xc3\x01%s", b"%s", b'"%s"'])
def test_a_record_beyond_its_limit_is_one_rejection_before_anything_is_read(form: bytes) -> None:
    decode = Decoder(CATALOGUE, max_report_bytes=1024, max_record_bytes=4096)
    size = 4097 - len(form) + 2
    assert the_rejection(form % (b"x" * (size - 1)), decode).reason is not Reason.EMPTY_VALUE
    rejection = the_rejection(form % (b"x" * size), decode)
    assert (rejection.reason, rejection.index) == (Reason.TOO_LARGE, -1)
    assert rejection.detail == "the record has 4097 bytes; MAX_RECORD_BYTES allows 4096"


def test_a_record_is_sixteen_times_the_largest_report_unless_set_otherwise() -> None:
    decode = Decoder(CATALOGUE, max_report_bytes=1024)
    reports = [report(stacktrace="x" * 400) for _ in range(18)]
    value = json.dumps(reports).encode()
    value += b" " * (16 * 1024 - len(value))
    assert [TrialReport] * 18 == [type(one) for one in decode(record(value))]
    assert the_rejection(value + b" ", decode).reason is Reason.TOO_LARGE


def pairs(number: int) -> bytes:
    return b",".join([b'{"trial_id":"t"}'] * number)


@pytest.mark.parametrize("form", [b"[%s]", b'{"trials":[%s]}', b'{"n":NaN,"trials":[%s]}', b'{"own":1,"trials":[%s]}'])
def test_the_reports_of_one_record_are_numbered(form: bytes) -> None:
    """Each costs a kilobyte, however small it was."""
    assert len(DECODE(record(form % pairs(MAX_REPORTS), key=b"r"))) == MAX_REPORTS
    rejection = the_rejection(form % pairs(MAX_REPORTS + 1))
    assert (rejection.reason, rejection.index) == (Reason.TOO_LARGE, -1)
    assert "50,000 reports" in rejection.detail


def test_an_envelope_may_hold_more_than_a_report_may() -> None:
    reports = [report(stacktrace="x" * 1000) for _ in range(3000)]
    for own in ({}, {"own": 1}, {"own": float("nan")}, {"own": "\0"}):
        value = json.dumps({"run_id": "r", "trials": reports, **own}).encode()
        assert len(value) > 3 * MIB
        outcomes = DECODE(record(value))
        assert [TrialReport] * 3000 == [type(one) for one in outcomes]
        assert list(range(3000)) == [one.index for one in outcomes]
        [last] = outcomes[-1:]
        assert isinstance(last, TrialReport)
        assert ("own" in (last.envelope or {})) == bool(own)
        assert last.values["stacktrace"] == "x" * 1000


@pytest.mark.parametrize("own", ["", '"own": [NaN, "\\ud800"], '])
def test_one_report_of_a_large_envelope_may_be_too_large_alone(own: str) -> None:
    big = json.dumps(report(stacktrace="x" * MIB))
    good = json.dumps(report())
    outcomes = DECODE(record(f'{{{own}"trials": [{good}, {big}, {good}]}}'.encode()))
    first, large, last = outcomes
    assert isinstance(first, TrialReport)
    assert isinstance(last, TrialReport)
    assert isinstance(large, Rejection)
    assert (large.reason, large.index) == (Reason.TOO_LARGE, 1)


LARGE: list[tuple[str, bytes, Reason]] = [
    ("cut off", b'{"trials": [{},%s' % (b" " * MIB), Reason.NOT_JSON),
    ("ends wrongly", b'{"n": NaN, "trials": [{}]%s]' % (b" " * MIB), Reason.NOT_JSON),
    ("goes on", b'{"n": NaN, "trials": [{}]}%s1' % (b" " * MIB), Reason.NOT_JSON),
    ("no colon", b'{"n": NaN, "trials" [{}]%s}' % (b" " * MIB), Reason.NOT_JSON),
    ("no comma", b'{"n": NaN "trials": [{}]%s}' % (b" " * MIB), Reason.NOT_JSON),
    ("a comma too many", b'{"n": NaN, "trials": [{}], %s}' % (b" " * MIB), Reason.NOT_JSON),
    ("a comma too many in the list", b"[NaN,{},%s]" % (b" " * MIB), Reason.NOT_JSON),
    ("no name", b'{1: NaN, "trials": [{}]%s}' % (b" " * MIB), Reason.NOT_JSON),
    ("no trials", b'{"trial_id": NaN%s}' % (b" " * MIB), Reason.TOO_LARGE),
    ("trials an object", b'{"n": NaN, "trials": {}%s}' % (b" " * MIB), Reason.TRIALS_NOT_LIST),
    ("large fields", b'{"n": NaN, "own": "%s", "trials": [{}]}' % (b"x" * MIB), Reason.TOO_LARGE),
    ("a long string", b'"%s"' % (b"x" * MIB), Reason.TOO_LARGE),
    ("deep", b'{"n": %s%s, "trials": [{"trial_id": 1}]%s}' % (b"[" * 5000, b"]" * 5000, b" " * MIB), Reason.TOO_DEEP),
]


@pytest.mark.parametrize(("value", "reason"), [case[1:] for case in LARGE], ids=[case[0] for case in LARGE])
def test_a_large_record_that_is_no_envelope_is_one_rejection_as_a_small_one_is(value: bytes, reason: Reason) -> None:
    rejection = the_rejection(value)
    assert (reason, -1) == (rejection.reason, rejection.index)
    small = DECODE(record(value.replace(b" " * MIB, b""), key=b"r"))
    if reason is not Reason.TOO_LARGE:
        assert [(reason, -1)] == [(one.reason, one.index) for one in small if isinstance(one, Rejection)]


def test_of_names_that_come_twice_the_last_counts_in_large_records_too() -> None:
    one = '{"trial_id": "%s", "run_id": "r"}'
    text = f'{{"n": NaN, "n": 2, "trials": [{one % "a"}, {one % "b"}], "trials": [{one % "c"}]{" " * MIB}}}'
    for value in (text, text.replace(" " * MIB, "")):
        [only] = DECODE(record(value.encode()))
        assert isinstance(only, TrialReport)
        assert (only.trial_id, only.envelope) == ("c", {"n": 2})


# ---- many rejections


def many(bad: int, good: int = 0, other: int = 0) -> list[dict[str, Any]]:
    bads = [report(status="great") for _ in range(bad)]
    return [report() for _ in range(good)] + bads + [{"run_id": "r"} for _ in range(other)]


@pytest.mark.parametrize("own", [{}, {"own": 1}, {"own": float("nan")}])
@pytest.mark.parametrize("form", ["list", "envelope"])
def test_many_rejections_of_one_record_are_one_that_says_how_many_and_of_what(form: str, own: dict[str, Any]) -> None:
    reports = many(998, 3, 2)
    one = record({**own, "trials": reports} if form == "envelope" else reports)
    outcomes = DECODE(one)
    *kept, last = outcomes
    assert [(TrialReport, index) for index in range(3)] == [(type(kept_one), kept_one.index) for kept_one in kept]
    assert isinstance(last, Rejection)
    path = "trials[3].status" if form == "envelope" else "[3].status"
    assert (Reason.UNKNOWN_STATUS, -1, path) == (last.reason, last.index, last.path)
    begin = "1,000 of 1,003 reports rejected: 998 unknown_status, 2 missing_trial_id; the first: "
    assert last.detail == f'{begin}{path}: "great" is no status; they are succeeded, failed, skipped, cancelled'
    assert last.record is one


@pytest.mark.parametrize("bad", [MAX_REJECTIONS, MAX_REJECTIONS + 1])
def test_up_to_a_hundred_rejections_are_each_kept(bad: int) -> None:
    outcomes = DECODE(record(many(bad, 50)))
    assert 50 + (bad if bad == MAX_REJECTIONS else 1) == len(outcomes)


def test_what_is_no_object_counts_among_them() -> None:
    said = "the first: [0]: the report is a number, not an object"
    last = the_rejection(b"[%s]" % b",".join([b"1"] * 500))
    assert last.detail == f"500 of 500 reports rejected: 500 report_not_object; {said}"


# ---- memory


def peak(value: bytes, decode: Decoder = DECODE) -> tuple[int, list[Outcome]]:
    """Bytes at the most beyond the record, and what is then held."""
    one = record(value, key=b"r")
    tracemalloc.start()
    outcomes = decode(one)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most, outcomes


@pytest.mark.parametrize(
    ("own", "number"), [({}, 13_000), ({"own": 1}, 4_000), ({"own": float("nan")}, 4_000)], ids=["9 MB", "own", "NaN"]
)
def test_a_valid_large_envelope_takes_a_small_multiple_of_it(own: dict[str, Any], number: int) -> None:
    """9 MB of it took 643 MB before it was taken apart."""
    reports = [report(parameters={f"p{n}": n / 7 for n in range(20)}) for _ in range(number)]
    value = json.dumps({"run_id": "r", "trials": reports, **own}).encode()
    assert 700 * number < len(value) < 16 * MIB
    most, outcomes = peak(value)
    assert [TrialReport] * number == [type(one) for one in outcomes]
    assert most < 4 * len(value)


FLOODS = {
    "reports of 16 bytes": b"[%s]" % pairs(240_000),
    "numbers": b"[%s]" % b",".join([b"1"] * (2 * MIB - 10)),
    "numbers and NaN": b"[NaN,%s]" % b",".join([b"1"] * (2 * MIB - 10)),
    "fields": b'{"trials":[],%s}' % b",".join(b'"%d":1' % number for number in range(380_000)),
    "fields and no trials": b"{%s}" % b",".join(b'"%d":1' % number for number in range(380_000)),
    "one field": b'{"trials":[],"own":{%s}}' % b",".join(b'"%d":1' % number for number in range(380_000)),
    "names": b'{"trials":[{%s}]}' % b",".join(b'"%d":1' % number for number in range(380_000)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_values_in_one_record_is_refused_in_bounded_memory(name: str) -> None:
    """85 MB of `{"trial_id":"t"}` took 4.9 GB."""
    value = FLOODS[name]
    assert 3 * MIB < len(value) <= 4 * MIB
    most, outcomes = peak(value, Decoder(CATALOGUE, max_report_bytes=MIB // 4))
    assert {Reason.TOO_LARGE} == {one.reason for one in outcomes if isinstance(one, Rejection)}
    assert len(outcomes) == 1
    assert most < 6 * len(value)
