"""The OpenAPI 3.1 document: every page as JSON and CSV, made at start from what the code reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processor import __version__
from processor.core.numbers import to_json
from processor.dashboard.asked import MOST_ROWS
from processor.dashboard.pages.adoption import WINDOWS
from processor.dashboard.pages.charts import CHARTS
from processor.dashboard.pages.paths import SINGLE
from processor.dashboard.pages.runs import STATUSES

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SCALE: Schema = {**_TEXT, "enum": ["linear", "log"]}
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
            "schemas": {"Failure": _failure(), "Trial": _trial(), "Interval": _interval()},
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
    failures |= {"404": "there is no such run or trial"} if ids else {}
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
    cursor: Schema = {"type": ["string", "null"]}
    listed = {
        "trials": trials,
        "count": {"type": "object"},
        "previous": cursor,
        "next": cursor,
        "cut": {"type": "boolean"},
        "columns": {"type": "array", "items": _TEXT},
    }
    there: dict[str, dict[str, Any]] = {
        "runs": {"runs": {"type": "array", "items": {"type": "object"}}, "next": cursor},
        "trials": listed,
        "run": {"run": {"type": "object"}, "counts": {"type": "object"}, "life": {"type": "object"}, **listed},
        "trial": {"trial": {"type": ["object", "null"]}, "letters": {"type": "array"}, "curves": {"type": "array"}},
        "compare": {"comparison": {"type": ["object", "null"]}},
        "charts": {
            "metric": {"type": ["string", "null"]},
            "direction": {"type": ["object", "null"]},
            "axes": {"type": "array", "items": _TEXT},
            **{name: {"type": "array"} for name in CHARTS},
        },
        "adoption": {"window": _TEXT, "share": {"$ref": "#/components/schemas/Interval"}, "spans": {"type": "array"}},
        "health": {
            "waiting": _COUNT,
            "parked": _COUNT,
            "dead_letters": _COUNT,
            "letters": {"type": "array"},
            "mlflow": {"type": ["object", "null"]},
        },
    }
    return {"type": "object", "required": list(there[name]), "properties": there[name]}


def _trial() -> Schema:
    properties = {
        "run_id": _TEXT,
        "trial_id": _TEXT,
        "status": {**_TEXT, "enum": list(STATUSES)},
        "spectral_norm": {"type": "boolean"},
        "mlflow_state": {
            "type": ["string", "null"],
            "description": "of its link in MLflow; null: no mirror has seen it",
        },
        "metrics": {"type": "object"},
        "parameters": {"type": "object"},
    }
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
