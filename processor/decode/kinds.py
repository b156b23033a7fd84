"""What a report is, by the event that it names; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.core.fields import COMPLETE, FAILED, LIFE, METRIC, RUN_START, RUN_STOP, TRIAL, TRIAL_START, Kind
from processor.core.messages import Reason
from processor.core.text import brief
from processor.decode.boxes import unboxed
from processor.decode.refused import Refused


class Called(NamedTuple):
    """A kind of report, and the status that its event stands for where it is a trial's."""

    kind: Kind
    status: str | None = None


#: the schemas of all that a record may hold, the common one first
SUBJECTS = (TRIAL.subject, RUN_START.subject, METRIC.subject)
_TRIAL = Called(TRIAL)
#: by event
_CALLED = {
    COMPLETE: Called(TRIAL, "succeeded"),
    FAILED: Called(TRIAL, "failed"),
    **{kind.event: Called(kind) for kind in LIFE},
}
_OF_RUNS = (RUN_START.event, RUN_STOP.event)


def called(report: Mapping[str, Any], envelope: Mapping[str, Any], subject: str = TRIAL.subject) -> Called:
    """What the report is. `subject`: the schema that it was written by, where nothing else says so.

    Raises `Refused` for an event that is none of ours. An envelope's event is that of its reports, as far as it is one
    of ours; any other is the envelope's own affair.
    """
    if "event" not in report and "event" not in envelope:
        return _TRIAL if subject == TRIAL.subject else _by_content(report, subject)
    event = unboxed(report.get("event"))
    if event is None:
        event = unboxed(envelope.get("event"))
        if type(event) is not str or event not in _CALLED:
            return _by_content(report, subject)
        if event in _OF_RUNS:
            detail = f"{event} around a list says nothing of the reports in it: send it as a report of its own"
            raise Refused(Reason.UNSUPPORTED_EVENT, detail, "envelope.event")
    if type(event) is str and event in _CALLED:
        return _CALLED[event]
    detail = f"{brief(event)} is no event that is known; those that are reports: {', '.join(_CALLED)}"
    raise Refused(Reason.UNKNOWN_EVENT, detail, "event")


def _by_content(report: Mapping[str, Any], subject: str) -> Called:
    """A schema of two kinds tells them apart by a field."""
    if subject == RUN_START.subject:
        return _CALLED[(RUN_START if report.get("state") == "running" else RUN_STOP).event]
    if subject == METRIC.subject:
        return _CALLED[(TRIAL_START if report.get("metric_name") is None else METRIC).event]
    return _TRIAL
