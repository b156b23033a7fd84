"""A trial's event -> what its MLflow run holds; pure. The rules are a table in docs/reference/mlflow.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from processor.core.numbers import LONG_MAX, to_json
from processor.mlflow.content import (
    NOTHING,
    REVISION_TAG,
    RUN_TAG,
    SHAPE_TAG,
    SOURCE,
    SOURCE_TAG,
    TIME_TAG,
    TRIAL_TAG,
    Content,
    Happening,
    Metric,
    Progress,
    shape,
)
from processor.mlflow.leaves import Leaf, keyed, leaves, number, series, text_of
from processor.mlflow.names import MAX_KEY, MAX_PARAM, MAX_TAG, cut, digest_of, file_name, legal_key
from processor.mlflow.notes import note

#: of one trial; a run of more is slow to open, and each hundred is a request of its own
MAX_PARAMS = 1000
#: an entry of the parameters (an architecture) with more values than this is a file instead
MAX_ENTRY_VALUES = 100
#: of one trial, thinned evenly where there are more: a log-batch of a thousand takes the server a tenth of a second
MAX_POINTS = 10_000
MAX_TEXT_METRICS = 100
EVENT_FILE = "cerebros/trial.json"
STATUSES = {"completed": "FINISHED", "failed": "FAILED"}
#: fields of the event that are a tag of their own; on later revisions one that is gone becomes an empty tag
_TAGGED = ("artifact_uri", "rank", "candidate_id", "pulse_id", "error_message", "error_type")


class _Metrics(NamedTuple):
    points: list[Metric]
    texts: dict[str, str]
    nonfinite: dict[str, str]
    fixed: list[Any]  # what of it can't be taken back


def trial_content(event: Happening, progress: Progress = NOTHING) -> Content:
    """What the run of a trial that ended shall hold; `progress` is what it said before."""
    body, bent = event.body, list[str]()
    files: dict[str, bytes] = {}
    params = _params(body, files, bent)
    metrics = _metrics(event, progress, bent)
    fixed = [sorted(params.items()), metrics.fixed, sorted(metrics.texts), body.get("duration_ms"), event.run_id]
    made = shape(digest_of(to_json(fixed).decode(), 32), ranked=body.get("rank") is not None)
    tags = {**_tags(event, made), **metrics.texts}
    later = event.moment.revision > 1
    if metrics.nonfinite or later:
        tags["cerebros.nonfinite"] = cut(text_of(metrics.nonfinite) if metrics.nonfinite else "", MAX_TAG)
    if bent or later:
        tags["cerebros.bent"] = cut("; ".join(bent), MAX_TAG)
    end_ms = event.moment.time_ms
    return Content(
        name=cut(event.trial_id, MAX_KEY),
        status=STATUSES[body["status"]],
        start_ms=max(0, end_ms - (body.get("duration_ms") or 0)),
        end_ms=end_ms,
        params=params,
        metrics=metrics.points,
        tags=tags,
        shape=made,
        files={EVENT_FILE: msgspec.json.format(to_json(body), indent=2), **files},
        bent=tuple(bent),
    )


def _params(body: Mapping[str, Any], files: dict[str, bytes], bent: list[str]) -> dict[str, str]:
    found: list[Leaf] = []
    for name, value in (body.get("parameters") or {}).items():
        inside = list(leaves(value, (name,)))
        whole = to_json(value)
        if len(inside) > MAX_ENTRY_VALUES or (len(whole) > MAX_PARAM and isinstance(value, (dict, list))):
            path = f"cerebros/parameters/{file_name(name)}.json"
            files[path] = whole
            bent.append(f"parameter {name[:80]} is the file {path}")
            inside = [Leaf((name,), f"{path} ({len(inside)} values, sha256 {digest_of(whole.decode(), 16)})")]
        found += inside
    params = {"spectral_norm": "true" if body.get("spectral_norm") else "false"}
    keys = keyed(found, params)
    for key in list(keys)[: MAX_PARAMS - 1]:
        text = text_of(keys[key].value)
        params[key] = cut(text, MAX_PARAM)
        if len(text) > MAX_PARAM or key != keys[key].name:
            bent.append(f"parameter {keys[key].name[:80]} is {key[:80]}" + (", cut" if len(text) > MAX_PARAM else ""))
    if len(keys) >= MAX_PARAMS:
        bent.append(f"{len(keys) - MAX_PARAMS + 1} of {len(keys)} parameters are only in {EVENT_FILE}")
    return params


def _metrics(event: Happening, progress: Progress, bent: list[str]) -> _Metrics:
    """Single numbers stand at the step of the revision, so that the newest one counts; series at their own steps."""
    time_ms, revision = event.moment
    keys = keyed(leaves(event.body.get("metrics") or {}))
    curves = _curves(progress, keys, bent)
    made = _Metrics([], {}, {}, [])
    names = []
    for key, leaf in keys.items():
        if leaf.path == ():  # no metrics at all
            continue
        if key != leaf.name:
            bent.append(f"metric {leaf.name[:80]} is {key[:80]}")
        value, points = number(leaf.value), series(leaf.value)
        if value is not None:
            # behind the curve of that name: the last step is what MLflow shows
            behind = max((step for step, _, _ in curves.get(key, ())), default=0)
            # a step beyond a long MLflow answers with 200, and drops it with all that follows
            _add(made, key, [(min(behind + revision, LONG_MAX), value, time_ms)])
            # one that stops to be a number could not be taken back
            names.append((key, math.isfinite(value)))
        elif points is not None:
            curves.setdefault(key, [(step, point, time_ms) for step, point in points])
        elif leaf.value is not None:
            _add_text(made, key, leaf.value, bent)
    for key, curve in _thinned(curves, bent).items():
        _add(made, key, curve)
    made.fixed.extend([sorted(names), sorted((key, list(curve)) for key, curve in curves.items())])
    for key in ("rank", "duration_ms"):
        if event.body.get(key) is not None:
            made.points.append(Metric(f"cerebros.{key}", float(event.body[key]), time_ms, revision))
    return made


def _curves(progress: Progress, keys: Mapping[str, Leaf], bent: list[str]) -> dict[str, list[tuple[int, float, int]]]:
    """What was said by step while the trial ran, under keys that agree with the final metrics'."""
    known = {leaf.name: key for key, leaf in keys.items()}
    curves: dict[str, list[tuple[int, float, int]]] = {}
    for name, points in progress.items():
        key = known.get(name, legal_key(name))
        if key != name:
            bent.append(f"metric {name[:80]} is {key[:80]}")
        curves[key] = [(0 if step is None else step, value, at) for step, value, at in points]
    return curves


