"""A Cerebros run's event -> what is said of it in MLflow: its parent run, or its experiment's tags; pure."""

from __future__ import annotations

import math
from typing import Any

from processor.mlflow.content import RUN_TAG, SOURCE, SOURCE_TAG, TIME_TAG, Content, Happening, Metric, Moment
from processor.mlflow.leaves import keyed, leaves, text_of
from processor.mlflow.names import MAX_KEY, MAX_TAG, cut, legal_key

#: how a Cerebros run's state reads in MLflow
STATES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
MAX_SAID = 80
#: of a parent that is made for its first trial, before the run itself has said anything
SEEN = "seen"
_NUMBERS = ("best_metric", "completed_trials", "requested_trials")


def seen(event: Happening) -> Happening:
    """That a run exists, told by one of its trials; it says nothing that a start or stop could be older than."""
    start_ms = max(0, event.moment.time_ms - (event.body.get("duration_ms") or 0))
    return Happening(SEEN, event.run_id, "", Moment(start_ms, 0), "", {"state": "running"})


def run_tags(event: Happening) -> dict[str, str]:
    """All that the run said, flattened."""
    body, known = event.body, {"event", "model_run_id", "revision", "metadata", "result"}
    said: dict[str, Any] = {name: value for name, value in body.items() if name not in known and value is not None}
    found = [leaf for leaf in leaves(said) if leaf.path]
    for part in ("metadata", "result"):
        found += [leaf for leaf in leaves(body.get(part) or {}, (part,)) if len(leaf.path) > 1]
    keys = list(keyed(found).items())[:MAX_SAID]
    tags = {legal_key(f"cerebros.{key}"): cut(text_of(leaf.value), MAX_TAG) for key, leaf in keys}
    return {**tags, RUN_TAG: cut(event.run_id, MAX_TAG)}


def run_content(event: Happening) -> Content:
    """The parent run; it is never superseded, so it has no params."""
    body, (time_ms, revision) = event.body, event.moment
    status = STATES.get(body["state"], "RUNNING")
    points = []
    for name in _NUMBERS:
        if body.get(name) is not None and math.isfinite(float(body[name])):
            points.append(Metric(f"cerebros.{name}", float(body[name]), time_ms, revision))
    tags = run_tags(event)
    if revision:
        tags[TIME_TAG] = str(time_ms)
    return Content(
        name=cut(event.run_id, MAX_KEY),
        status=status,
        start_ms=time_ms,
        end_ms=None if status == "RUNNING" else time_ms,
        params={},
        metrics=points,
        tags={**tags, SOURCE_TAG: SOURCE},
        shape="",
    )
