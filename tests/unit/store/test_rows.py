"""What the store does before it asks the database: waves, statements, rows as JSON, headers, packets."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64decode
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Event, Outgoing, TrialReport
from processor.decode.decoder import Decoder
from processor.events.headers import cloud_event_headers
from processor.kafka.outlet import HEADER_BYTES
from processor.store import outbox, rows
from processor.store.headers import headers_json
from processor.store.outbox import seal_packets
from processor.store.rows import copy_pieces, new_ids, row_json, split_by_size, split_into_waves
from tests.factories import record, report

DECODE = Decoder(Catalogue.load())


def decoded(**fields: Any) -> TrialReport:
    [one] = DECODE(record(report(**fields)))
    assert isinstance(one, TrialReport)
    return one


TRIALS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=20)


def reports_of(trials: list[tuple[str, str]]) -> list[TrialReport]:
    one = record(b"")
    content = decoded().content
    return [TrialReport(one, n, run, trial, {**content, "rank": n}, 1) for n, (run, trial) in enumerate(trials)]


@given(TRIALS)
def test_waves_hold_a_trial_once_at_most_and_keep_its_reports_in_order(trials: list[tuple[str, str]]) -> None:
    reports = reports_of(trials)
    waves = split_into_waves(reports)
    for wave in waves:
        assert len({(one.run_id, one.trial_id) for one in wave}) == len(wave) > 0
    flat = [one for wave in waves for one in wave]
    assert sorted(one.index for one in flat) == list(range(len(reports)))
    for trial in set(trials):
        indices = [one.index for one in flat if (one.run_id, one.trial_id) == trial]
        assert sorted(indices) == indices
    assert len(waves) == max((trials.count(trial) for trial in trials), default=0)  # no more than it takes


@given(TRIALS, st.integers(1, 2000))
def test_statements_are_bounded_and_hold_every_report_in_order(trials: list[tuple[str, str]], most: int) -> None:
    reports = reports_of(trials)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "MAX_STATEMENT_BYTES", most)
        parts = list(split_by_size(reports))
    assert [one.index for one in reports] == [one.index for part in parts for one, _ in part]
    assert all(parts)
    for part in parts:
        size = sum(len(row) for _, row in part)
        assert len(part) == 1 or size <= most
    for before, after in pairwise(parts):
        assert sum(len(row) for _, row in before) + len(after[0][1]) > most  # as full as it can be


@given(TRIALS, st.integers(1, 2000))
def test_pieces_of_a_copy_are_bounded_and_hold_every_report_in_order(trials: list[tuple[str, str]], most: int) -> None:
    reports = reports_of(trials)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "COPY_PIECE_BYTES", most)
        pieces = list(copy_pieces(reports, {run: run for run, _ in trials}))
    assert reports == [one for _, part in pieces for one in part]
    for text, part in pieces:
        assert len(part) == len(text.decode().splitlines()) > 0
        assert len(part) == 1 or sum(len(rows.content_text(one)) for one in part) <= most


def test_a_row_holds_the_content_the_position_and_what_the_schema_does_not_know() -> None:
    one = record(
        {"trials": [0, report(own=1, model_run_id="m")], "note": "n"},
        topic="raw", partition=3, offset=42, timestamp_ms=1234,
    )  # fmt: skip
    [_, row] = DECODE(one)
    assert isinstance(row, TrialReport)
    expected = {
        **row.values,
        "bridge_payload": {"extra": {"own": 1, "model_run_id": "m"}, "envelope": {"note": "n"}},
        "schema_version": 2,
        "source_topic": "raw",
        "source_partition": 3,
        "source_offset": 42,
        "source_index": 1,
        "source_timestamp_ms": 1234,
        "source_digest": row.digest,
        "spectral_norm_reported": True,
    }
    assert expected == json.loads(row_json(row))


def test_a_row_without_anything_beyond_the_schema_has_an_empty_payload() -> None:
    assert json.loads(row_json(decoded()))["bridge_payload"] == {}


def test_a_field_of_a_later_schema_is_kept_although_it_has_no_column_yet() -> None:
    one = decoded(own=1)
    later = msgspec.structs.replace(one, content={**one.content, "notes": ["a"]})
    assert json.loads(row_json(later))["bridge_payload"] == {"extra": {"notes": ["a"], "own": 1}}


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=10) | st.just(b"text")), max_size=5))
def test_headers_can_be_read_back_to_the_byte(headers: list[tuple[str, bytes | None]]) -> None:
    def value(entry: dict[str, str]) -> bytes | None:
        if "base64" in entry:
            return b64decode(entry["base64"])
        return entry["text"].encode() if "text" in entry else None

    text = headers_json(tuple(headers))
    assert headers == [(entry["name"], value(entry)) for entry in json.loads(text)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"r-1", {"text": "r-1"}),
        (b"", {"text": ""}),
        (b"\xff", {"base64": "/w=="}),
        (b"a\0", {"base64": "YQA="}),
        (None, {}),
    ],
)
def test_a_header_is_text_where_the_database_can_hold_it_as_text(value: bytes | None, expected: dict[str, str]) -> None:
    assert json.loads(headers_json((("h", value),))) == [{"name": "h", **expected}]


def test_a_header_name_that_the_database_cannot_hold_is_mended() -> None:
    assert json.loads(headers_json((("a\0", b"v"),))) == [{"name": "a�", "text": "v"}]


@given(st.lists(st.integers(0, 3000), max_size=30))
def test_packets_hold_every_message_in_order_and_are_bounded(sizes: list[int]) -> None:
    messages = [Event("r", str(n), 1, "k", 0, b"x" * size) for n, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "PACKET_BYTES", 5000)
        patch.setattr(outbox, "STATEMENT_BYTES", 12_000)
        statements = list(seal_packets(messages))
    assert all(len(parts[2]) == 1 or sum(map(len, parts[2])) <= 12_000 for parts in statements)
    ids = [one for parts in statements for one in parts[0]]
    counts = [one for parts in statements for one in parts[1]]
    payloads = [one for parts in statements for one in parts[2]]
    packets = [msgspec.msgpack.decode(payload, type=list[Outgoing]) for payload in payloads]
    assert messages == [message for packet in packets for message in packet]
    assert counts == [len(packet) for packet in packets]
    assert len(set(ids)) == len(packets)
    for payload, packet in zip(payloads, packets, strict=True):
        assert len(packet) == 1 or len(payload) < 5000 + 3000  # closed by the message that reaches the bound


def test_ids_of_new_rows_are_uuids_of_version_7_in_ascending_order() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(one) for one in new_ids(3000)]
    assert made == sorted(set(made))
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert all(before <= one.int >> 80 <= time.time_ns() // 1_000_000 for one in made)


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(ids, ids, st.integers(1, 2**62), st.binary(max_size=100), st.text(max_size=50))
def test_no_event_is_larger_than_its_packets_size_lets_the_relay_believe(
    run_id: str, trial_id: str, revision: int, value: bytes, source: str
) -> None:
    event = Event(run_id, trial_id, revision, "ml.trial.complete", 253_402_300_799_999, value, "application/avro")
    [(_, _, [payload])] = seal_packets([event])
    origin = source.encode("utf-8", "replace")
    headers = sum(len(name) + len(held) + 4 for name, held in cloud_event_headers(event, origin))
    assert len(event.key) + len(value) + headers <= 2 * len(payload) + HEADER_BYTES + len(origin)
