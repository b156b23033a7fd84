"""How a trial or a run ended: the words for it, and what says so where no status does; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from processor.core.messages import Reason
from processor.core.text import brief
from processor.decode.boxes import unboxed
from processor.decode.refused import Refused

_WORDS = {
    "succeeded": "succeeded success complete completed ok finished terminated",
    "failed": "failed fail failure error exception crashed timeout timed_out invalid",
    "skipped": "skipped pruned early_stopped",
    "cancelled": "cancelled canceled killed stopped aborted",
}
#: word -> status; of Optuna, MLflow, Ray Tune, Keras Tuner, Weights & Biases and Cerebros itself
STATUSES = {word: status for status, words in _WORDS.items() for word in words.split()}
_UNDER_WAY = """
running run started starting start waiting wait queued enqueued pending training scheduled created new init initialized
initializing initialised initialising idle in_progress inprogress progress ongoing active submitted accepted preparing
provisioning pulling launching launched booting warming_up loading ready evaluating validating testing executing
processing paused suspended resumed resuming retrying restarting rescheduled preempting preempted stopping cancelling
canceling killing terminating finishing completing"""
#: what the same programs call a trial that has yet to end
NOT_FINAL = frozenset(_UNDER_WAY.split())
#: `TrialState.FAIL`, as Python prints an enum's member
_CLASS = re.compile(r"(?:[A-Za-z_]\w*+\.)++", re.ASCII)
_GAPS = re.compile("[ -]+")
#: no word behind any class name is longer
_LONGEST = 200
_ERRORS = ("error", "error_message", "exception")


def ended_as(value: Any) -> str:
    """One of the four statuses; the very same object where it is one."""
    if type(value) is str:
        known = STATUSES.get(value)
        if known is None:
            word = _word_in(value)
            known = STATUSES.get(word)
            if known is None and word in NOT_FINAL:
                raise Refused(Reason.NOT_FINAL, f"{brief(value)} is no end: only trials that have ended are reported")
        if known is not None:
            return value if known == value else known
    elif value is None:
        return "succeeded"
    raise Refused(Reason.UNKNOWN_STATUS, f"{brief(value)} is no status; they are succeeded, failed, skipped, cancelled")


def _word_in(text: str) -> str:
    """The word, in the form in which words are known."""
    if len(text) > _LONGEST:
        return ""
    text = text.strip()
    name = _CLASS.match(text)
    return _GAPS.sub("_", text[name.end() if name else 0 :].lower())


def under_way(value: Any) -> str:
    """The state of a run that starts: there is but one."""
    if value is None or (type(value) is str and _word_in(value) in NOT_FINAL):
        return value if value == "running" else "running"
    raise Refused(Reason.UNKNOWN_STATUS, f"a run that starts is running, not {brief(value)}")


def stopped_as(value: Any) -> str | None:
    """How a run stopped: one of a trial's endings that a run may have."""
    if value is None:
        return None
    state = ended_as(value)
    if state == "skipped":
        raise Refused(Reason.UNKNOWN_STATUS, f"no run ends as {brief(value)}; it is succeeded, failed or cancelled")
    return state


def stopped_without_state(fields: Mapping[str, Any], _event: str | None) -> str | None:
    """What else says how a run stopped. Raises `Refused` where nothing does: no run succeeds by being silent."""
    ended = _said_elsewhere(fields, "status", stopped_as)
    if ended is None:
        raise Refused(Reason.UNKNOWN_STATUS, "a run that stops must say how: state or status", "state")
    return ended


def ended_without_status(fields: Mapping[str, Any], event: str | None) -> str | None:
    """What else says how a trial ended that has no status: its event, its state, or an error; None where nothing does.

    Raises `Refused` for a state that is no end.
    """
    return event if event is not None else _said_elsewhere(fields, "state", ended_as)


def _said_elsewhere(fields: Mapping[str, Any], name: str, rule: Callable[[Any], str | None]) -> str | None:
    """The field of the other name by its rule, else failed where an error is told."""
    said = unboxed(fields.get(name))
    if said is None:
        return "failed" if any(says_something(fields.get(error)) for error in _ERRORS) else None
    try:
        return rule(said)
    except Refused as refused:
        raise refused.at(name) from None


def says_something(value: Any) -> bool:
    """Whether an error is told: null, false, 0, NaN, blanks and empty lists are the ways to say that there is none."""
    value = unboxed(value)
    if type(value) is str:
        return value.strip() not in ("", "NaN")  # NaN is a string once it is storable
    return bool(value) and value == value
