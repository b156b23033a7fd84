"""What a run of MLflow shall hold; frozen, and nothing but data."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

#: namespace of every key; never changes, or each run would be made a second time
KEY_NAMESPACE = uuid.UUID("7c0d7c2e-3a0b-5f0e-8d55-0d0b5a1fe9a4")
#: the tag by which a run is found again that was made and not remembered; hexadecimal, as filters escape no quotes
KEY_TAG = "cerebros.key"
REVISION_TAG, TIME_TAG, SHAPE_TAG = "cerebros.revision", "cerebros.time_ms", "cerebros.shape"
PARENT_TAG = "mlflow.parentRunId"
RUN_TAG, TRIAL_TAG = "cerebros.run_id", "cerebros.trial_id"
#: in every run that the mirror filled, and in none that a report names
SOURCE_TAG, SOURCE = "mlflow.source.name", "cerebros"
#: trial id of the Cerebros run itself, which no trial has
WHOLE_RUN = ""
_RANKED = "+ranked"

#: metric by step of a trial as it said while it ran: name -> (step or None, value, milliseconds since the epoch)
Progress = Mapping[str, Sequence[tuple[int | None, float, int]]]
NOTHING: Progress = MappingProxyType({})


def key_of(run_id: str, trial_id: str, revision: int | None = None) -> str:
    """UUIDv5, hexadecimal; with `revision` that of a run which took another's place."""
    name = [run_id, trial_id] if revision is None else [run_id, trial_id, revision]
    return uuid.uuid5(KEY_NAMESPACE, msgspec.json.encode(name).decode()).hex


class Metric(NamedTuple):
    key: str
    value: float  # finite
    time_ms: int
    step: int


class Moment(NamedTuple):
    """The order of what was said of a trial: only what is greater than the moment a run stands at is applied."""

    time_ms: int
    revision: int


class Happening(msgspec.Struct, frozen=True, gc=False):
    """One event of the events topic, read: a revision of a trial or (`trial_id` is "") of a Cerebros run.

    `body` is the event's, with NaN and infinities by their names; `event_id` is its ce_id.
    """

    kind: str
    run_id: str
    trial_id: str
    moment: Moment
    event_id: str
    body: Mapping[str, Any]

    @property
    def trial(self) -> tuple[str, str]:
        return self.run_id, self.trial_id

    @property
    def reported_run(self) -> str | None:
        """The MLflow run that the report names."""
        return self.body.get("mlflow_run_id") or None


class Content(msgspec.Struct, frozen=True, gc=False):
    """All of a run that is written: `params` for good, everything else again and again.

    `shape` is what of it can't be changed once it is in a run: where it differs from the run's, another run is made.
    `bent` says in a few words each what MLflow can't hold as it came; `files` have it, by their path.
    Times are milliseconds since the epoch; `status` is MLflow's word, and without an end the run goes on.
    """

    name: str
    status: str
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str]
    metrics: Sequence[Metric]
    tags: Mapping[str, str]
    shape: str
    files: Mapping[str, bytes] = {}
    bent: tuple[str, ...] = ()


def shape(digest: str, *, ranked: bool) -> str:
    return digest + (_RANKED if ranked else "")


def fits(held: str | None, wanted: str) -> bool:
    """Whether a run of shape `held` can become one of `wanted`: a rank may come, and not go."""
    if held is None or held == wanted:
        return True
    return wanted == held + _RANKED
