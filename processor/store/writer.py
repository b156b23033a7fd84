"""Batch -> Written, in ONE transaction.

A report that the database alone refuses is isolated by halving the batch and becomes a dead letter with the
database's own words; all the rest is written.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec

from processor.errors import FatalError
from processor.events import dead_letter_message
from processor.messages import (
    Batch,
    Headers,
    OutboxMessage,
    RawRecord,
    Reason,
    Rejection,
    TrialReport,
    Written,
)
from processor.normalise import storable
from processor.store.connection import ReportError, Store, sort_error
from processor.store.outbox import seal_packets
from processor.store.queries import load_queries

#: what JSON text of rows one statement gets at the most; Postgres needs several times as much memory to take it apart
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
#: dead letters that a batch's reports are compared with one by one; where there are more, all reports are looked up
MAX_SUSPECTS = 1000
VERDICTS = ("inserted", "changed", "touched", "unchanged", "stale")
_COLUMNS = frozenset(
    {
        "status", "metrics", "parameters", "spectral_norm", "mlflow_run_id", "artifact_uri", "duration_ms", "rank",
        "warnings", "candidate_id", "pulse_id", "run_id", "trial_id",
    }
)  # fmt: skip

EventOf = Callable[[TrialReport, int], OutboxMessage | None]
_encode = msgspec.json.Encoder().encode


class Applied(msgspec.Struct):
    """What became of a batch's reports so far."""

    counts: dict[str, int]
    messages: list[OutboxMessage]
    rejections: list[Rejection]


