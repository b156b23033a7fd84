"""The OpenAPI 3.1 document: every page as JSON and CSV, made at start from what the code reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processor import __version__
from processor.core.numbers import to_json
from processor.dashboard.asked import MOST_ROWS
from processor.dashboard.pages.adoption import WINDOWS
from processor.dashboard.pages.charts import CHARTS
from processor.dashboard.pages.listing import MOST_BESIDE
from processor.dashboard.pages.paths import SINGLE
from processor.dashboard.pages.runs import STATUSES

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SCALE: Schema = {**_TEXT, "enum": ["linear", "log"]}
_TRUTH: Schema = {"type": "boolean"}
_OBJECT: Schema = {"type": "object"}
_OBJECTS: Schema = {"type": "array", "items": _OBJECT}
_TIME: Schema = {"type": "string", "format": "date-time"}
_LISTS = {
    "q": ("a filter, see docs/reference/filters.md", {**_TEXT, "maxLength": 2000}),
    "sort": ("a column, a metric or a parameter, - before it for downwards; default: the newest first", _TEXT),
    "columns": ("names, separated by commas; also several times", _TEXT),
    "after": ("`next` or `previous` of a page", _TEXT),
    "limit": ("rows of a page", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}),
}
_COMPARED = {
    "q": _LISTS["q"],
    "metric": ("what is compared: a metric, a parameter or a column that is a number", _TEXT),
    "parameter": ("whose values are the arms; default: spectral_norm", _TEXT),
    "reference": ("the arm that others are held to; default: false, else the largest", _TEXT),
    "better": ("which values are; default: guessed from the name", {**_TEXT, "enum": ["higher", "lower"]}),
    "validity": ("of the intervals: for one look, or for every one", {**_TEXT, "enum": ["fixed", "always"]}),
    "defaulted": ("trials whose report did not say", {**_TEXT, "enum": ["in", "out"]}),
}
PARAMETERS: Mapping[str, Mapping[str, tuple[str, Schema]]] = {
    "runs": {
        "search": ("a text in the run's id", _TEXT),
        "after": ("`next` of a page", _TEXT),
        "limit": ("runs of a page", {"type": "integer", "minimum": 1, "maximum": 200}),
    },
    "trials": _LISTS,
    "run": _LISTS,
    "trial": {},
    "side-by-side": {
        "trial": (
            f"RUN/TRIAL, a slash in an id as ~2F; several times, at most {MOST_BESIDE}",
            {"type": "array", "items": _TEXT, "maxItems": MOST_BESIDE},
        ),
    },
    "compare": _COMPARED,
    "charts": {
        "q": _LISTS["q"],
        "metric": ("what is drawn: a metric, a parameter or a column that is a number", _TEXT),
        "better": _COMPARED["better"],
        "by": ("what the best so far is drawn over; default: trial", {**_TEXT, "enum": ["trial", "time", "cost"]}),
        "x": ("what the metric is drawn over; default: the first parameter that varies and is a number", _TEXT),
        "columns": ("the axes of the parallel coordinates, at most 12; default: 7 that vary", _TEXT),
        "x_scale": ("of what the metric is drawn over; default: as its values are", _SCALE),
        "metric_scale": ("of the metric; default: as its values are", _SCALE),
    },
    "adoption": {"window": ("how far back", {**_TEXT, "enum": list(WINDOWS)})},
    "health": {
        "reason": ("dead letters of this reason alone", _TEXT),
        "resolved": ("too: resolved ones as well", {**_TEXT, "enum": ["too"]}),
        "before": ("the id of a dead letter: `next` of a page", _COUNT),
        "limit": ("dead letters of a page", {"type": "integer", "minimum": 1, "maximum": 200}),
    },
}
SUMMARIES = {
    "runs": "Runs, the newest first, with what their trials came to",
    "trials": "Trials of all runs; .json a page, .csv and .jsonl all of the filter",
    "run": "A run and its trials; .json a page of them, .csv and .jsonl all of the filter",
    "trial": "All that is known of a trial",
    "side-by-side": "A few trials beside each other, and in what they differ",
    "compare": "The arms of a parameter by a metric",
    "charts": "Best so far, single trials, spread and failures, by arm",
    "adoption": "The share of trials with spectral_norm, by time and by run",
    "health": "Dead letters, the outbox, parked messages",
}
PATHS = {"run": "/runs/{run_id}", "trial": "/runs/{run_id}/trials/{trial_id}", **{name: f"/{name}" for name in SINGLE}}
STREAMED = ("trials", "run")
_ID = (
    "percent-encoded; a slash may stand as ~2F, a dot that would be a step or an ending as ~2E, any other byte below "
    "128 likewise, a ~ as ~7E"
)


def make_openapi(*, with_tokens: bool) -> bytes:
    """The document as JSON; `with_tokens` where each request needs one."""
    paths: dict[str, Any] = {}
    for name, path in PATHS.items():
        paths[f"{path}.json"] = {"get": _get(name, "application/json", _object(name))}
        paths[f"{path}.csv"] = {"get": _get(name, "text/csv", _TEXT)}
        if name in STREAMED:
            paths[f"{path}.jsonl"] = {"get": _get(name, "application/x-ndjson", _TEXT)}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Cerebros dashboard",
            "version": __version__,
            "summary": "What every page of the dashboard shows, as JSON and CSV at the page's own URL",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Failure": _failure(), "Run": _run(), "Trial": _trial(), "Interval": _interval()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }
    if with_tokens:
        document["security"] = [{"token": []}, {"password": []}]
    return to_json(document)


def _get(name: str, media: str, schema: Schema) -> dict[str, Any]:
    ids = [one.strip("{}") for one in PATHS[name].split("/") if one.startswith("{")]
    parameters = [
        {"name": one, "in": "path", "required": True, "description": _ID, "schema": {**_TEXT, "minLength": 1}}
        for one in ids
    ]
    parameters += [
        {"name": one, "in": "query", "description": words, "schema": schema_of}
        for one, (words, schema_of) in PARAMETERS[name].items()
    ]
    failures = {"400": "a parameter is wrong", "401": "no token, or one that is not known", "403": "not allowed"}
    failures |= {"404": "there is no such run or trial"} if ids or "trial" in PARAMETERS[name] else {}
    failures["503"] = "Postgres is down, or the question takes too long"
    told = {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}}
    return {
        "summary": SUMMARIES[name],
        "parameters": parameters,
        "responses": {
            "200": {"description": "found", "content": {media: {"schema": schema}}},
            **{status: {**told, "description": words} for status, words in failures.items()},
        },
    }


def _object(name: str) -> Schema:
    """The names that a page's JSON always has."""
    trials = {"type": "array", "items": {"$ref": "#/components/schemas/Trial"}}
    cursor = _or_null(_TEXT)
    listed = {
        "trials": trials,
        "count": _OBJECT,
        "previous": cursor,
        "next": cursor,
        "cut": _TRUTH,
        "columns": {"type": "array", "items": _TEXT},
    }
    there: dict[str, dict[str, Any]] = {
        "runs": {"runs": {"type": "array", "items": {"$ref": "#/components/schemas/Run"}}, "next": cursor},
        "trials": listed,
        "run": {"run": _OBJECT, "counts": _OBJECT, "life": _OBJECT, "under_way": _OBJECTS, **listed},
        "trial": {
            "trial": _or_null(_OBJECT),
            "event": _or_null(_OBJECT),
            "letters": _OBJECTS,
            "letters_left": _COUNT,
            "progress": _or_null(_OBJECT),
            "curves": _OBJECTS,
            "curves_left": _COUNT,
            "mlflow": _OBJECTS,
        },
        "side-by-side": {
            "trials": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Trial"}, {"type": "null"}]}},
            "progress": {"type": "array", "items": _or_null(_OBJECT)},
            "curves": {"type": "array", "items": _OBJECTS},
            "curves_left": {"type": "array", "items": _COUNT},
            "differing": _OBJECTS,
        },
        "compare": {"comparison": _or_null(_OBJECT)},
        "charts": {
            "metric": _or_null(_TEXT),
            "direction": _or_null(_OBJECT),
            "axes": {"type": "array", "items": _TEXT},
            **dict.fromkeys(CHARTS, _OBJECTS),
        },
        "adoption": {
            "window": _TEXT,
            "seconds": {**_COUNT, "description": "of a span"},
            "until": _TIME,
            "share": {"$ref": "#/components/schemas/Interval"},
            "spans": _OBJECTS,
            "runs": _OBJECTS,
        },
        "health": {
            "now": _TIME,
            "waiting": _COUNT,
            "oldest": _or_null(_TIME),
            "parked": _COUNT,
            "run_changed_at": _or_null(_TIME),
            "dead_letters": _COUNT,
            "dead_letters_about": _TRUTH,
            "reasons": _OBJECTS,
            "letters": _OBJECTS,
            "next": _or_null(_COUNT),
            "mlflow": _or_null(_OBJECT),
        },
    }
    return {"type": "object", "required": list(there[name]), "properties": there[name]}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _trial() -> Schema:
    """A row of a list of trials."""
    return _all_of({
        "id": {**_TEXT, "format": "uuid"},
        "run_id": _TEXT,
        "trial_id": _TEXT,
        "status": {**_TEXT, "enum": list(STATUSES)},
        "spectral_norm": _TRUTH,
        "spectral_norm_reported": {
            **_or_null(_TRUTH),
            "description": "false: a default stands there; null: of an earlier release, it is not known",
        },
        "metrics": _OBJECT,
        "parameters": _OBJECT,
        "duration_ms": _or_null(_COUNT),
        "rank": _or_null({"type": "integer"}),
        **dict.fromkeys(
            ("mlflow_run_id", "artifact_uri", "candidate_id", "pulse_id", "error_message", "error_type"),
            _or_null(_TEXT),
        ),
        "warnings": {**_COUNT, "description": "how many; the trial's own page has them"},
        "revision": _COUNT,
        "schema_version": _or_null({"type": "integer"}),
        "inserted_at": _TIME,
        "updated_at": _TIME,
        "mlflow_state": {**_or_null(_TEXT), "description": "of its link in MLflow; null: no mirror has seen it"},
        "mirrored_run_id": {**_or_null(_TEXT), "description": "the MLflow run of that link"},
        "mlflow_experiment_id": _or_null(_TEXT),
    })  # fmt: skip


def _run() -> Schema:
    """A row of the list of runs."""
    return _all_of({
        "run_id": _TEXT,
        "state": _TEXT,
        "requested_trials": _or_null({"type": "integer"}),
        "completed_trials": {"type": "integer"},
        "best_metric": _or_null({"type": "number"}),
        "error_message": _or_null(_TEXT),
        "started_at": _or_null(_TIME),
        "finished_at": _or_null(_TIME),
        "inserted_at": _or_null(_TIME),
        "updated_at": _TIME,
        "trials": _COUNT,
        "by_status": {"type": "object", "additionalProperties": _COUNT},
        "with_spectral_norm": _COUNT,
        "adoption": _or_null({"type": "number"}),
        "first_at": _or_null(_TIME),
        "last_at": _or_null(_TIME),
    })  # fmt: skip


def _all_of(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _interval() -> Schema:
    bound = {"type": ["number", "null"]}
    return {"type": "object", "properties": {"estimate": bound, "low": bound, "high": bound}}


def _failure() -> Schema:
    properties = {
        "success": {"const": False},
        "error": _TEXT,
        "details": _TEXT,
        "place": {"type": "integer", "description": "where in the filter, from 0"},
    }
    return {"type": "object", "required": ["success", "error", "details"], "properties": properties}
