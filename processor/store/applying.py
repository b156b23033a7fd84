"""Reports -> rows and events, within a transaction that somebody else began and that holds the locks on their runs.

Trial reports are judged here, the others by `life` and `progress`: none of them ever changes another's rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

import asyncpg

from processor.core.errors import TransientError, Trouble
from processor.core.messages import Progress, Report, RunReport, TrialReport
from processor.core.parts import Halves, in_parts
from processor.core.verdict import Position, Verdict, judge
from processor.store.applied import Applied, EventOf, Runs
from processor.store.chains import MOST_WAVES, Chain, apart, chain_of
from processor.store.errors import ReportError, sort_error
from processor.store.life import LifeApplier
from processor.store.progress import ProgressApplier
from processor.store.queries import load_queries
from processor.store.refused import Refused
from processor.store.rows import (
    COPY_COLUMNS,
    MAX_STATEMENT_BYTES,
    copy_pieces,
    row_json,
    split_by_size,
    split_into_waves,
)

#: as many reports are worth two more round trips, which spare Postgres half of its work
BULK_LEAST = 24

#: verdicts by place in the reports; None: the content has to be compared
Looked = dict[int, Verdict | None]
#: from this one on position and digest are enough
_CERTAIN = Verdict.UNCHANGED
_ONLY_TRIALS = {TrialReport}


class Applier:
    """Judges and applies reports. Use it in one thread only."""

    def __init__(self, event_of: EventOf, where: str, refused: Refused) -> None:
        """`where` names the database in what is said of it."""
        self._event_of, self._where, self._refused = event_of, where, refused
        self._life, self._progress = LifeApplier(event_of.of_run), ProgressApplier()
        self._queries = load_queries()

    async def apply(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """Applies in waves, each with at most one report a trial, so that later ones meet what earlier ones left.

        Of trials with more reports than waves are worth only the first and what the last leaves are applied.
        """
        # one pass in C, 15 ns a report: most batches hold nothing else
        if reports and set(map(type, reports)) != _ONLY_TRIALS:
            await self._apply_life(connection, reports, runs, applied)
            reports = [one for one in reports if type(one) is TrialReport]
        waves = split_into_waves(reports)  # type: ignore[arg-type]
        if len(waves) > MOST_WAVES:
            few, many = apart(reports)  # type: ignore[arg-type]
            waves = split_into_waves(few)
            await self._apply_chains(connection, many, runs, applied)
        await self._apply_waves(connection, waves, runs, applied)

    async def _apply_waves(
        self, connection: asyncpg.Connection, waves: Sequence[Sequence[TrialReport]], runs: Runs, applied: Applied
    ) -> None:
        for wave in waves:
            if len(wave) >= BULK_LEAST:
                wave = await self._apply_bulk(connection, wave, runs, applied)
            for part in split_by_size(wave):
                await self._apply_part(connection, part, applied)

    async def _apply_life(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """What is said of the life of runs and of progress."""
        of_runs = [one for one in reports if type(one) is RunReport]
        if of_runs:
            verdicts, events = await self._life.apply(connection, of_runs, [runs[one.run_id] for one in of_runs])
            applied.counts.update(verdicts)
            applied.messages += events
        progress = [one for one in reports if type(one) is Progress]
        if progress:
            applied.counts.update(await self._progress.apply(connection, progress, runs))

    async def _apply_bulk(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs, applied: Applied
    ) -> Sequence[TrialReport]:
        """Settles what one look at an index can tell, copies the new trials; the reports that remain to be judged.

        Nobody adds a trial to a run that is locked here, so what is new at the look is new at the copy. (Another
        program might: then Postgres refuses the copy by the unique key, and the batch is isolated and judged.)
        """
        verdicts = await self._look(connection, reports, runs)
        if len(verdicts) < len(reports):
            new = [report for place, report in enumerate(reports) if place not in verdicts]
            lines = self._lines(new, runs, applied)
            await connection.copy_to_table("cerebros_model_trials", source=lines, columns=COPY_COLUMNS, format="text")
            applied.counts[Verdict.INSERTED] += len(new)
        applied.counts.update(verdict for verdict in verdicts.values() if verdict is not None)
        return [reports[place] for place, verdict in verdicts.items() if verdict is None]

    async def _lines(self, new: Sequence[TrialReport], runs: Runs, applied: Applied) -> AsyncIterator[bytes]:
        """What COPY takes, piece by piece; adds the events of a piece while Postgres stores it."""
        for text, reports in copy_pieces(new, runs):
            yield text
            self._add_events(((report, 1) for report in reports), applied)

    async def _apply_chains(
        self, connection: asyncpg.Connection, many: Sequence[list[TrialReport]], runs: Runs, applied: Applied
    ) -> None:
        """Applies reports of a few trials, many each: in two statements, however many they are."""
        held = await self._held(connection, [reports[0] for reports in many], runs)
        chains = [chain_of(reports, *held.get(place, (None, None))) for place, reports in enumerate(many)]
        await self._apply_judged(connection, [one.first for one in chains if one.first is not None], applied)
        leaps = ((one, row_json(one.last)) for one in chains if one.changes and one.last is not None)
        for part in in_parts(leaps, lambda one: len(one[1]), MAX_STATEMENT_BYTES):
            await self._leap(connection, part, applied)
        # what was only touched again has the content that the row has
        touching = [one.last for one in chains if one.last is not None and not one.changes]
        await self._apply_judged(connection, touching, applied)
        applied.counts[Verdict.TOUCHED] -= len(touching)  # these are counted twice
        for one in chains:
            applied.counts.update(one.counts)

    async def _apply_judged(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied
    ) -> None:
        for part in split_by_size(reports):
            await self._apply_part(connection, part, applied)

    async def _leap(
        self, connection: asyncpg.Connection, part: Sequence[tuple[Chain, bytes]], applied: Applied
    ) -> None:
        document = b"[" + b",".join(row for _, row in part) + b"]"
        steps = [len(chain.changes) for chain, _ in part]
        found = await connection.fetch(self._queries["leap_reports"], document, steps)
        if len(found) < len(part):
            raise TransientError(f"somebody deleted a trial from {self._where} while its reports were applied")
        for row in found:
            changes = part[row["place"]][0].changes
            first = row["revision"] - len(changes) + 1
            self._add_events(((report, first + number) for number, report in enumerate(changes)), applied)

    async def _held(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs
    ) -> dict[int, tuple[Position | None, str | None]]:
        """By place, those whose trial has a row: the position and the digest of the report that it holds."""
        model_run_ids = [runs[report.run_id] for report in reports]
        trial_ids = [report.trial_id for report in reports]
        places, digests, *position = await connection.fetchrow(
            self._queries["look_at_trials"], model_run_ids, trial_ids
        )
        held = zip(*position, strict=True)
        return {
            place: (order if order[0] is not None else None, digest)
            for place, order, digest in zip(places, held, digests, strict=True)
        }

    async def _look(self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs) -> Looked:
        """By place, those whose trial has a row: the verdict where it is certain."""
        held = await self._held(connection, reports, runs)
        return {place: settle(reports[place], order, digest) for place, (order, digest) in held.items()}

    async def _apply_part(
        self, connection: asyncpg.Connection, part: Sequence[tuple[TrialReport, bytes]], applied: Applied
    ) -> None:
        document = b"[" + b",".join(row for _, row in part) + b"]"
        result = await connection.fetchrow(self._queries["apply_reports"], document)
        revisions = [1] * len(part)
        other = len(result["places"])
        applied.counts[Verdict.INSERTED] += len(part) - other
        for place, verdict, revision in zip(result["places"], result["verdicts"], result["revisions"], strict=True):
            applied.counts[Verdict(verdict)] += 1
            revisions[place] = revision if verdict == Verdict.CHANGED else 0
        self._add_events(zip((report for report, _ in part), revisions, strict=True), applied)

    def _add_events(self, written: Iterable[tuple[TrialReport, int]], applied: Applied) -> None:
        """The events of new revisions; revision 0: there is none."""
        event_of, add = self._event_of, applied.messages.append
        for report, revision in written:
            message = event_of(report, revision) if revision else None
            if message is not None:
                add(message)

    async def apply_halving(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """As `apply`, but a part that the database refuses is tried again in halves, down to the guilty report."""
        halves = Halves(reports)
        for part in halves:
            attempt = Applied()
            try:
                async with connection.transaction():
                    await self.apply(connection, part, runs, attempt)
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._where)
                if not isinstance(refusal, ReportError):
                    raise
                if not halves.split():
                    applied.refuse(part[0], refusal)
                    self.check_refused(applied)
            else:
                applied.add(attempt)

    def check_refused(self, applied: Applied, *, done: bool = False) -> None:
        """Raises `TransientError` where constraints refuse so much that it is no matter of single reports.

        `done`: all reports of the batch are applied or refused.
        """
        if self._refused.must_wait(applied.total, applied.by_constraint, done=done):
            raise TransientError(
                f"Postgres at {self._where} refuses {self._refused.share(applied.total, applied.by_constraint)}, so "
                f"nothing is rejected for now: {applied.rejections[-1].detail}",
                Trouble.REFUSALS,
            )


def settle(report: TrialReport, held: Position | None, digest: str | None) -> Verdict | None:
    """The verdict where a look at position and digest is enough for it; None where the content has to be compared."""
    if held is None:  # the row is from before this processor
        return None
    record = report.record
    order = (record.timestamp_ms, record.partition, record.offset, report.index)  # `report.order`, in half of the time
    verdict = judge(order, held, report.digest == digest)
    return verdict if verdict >= _CERTAIN else None
