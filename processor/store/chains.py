"""Many reports of one trial in one batch, judged one after the other without a statement for each; pure.

A row that is updated thousands of times in one transaction is looked for through all that it was: the time grows with
the square of their number. So Postgres judges the first of them that may count and is given what the last one leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from processor.core.messages import TrialReport
from processor.core.sameness import content_digest
from processor.core.verdict import Position, Verdict, judge

#: reports of one trial in a batch that get a statement each, and are all seen by Postgres; of more it sees two
MOST_WAVES = 16


class Chain(NamedTuple):
    """What reports of one trial come to.

    Postgres is to judge `first` (None: the row holds it) and then, where there was more, is given `last`: what the
    row holds in the end. `changes` are the reports behind the first that are a new revision each, in their order;
    `counts` are the verdicts on all but the first.
    """

    first: TrialReport | None
    last: TrialReport | None
    changes: list[TrialReport]
    counts: Counter[Verdict]


def apart(reports: Sequence[TrialReport]) -> tuple[list[TrialReport], list[list[TrialReport]]]:
    """The reports of trials that have few of them, and of the others those of each trial."""
    by_trial: dict[tuple[str, str], list[TrialReport]] = {}
    for report in reports:
        by_trial.setdefault((report.run_id, report.trial_id), []).append(report)
    few = [one for one in reports if len(by_trial[one.run_id, one.trial_id]) <= MOST_WAVES]
    return few, [many for many in by_trial.values() if len(many) > MOST_WAVES]


def chain_of(reports: Sequence[TrialReport], held: Position | None, digest: str | None) -> Chain:
    """What reports of one trial come to in their order, where its row holds the report at `held` with this digest.

    `held` is None where there is no row, or one from before this processor.
    """
    counts: Counter[Verdict] = Counter()
    first = last = None
    changes: list[TrialReport] = []
    content, at = b"", held
    for report in reports:
        order = report.order
        if at is not None and order < at:
            counts[Verdict.STALE] += 1
            continue
        if not content:
            content = content_digest(report)
            if order == held and report.digest and report.digest == digest:
                counts[Verdict.UNCHANGED] += 1
            else:
                first = report
            at = order
            continue
        new = content_digest(report)
        verdict = judge(order, at, new == content)
        counts[verdict] += 1
        if verdict is Verdict.CHANGED:
            changes.append(report)
            last = report
        elif verdict is Verdict.TOUCHED:
            last = moved(last, report)
        content, at = new, order
    return Chain(first, last, changes, counts)


def moved(held: TrialReport | None, report: TrialReport) -> TrialReport:
    """The content that is held with the position of an equal report, as a row has it that is only touched."""
    if held is None:
        return report
    told = report.spectral_norm_reported
    return replace(held, record=report.record, index=report.index, digest=report.digest, spectral_norm_reported=told)
