"""What a dead letter says to people, and what it becomes when it is decoded again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from processor.cli.tables_letters import document_lines, hex_lines, text_lines, value_lines, value_text
from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError
from processor.core.messages import Headers, Outcome, RawRecord, Reason, Rejection, TrialReport
from processor.core.text import printable
from processor.decode.decoder import Decoder
from processor.replay.reading import place_in, read_value, walk
from processor.replay.redrive import Tally, attempts, decode_again, redrive
from processor.store.dead_letters import DeadLetter, as_document
from processor.store.headers import headers_json, read_headers
from processor.store.redrive import failures, said_again
from tests.factories import record, report

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture(scope="module")
def decode(catalogue: Catalogue) -> Decoder:
    return Decoder(catalogue)


def letter(of: RawRecord | None = None, index: int = 0, path: str = "", **fields: Any) -> DeadLetter:
    made: dict[str, Any] = {
        "id": 1,
        "record": of or record(),
        "index": index,
        "reason": "unknown_status",
        "detail": '"odd" is no status',
        "path": path,
        "attempts": 1,
        "first_seen": MOMENT,
        "last_seen": MOMENT,
        "last_detail": None,
        "resolved_at": None,
        **fields,
    }
    return DeadLetter(**made)


def envelope(*reports: Any, **fields: Any) -> RawRecord:
    return record({"run_id": "run-1", "trials": list(reports), **fields})


BAD = {"status": "odd"}


# ---- decoding again


def test_only_the_rejected_reports_of_a_record_are_decoded_for_a_redrive(decode: Decoder) -> None:
    of = envelope(report(), report(), report())
    again = decode_again([letter(of, 1), letter(of, 2)], decode)
    assert [(type(one), one.index) for one in again] == [(TrialReport, 1), (TrialReport, 2)]


def test_a_redriven_report_keeps_its_record_and_so_its_position_and_timestamp(decode: Decoder) -> None:
    of = envelope(report(), report())
    (again,) = decode_again([letter(of, 1)], decode)
    assert again.record is of


def test_a_record_that_was_rejected_as_a_whole_gives_all_its_reports(decode: Decoder) -> None:
    of = envelope(report(), report(**BAD))
    again = decode_again([letter(of, -1)], decode)
    assert [(type(one), one.index) for one in again] == [(TrialReport, 0), (Rejection, 1)]


def test_a_record_that_can_not_be_read_any_more_rejects_each_of_its_dead_letters_again(decode: Decoder) -> None:
    of = record(b"{")
    again = decode_again([letter(of, -1), letter(of, 3)], decode)
    assert [(one.index, one.reason) for one in again if isinstance(one, Rejection)] == [
        (-1, Reason.NOT_JSON),
        (3, Reason.NOT_JSON),
    ]


@pytest.mark.parametrize("indices", [(5,), (-1, 5)])
def test_a_report_that_is_no_longer_in_its_record_is_rejected_again_and_never_resolved(
    decode: Decoder, indices: tuple[int, ...]
) -> None:
    of = envelope(report(), report())
    again = decode_again([letter(of, index) for index in indices], decode)
    (gone,) = [one for one in again if isinstance(one, Rejection)]
    assert (gone.index, gone.detail) == (5, "the record now holds 2 reports, none at this place")


def test_a_record_is_decoded_once_however_many_of_its_reports_were_rejected(decode: Decoder) -> None:
    of, calls = envelope(*[report() for _ in range(50)]), []

    def counted(one: RawRecord) -> list[Outcome]:
        calls.append(one)
        return decode(one)

    (attempt,) = attempts([letter(of, index) for index in range(50)], counted, 4000)
    assert (len(calls), len(attempt.batch.reports)) == (1, 50)


def test_a_transaction_of_a_redrive_is_as_small_as_one_of_ingest(decode: Decoder) -> None:
    page = [letter(envelope(*[report() for _ in range(10)]), -1) for _ in range(10)]
    sizes = [(len(one.letters), len(one.batch.reports)) for one in attempts(page, decode, 30)]
    assert sizes == [(3, 30), (3, 30), (3, 30), (1, 10)]


def test_a_dead_letter_failed_again_only_by_a_rejection_at_its_own_place() -> None:
    one, other = record(), record()
    letters = [letter(one, 0), letter(one, 1), letter(other, 0), letter(other, -1)]
    rejections = [Rejection(one, 1, Reason.TOO_DEEP, "x"), Rejection(other, -1, Reason.NOT_JSON, "y")]
    assert failures(letters, rejections) == [(letters[1], rejections[0]), (letters[3], rejections[1])]


def test_what_is_said_again_names_the_new_reason_where_it_is_another() -> None:
    of = letter()
    assert said_again(of, Rejection(of.record, 0, Reason.UNKNOWN_STATUS, "still odd")) == "still odd"
    assert said_again(of, Rejection(of.record, 0, Reason.TOO_DEEP, "deep \x00")) == "too_deep: deep �"


def test_a_redrive_of_nothing_is_an_empty_tally(decode: Decoder) -> None:
    assert redrive(iter([[]]), decode, None) == Tally()  # type: ignore[arg-type]


# ---- the exact place


@pytest.mark.parametrize(
    ("path", "steps", "left"),
    [
        ("", (), ""),
        ("status", ("status",), ""),
        ("metrics.layers[1].x", ("metrics", "layers", 1, "x"), ""),
        ("metrics.a.b[0]", ("metrics", "a.b[0]"), ""),
        ("metrics.a.b[1]", ("metrics", "a.b", 1), ""),
        ("metrics.layers[9]", ("metrics", "layers"), "[9]"),
        (f"metrics.layers[{'9' * 5000}]", ("metrics", "layers"), f"[{'9' * 5000}]"),
        ("trial_id", (), "trial_id"),
        ("metricsx", (), "metricsx"),
        ("metrics.", ("metrics",), ""),
    ],
)
def test_a_path_leads_to_the_place_or_to_the_last_one_above_it(
    path: str, steps: tuple[str | int, ...], left: str
) -> None:
    node = {"status": "odd", "metrics": {"layers": [0, {"x": 1}], "a.b[0]": 1, "a.b": [1, 2], "a": {"c": 1}}}
    assert walk(node, path) == (steps, left)


@pytest.mark.parametrize(
    ("document", "index", "path", "place"),
    [
        ({"status": "odd"}, 0, "status", ("status",)),
        ([{}, {"status": "odd"}], 1, "status", (1, "status")),
        ({"trials": [{}, {"status": "odd"}]}, 1, "status", ("trials", 1, "status")),
        ({"trials": [{}, 5]}, 1, "", ("trials", 1)),
        ({"trials": 7}, -1, "trials", ("trials",)),
        ({"run_id": [], "trials": [{}]}, 0, "envelope.run_id", ("run_id",)),
        ({"status": "odd"}, 0, "headers.run_id", None),
        ({"status": "odd"}, 0, "key", None),
        ("text", -1, "", ()),
        ([{}], 7, "status", ()),
        ({"trials": None}, 0, "status", ()),
    ],
)
def test_the_place_is_found_from_the_top_of_the_value(
    document: Any, index: int, path: str, place: tuple[str | int, ...] | None
) -> None:
    assert place_in(document, letter(index=index, path=path)) == place


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        (report(status="odd"), '"status": "odd",'),
        ({"trials": [report(), report(metrics=[1])]}, '"metrics": ['),
        ({"run_id": "r", "trials": [report(), {"trial_id": {}}]}, '"trial_id": {}'),
        ([report(), report(), 5], "5"),
        ({"run_id": "r", "trials": "none"}, '"trials": "none"'),
    ],
)
def test_the_line_that_was_rejected_is_marked_and_no_other(
    value: Any, marked: str, decode: Decoder, catalogue: Catalogue
) -> None:
    of = record(value)
    (rejection,) = [one for one in decode(of) if isinstance(one, Rejection)]
    seen = letter(of, rejection.index, rejection.path)
    lines = [line.strip() for is_marked, line in value_lines(seen, read_value(seen, catalogue)) if is_marked]
    assert lines == [marked]


def test_the_place_in_avro_is_marked_too(catalogue: Catalogue, decode: Decoder) -> None:
    of = record(catalogue.single_object("trial_report", report(duration_ms=-5)))
    (rejection,) = decode(of)
    assert isinstance(rejection, Rejection)
    seen = letter(of, 0, rejection.path)
    reading = read_value(seen, catalogue)
    assert (reading.kind, reading.place) == ("avro", ("duration_ms",))
    assert [line.strip() for marked, line in value_lines(seen, reading) if marked] == ['"duration_ms": -5,']


def test_a_long_list_shows_the_marked_entry_and_says_how_many_it_leaves_out() -> None:
    document = {"trials": [{"n": number} for number in range(1000)]}
    lines = list(document_lines(document, ("trials", 500, "n")))
    assert [line.strip() for marked, line in lines if marked] == ['"n": 500']
    assert [line.strip() for _, line in lines if "more" in line] == ["… 480 more", "… 499 more"]
    assert len(lines) < 40


def test_a_hostile_value_is_shown_in_few_lines(catalogue: Catalogue) -> None:
    wide = {f"k{number}": {f"k{inner}": list(range(100)) for inner in range(100)} for number in range(100)}
    seen = letter(record(report(status="odd", metrics=wide, warnings=["x" * 100_000])), 0, "status")
    text = value_text(seen, read_value(seen, catalogue)).plain
    assert '->   "status": "odd"' in text
    assert len(text) < 100_000


def test_a_value_nested_beyond_what_can_be_shown_is_shown_as_text(catalogue: Catalogue) -> None:
    seen = letter(record(b"[" * 100_000), -1)
    reading = read_value(seen, catalogue)
    assert (reading.kind, reading.document) == ("text", None)
    assert len(list(value_lines(seen, reading))) == 3


def test_where_json_breaks_off_is_pointed_at(catalogue: Catalogue) -> None:
    seen = letter(record('{"é": 1,\n "b": oops}'.encode()), -1)
    reading = read_value(seen, catalogue)
    assert (reading.kind, reading.note) == ("text", "Expecting value in line 2, column 7")
    (_, text), (marked, caret) = text_lines(seen.record.value or b"", reading.at or 0)
    assert marked
    assert text[caret.index("^") :] == "oops}"


def test_bytes_that_are_no_text_are_dumped_with_the_guilty_row_marked(catalogue: Catalogue) -> None:
    seen = letter(record(b"a" * 100 + b"\xff" + b"b" * 100), -1)
    reading = read_value(seen, catalogue)
    assert (reading.kind, reading.at) == ("binary", 100)
    (row,) = [line for marked, line in value_lines(seen, reading) if marked]
    assert row == "00000060  61 61 61 61 ff 62 62 62 62 62 62 62 62 62 62 62  aaaa.bbbbbbbbbbb"


def test_a_large_binary_value_is_dumped_in_part_only() -> None:
    assert len(list(hex_lines(bytes(1_000_000), None))) == 16


@pytest.mark.parametrize("value", [b"\x00\x00\x00\x00\x07rest", b"\xc3\x01short", b"\xc3\x01" + bytes(20)])
def test_avro_that_nobody_can_read_is_dumped_with_the_reason(value: bytes, catalogue: Catalogue) -> None:
    reading = read_value(letter(record(value), -1), catalogue)
    assert reading.kind == "binary"
    assert reading.note


def test_a_schema_registry_that_is_down_does_not_hide_the_bytes(catalogue: Catalogue) -> None:
    def down(_: int) -> None:
        raise TransientError("the registry does not answer")

    reading = read_value(letter(record(b"\x00\x00\x00\x00\x07rest"), -1), catalogue, down)
    assert (reading.kind, reading.note) == ("binary", "the registry does not answer")


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_is_said_to_be_empty(value: bytes | None, catalogue: Catalogue) -> None:
    of = msgspec.structs.replace(record(), value=value)
    seen = letter(of, -1)
    assert list(value_lines(seen, read_value(seen, catalogue))) == [(False, "value: 0 bytes, empty")]


def test_nothing_in_a_record_reaches_the_terminal_as_a_command() -> None:
    assert printable("\x1b[2J\x9b31m\u202e\ud800 ok é") == "\\x1b[2J\\x9b31m\\u202e\\ud800 ok é"


# ---- every byte is kept


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("a", b"text"), ("a", b"again"), ("empty", b""), ("none", None), ("raw", b"\xff\x00"), ("nul", b"a\x00")),
    ],
)
def test_headers_come_back_as_they_were(headers: Headers) -> None:
    assert read_headers(json.loads(headers_json(headers))) == headers


def test_an_export_keeps_text_as_text_and_other_bytes_as_base64() -> None:
    of = record(b"\xff\xfe", key="schlüssel".encode(), headers=(("h", b"\x80"), ("n", None)))
    document = as_document(letter(of))
    assert document["value"] == {"base64": "//4="}
    assert document["key"] == {"text": "schlüssel"}
    assert document["headers"] == [{"name": "h", "value": {"base64": "gA=="}}, {"name": "n", "value": None}]


@pytest.mark.parametrize(
    "text", ['{"metrics": {"a": NaN}}', '{"a": "\\ud800"}', f'{{"a": {"9" * 500}}}', "[" * 300 + "]" * 300]
)
def test_every_readable_value_can_be_shown_as_json(text: str, catalogue: Catalogue) -> None:
    reading = read_value(letter(record(text.encode()), 0), catalogue)
    assert reading.kind == "json"
    assert msgspec.json.encode(reading.as_json())


def test_json_behind_confluents_prefix_is_shown_as_json(catalogue: Catalogue) -> None:
    of = record(b"\x00\x00\x00\x00\x07" + json.dumps({"trial_id": "t", "run_id": "r", **BAD}).encode())
    reading = read_value(letter(of, 0, "status"), catalogue)
    assert (reading.kind, reading.place) == ("json", ("status",))


@pytest.mark.parametrize("form", ["list", "envelope"])
def test_one_dead_letter_for_many_leads_to_the_first_of_them(catalogue: Catalogue, decode: Decoder, form: str) -> None:
    reports = [report(), *[report(**BAD) for _ in range(200)]]
    of = envelope(*reports) if form == "envelope" else record(reports)
    rejection = decode(of)[-1]
    assert isinstance(rejection, Rejection)
    assert rejection.index == -1
    place = read_value(letter(of, -1, rejection.path), catalogue).place
    assert place == (("trials", 1, "status") if form == "envelope" else (1, "status"))
