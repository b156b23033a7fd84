"""What a start or a stop does to the life of a run; pure.

A run holds the newest of its starts and the newest of its stops. A stop counts only while no newer start is there: a
run that starts again runs, and its former end is history. So what is held in the end is the same in whatever order the
reports come, and a start that comes after its own stop fills in what it says without making the run run again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from processor.core.fields import RUN_START, RUN_STOP, Kind
from processor.core.messages import Order, RunReport
from processor.core.sameness import digest_of
from processor.core.verdict import Verdict, judge


class Held(NamedTuple):
    """A report that is held: where it stands, and the digest of what it says (`core.sameness`)."""

    order: Order
    digest: bytes


class Life(NamedTuple):
    """What is held of a run, and the number of its revisions; each start or stop that changes anything is one."""

    start: Held | None = None
    stop: Held | None = None
    revision: int = 0


def lead(life: Life, report: Held, *, starts: bool) -> tuple[Verdict, Life]:
    """The verdict on one more report of the run, and what is then held."""
    start, stop = life.start, life.stop
    if not starts and start is not None and report.order < start.order:
        return Verdict.STALE, life
    again = starts and stop is not None and stop.order < report.order
    own = start if starts else stop
    if own is None:
        verdict = Verdict.INSERTED
    else:
        verdict = judge(report.order, own.order, report.digest == own.digest and not again)
    if verdict is Verdict.STALE:
        return verdict, life
    revision = life.revision + (verdict <= Verdict.CHANGED)
    if starts:
        return verdict, Life(report, None if again else stop, revision)
    return verdict, Life(start, report, revision)


def said_by(report: RunReport) -> dict[str, Any]:
    """What the report says for columns of the run."""
    content = report.content
    return {name: content[name] for name in _kind_of(report).columns if content[name] is not None}


def rest_of(report: RunReport) -> dict[str, Any]:
    """All else that it says."""
    content, columns = report.content, _kind_of(report).columns
    named = {name: content[name] for name in content if name not in columns and name != "run_id"}
    return {**{name: value for name, value in named.items() if value not in (None, {})}, **report.rest}


def held_of(report: RunReport) -> Held:
    return Held(report.order, digest_of([said_by(report), rest_of(report)]))


def _kind_of(report: RunReport) -> Kind:
    return RUN_START if report.starts else RUN_STOP