class TrialStore:
    """The sink of the pipeline: one connection, one transaction a batch. Use it in one thread only."""

    def __init__(self, store: Store, event_of: EventOf, *, create_runs: bool = True) -> None:
        self._store, self._event_of, self._create_runs = store, event_of, create_runs
        self._queries = load_queries()

    def close(self) -> None:
        self._store.close()

    def write(self, batch: Batch) -> Written:
        """Makes the batch durable, all of it or nothing:

        1. locks (and where allowed creates) the runs it names, in one order for everybody
        2. judges and applies its reports, those of one trial one after the other as they came
        3. resolves the dead letters of what is now written, and stores its rejections with their original bytes
        4. puts the events and the new dead letters into the outbox and wakes the relay
        5. commits; only then may anybody commit the offsets

        Raises `TransientError` when the world is down, `SetupError` when a person has to act.
        """
        if not batch.reports and not batch.rejections:
            return Written()
        try:
            return self._store.run(lambda connection: self._write(connection, batch, isolate=False))
        except ReportError:
            pass
        try:
            return self._store.run(lambda connection: self._write(connection, batch, isolate=True))
        except ReportError as error:  # not a report's fault after all: never drop what can't be recorded
            raise FatalError(
                f"Postgres at {self._store.where} refuses a dead letter or an outbox row: {error}"
            ) from None

    async def _write(self, connection: asyncpg.Connection, batch: Batch, *, isolate: bool) -> Written:
        applied = Applied(dict.fromkeys(VERDICTS, 0), [], [])
        async with connection.transaction():
            reports = await self._lock_runs(connection, batch.reports, applied, isolate)
            if isolate:
                await self._apply_halving(connection, reports, applied)
            else:
                await self._apply(connection, reports, applied)
            rejections = (*batch.rejections, *applied.rejections)
            await self._resolve(connection, batch, applied.rejections)
            letters = await self._store_rejections(connection, rejections) if rejections else []
            if applied.messages or letters:
                packets = seal_packets([*applied.messages, *letters])
                await connection.execute(self._queries["insert_outbox"], *packets)
                await connection.execute(self._queries["wake_relay"])
        return Written(
            **applied.counts,
            events=len(applied.messages),
            dead_letters=len(letters),
            rejected_by_database=applied.rejections,
        )

    async def _lock_runs(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied, isolate: bool
    ) -> Sequence[TrialReport]:
        """Locks the runs; the reports that have one, the others become rejections."""
        wanted = {report.run_id for report in reports}
        known = await self._lock(connection, wanted) if wanted else wanted
        refusals: dict[str, str] = {}
        if known != wanted and self._create_runs:
            missing = sorted(wanted - known)
            if isolate:
                refusals = await self._create_one_by_one(connection, missing)
            else:
                await connection.execute(self._queries["create_runs"], missing)
            known = await self._lock(connection, wanted)
        if known == wanted:
            return reports
        applied.rejections += [
            refused_by_database(report, refusals[report.run_id])
            if report.run_id in refusals
            else Rejection(
                report.record,
                report.index,
                Reason.UNKNOWN_RUN,
                f"no run {report.run_id!r:.200} in cerebros_model_runs, and UNKNOWN_RUN is reject",
                "run_id",
            )
            for report in reports
            if report.run_id not in known
        ]
        return [report for report in reports if report.run_id in known]

    async def _create_one_by_one(self, connection: asyncpg.Connection, run_ids: Sequence[str]) -> dict[str, str]:
        """Creates the runs; the database's words by run id for those that it refuses."""
        refusals = {}
        for run_id in run_ids:
            try:
                async with connection.transaction():
                    await connection.execute(self._queries["create_runs"], [run_id])
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._store.where)
                if not isinstance(refusal, ReportError):
                    raise
                refusals[run_id] = str(refusal)
        return refusals

    async def _lock(self, connection: asyncpg.Connection, run_ids: set[str]) -> set[str]:
        rows = await connection.fetch(self._queries["lock_runs"], list(run_ids))
        return {row[0] for row in rows}

    async def _apply(self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied) -> None:
        """Applies in waves, each with at most one report a trial, so that later ones meet what earlier ones left."""
        for wave in split_into_waves(reports):
            for part in split_by_size(wave):
                await self._apply_part(connection, part, applied)

    async def _apply_part(
        self, connection: asyncpg.Connection, part: Sequence[tuple[TrialReport, bytes]], applied: Applied
    ) -> None:
        document = b"[" + b",".join(row for _, row in part) + b"]"
        result = await connection.fetchrow(self._queries["apply_reports"], document)
        revisions = [1] * len(part)
        other = len(result["places"])
        applied.counts["inserted"] += len(part) - other
        for place, verdict, revision in zip(result["places"], result["verdicts"], result["revisions"], strict=True):
            applied.counts[VERDICTS[verdict]] += 1
            revisions[place] = revision if verdict == 1 else 0
        event_of, add = self._event_of, applied.messages.append
        for (report, _), revision in zip(part, revisions, strict=True):
            if revision:
                message = event_of(report, revision)
                if message is not None:
                    add(message)

    async def _apply_halving(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied
    ) -> None:
        """As `_apply`, but a part that the database refuses is tried again in halves, down to the guilty report."""
        if not reports:
            return
        attempt = Applied(dict.fromkeys(VERDICTS, 0), [], [])
        try:
            async with connection.transaction():
                await self._apply(connection, reports, attempt)
        except asyncpg.PostgresError as error:
            refusal = sort_error(error, self._store.where)
            if not isinstance(refusal, ReportError):
                raise
        else:
            applied.messages += attempt.messages
            for verdict, number in attempt.counts.items():
                applied.counts[verdict] += number
            return
        if len(reports) == 1:
            applied.rejections.append(refused_by_database(reports[0], str(refusal)))
            return
        middle = len(reports) // 2
        await self._apply_halving(connection, reports[:middle], applied)
        await self._apply_halving(connection, reports[middle:], applied)

    async def _resolve(self, connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
        """Resolves dead letters of reports that are written now: a replay or a redrive brought them again.

        Runs behind the locks on the runs and before the batch's own rejections are stored: where nothing comes again it
        is one look at an index.
        """
        spans = spans_of(batch)
        found = await connection.fetch(self._queries["unresolved_in_spans"], *spans, MAX_SUSPECTS)
        if found:
            suspects = {tuple(row) for row in found} if len(found) < MAX_SUSPECTS else None
            places = settled_places(batch, refused, suspects)
            if places:
                await connection.execute(self._queries["resolve_written"], *zip(*places, strict=True))

    async def _store_rejections(
        self, connection: asyncpg.Connection, rejections: Sequence[Rejection]
    ) -> list[OutboxMessage]:
        """Stores what is not stored yet; the messages for the dead letter topic."""
        records = {place_of(rejection.record): rejection.record for rejection in rejections}
        columns = [
            (*place, record.key, record.value, headers_json(record.headers)) for place, record in records.items()
        ]
        await connection.execute(self._queries["insert_dead_letter_records"], *zip(*columns, strict=True))
        letters = [
            (*place_of(one.record), one.index, one.reason.value, storable(one.detail), storable(one.path))
            for one in rejections
        ]
        rows = await connection.fetch(self._queries["insert_dead_letters"], *zip(*letters, strict=True))
        ids = {(row["topic"], row["partition"], row["offset"], row["report_index"]): row["id"] for row in rows}
        return [
            dead_letter_message(one, ids[key])
            for one in rejections
            if (key := (one.record.topic, one.record.partition, one.record.offset, one.index)) in ids
        ]


def place_of(record: RawRecord) -> tuple[str, int, int, int]:
    return (record.topic, record.partition, record.offset, record.timestamp_ms)


def spans_of(batch: Batch) -> tuple[list[str], list[int], list[int], list[int]]:
    """Parameters of `unresolved_in_spans`: topic, partition, first and last offset of what the batch holds."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for outcomes in (batch.reports, batch.rejections):
        for outcome in outcomes:
            record = outcome.record
            offsets.setdefault((record.topic, record.partition), []).append(record.offset)
    topics, partitions = [topic for topic, _ in offsets], [partition for _, partition in offsets]
    return topics, partitions, [min(some) for some in offsets.values()], [max(some) for some in offsets.values()]


def settled_places(
    batch: Batch, refused: Sequence[Rejection], suspects: Collection[tuple[Any, ...]] | None
) -> list[tuple[str, int, int, int, int]]:
    """(topic, partition, offset, timestamp, index) of what was written, index -1 for a record that is readable now.

    Only of records whose (topic, partition, offset) is among the `suspects`; None: of all.
    """
    not_written = {(place_of(one.record), one.index) for one in refused}
    outcomes: list[TrialReport | Rejection] = [*batch.reports, *batch.rejections]
    settled: dict[tuple[str, int, int, int, int], None] = {}
    for outcome in outcomes:
        place = place_of(outcome.record)
        if outcome.index < 0 or (suspects is not None and place[:3] not in suspects):
            continue
        settled[*place, -1] = None
        if type(outcome) is TrialReport and (place, outcome.index) not in not_written:
            settled[*place, outcome.index] = None
    return list(settled)


def headers_json(headers: Headers) -> bytes:
    """[{"name", "text" | "base64"}, ...]: readable where the bytes are text; a null value has neither."""
    entries = []
    for name, value in headers:
        entry = {"name": storable(name)}
        if value is not None:
            text = value.decode("utf-8", "replace")
            if text.encode() == value and "\x00" not in text:
                entry["text"] = text
            else:
                entry["base64"] = b64encode(value).decode()
        entries.append(entry)
    return _encode(entries)


def refused_by_database(report: TrialReport, refusal: str) -> Rejection:
    return Rejection(report.record, report.index, Reason.DATABASE_REFUSED, f"Postgres: {refusal}")


def row_json(report: TrialReport) -> bytes:
    """One element of the parameter of `apply_reports`."""
    record, content, extra = report.record, report.content, report.extra
    if len(content) != len(_COLUMNS):  # a later schema's field without a column of its own is kept all the same
        more = {name: value for name, value in content.items() if name not in _COLUMNS}
        extra = {**more, **(extra or {})}
    payload: dict[str, Any] = {}
    if extra:
        payload["extra"] = extra
    if report.envelope:
        payload["envelope"] = report.envelope
    return _encode(
        {
            **content,
            "bridge_payload": payload,
            "schema_version": report.schema_version,
            "source_topic": record.topic,
            "source_partition": record.partition,
            "source_offset": record.offset,
            "source_index": report.index,
            "source_timestamp_ms": record.timestamp_ms,
        }
    )


def split_into_waves(reports: Sequence[TrialReport]) -> list[Sequence[TrialReport]]:
    """The k-th wave holds the k-th report of each trial, in the batch's order."""
    if len({(report.run_id, report.trial_id) for report in reports}) == len(reports):
        return [reports] if reports else []
    waves: list[list[TrialReport]] = []
    seen: dict[tuple[str, str], int] = {}
    for report in reports:
        key = (report.run_id, report.trial_id)
        number = seen.get(key, 0)
        seen[key] = number + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(report)
    return list(waves)


def split_by_size(reports: Sequence[TrialReport]) -> Iterator[list[tuple[TrialReport, bytes]]]:
    """The reports with their rows as JSON, in parts of at most `MAX_STATEMENT_BYTES` (one always fits)."""
    part: list[tuple[TrialReport, bytes]] = []
    size = 0
    for report in reports:
        row = row_json(report)
        if part and size + len(row) > MAX_STATEMENT_BYTES:
            yield part
            part, size = [], 0
        part.append((report, row))
        size += len(row)
    if part:
        yield part