def _thinned(
    curves: Mapping[str, list[tuple[int, float, int]]], bent: list[str]
) -> dict[str, list[tuple[int, float, int]]]:
    total = sum(map(len, curves.values()))
    if total <= MAX_POINTS:
        return dict(curves)
    every = math.ceil(total / MAX_POINTS)
    bent.append(f"of {total} points by step, one in {every} is kept")
    return {key: [*curve[:-1:every], curve[-1]] for key, curve in curves.items() if curve}


def _add(made: _Metrics, key: str, points: Iterable[tuple[int, float, int]]) -> None:
    for step, value, time_ms in points:
        if math.isfinite(value):
            made.points.append(Metric(key, value, time_ms, step))
        else:
            name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
            made.nonfinite[f"{key}@{step}"] = name


def _add_text(made: _Metrics, key: str, value: Any, bent: list[str]) -> None:
    """What is no number becomes a tag, as many as a page can show."""
    if len(made.texts) >= MAX_TEXT_METRICS:
        bent.append(f"metric {key[:80]} is only in {EVENT_FILE}")
        return
    text = text_of(value)
    if len(text) > MAX_TAG:
        bent.append(f"metric {key[:80]} is cut")
    made.texts[legal_key(f"metric.{key}")] = cut(text, MAX_TAG)


def _tags(event: Happening, made: str) -> dict[str, str]:
    body, (time_ms, revision) = event.body, event.moment
    tags = {
        RUN_TAG: cut(event.run_id, MAX_TAG),
        TRIAL_TAG: cut(event.trial_id, MAX_TAG),
        REVISION_TAG: str(revision),
        TIME_TAG: str(time_ms),
        SHAPE_TAG: made,
        "cerebros.event_id": event.event_id,
        "spectral_norm": "true" if body.get("spectral_norm") else "false",
        SOURCE_TAG: SOURCE,
    }
    said: dict[str, Any] = {f"cerebros.{name}": body.get(name) for name in _TAGGED}
    said["cerebros.warnings"] = "\n".join(body.get("warnings") or ()) or None
    said["mlflow.note.content"] = note(body) or None
    for name, value in said.items():
        if value is not None or revision > 1:
            tags[name] = "" if value is None else cut(text_of(value), MAX_TAG)
    return tags
