"""`/runs/{run_id}/trials/{trial_id}`: all that is known of one trial."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from processor.dashboard.pages.curves import curve_picture, curve_words
from processor.dashboard.pages.listing import was_defaulted
from processor.dashboard.pages.mirroring import mlflow_url, named_run, words_of
from processor.dashboard.pages.paths import run_path
from processor.dashboard.pages.views import Question, Site, Table, View, no_trial, read_few
from processor.dashboard.queries.mlflow import mlflow_links
from processor.dashboard.queries.progress import trial_curves, trial_progress
from processor.dashboard.queries.trials import trial_with_all
from processor.events.headers import event_id

#: what an address may begin with to be a link: nothing that a browser would run
LINKED = re.compile(r"(?:https?|s3|gs|gcs|abfss?|wasbs?|hdfs|ftps?)://[^\s]+", re.IGNORECASE)
#: ids of earlier revisions that are listed
MOST_REVISIONS = 50
#: shown on their own, or nowhere but in the JSON
_APART = frozenset({
    "id", "model_run_id", "run_state", "metrics", "parameters", "warnings", "bridge_payload", "error_message",
    "stacktrace", "error_type", "status", "spectral_norm",
})  # fmt: skip
#: what `trial_with_all` would say of one that is under way
_NOT_ENDED: Mapping[str, Any] = {"trial": None, "event": None, "letters": [], "letters_left": 0}


async def show_trial(site: Site, question: Question) -> View:
    """The page; also of a trial that is under way, and has no row yet."""
    run_id, trial_id = question.ids
    read_few(question.pairs, ())
    found = await trial_with_all(site.pool, run_id, trial_id)
    progress = await trial_progress(site.pool, run_id, trial_id)
    if found is None and progress is None:
        raise no_trial(run_id, trial_id)
    curves = await trial_curves(site.pool, run_id, trial_id)
    links = await mlflow_links(site.pool, run_id, trial_id)
    trial = found["trial"] if found else None
    document = {**(found or _NOT_ENDED), "progress": progress}
    document |= {"curves": curves.shown, "curves_left": curves.left}
    document |= {"mlflow": [_told(site.mlflow_url, link) for link in links]}
    context = {
        "run_id": run_id,
        "trial_id": trial_id,
        "trial": trial,
        "fields": {
            "run_id": run_id,
            "trial_id": trial_id,
            **{name: held for name, held in (trial or {}).items() if name not in _APART},
        },
        "event": document["event"],
        "revisions": _revisions(trial) if trial else [],
        "letters": document["letters"],
        "letters_left": document["letters_left"],
        "progress": progress,
        "curves": curves.shown,
        "curves_left": curves.left,
        "links": document["mlflow"],
        "words_of": words_of,
        "named": named_run(site.mlflow_url, trial["mlflow_run_id"]) if trial else None,
        "mlflow": site.mlflow_url,
        "artifact": linkable(trial["artifact_uri"]) if trial else None,
        "defaulted": trial is not None and was_defaulted(trial),
        "back": run_path(run_id),
        "curve_picture": curve_picture,
        "curve_words": curve_words,
    }
    return View(context, document, lambda: _table(run_id, trial_id, trial, progress, links))


def linkable(address: str | None) -> str | None:
    """The address where it may be followed; None for one that is none, or that a browser would run."""
    return address if address is not None and address.isprintable() and LINKED.fullmatch(address) else None


def _told(base: str | None, link: Mapping[str, Any]) -> dict[str, Any]:
    """A link with where it leads, and its state in words."""
    words = words_of(link["state"])
    url = mlflow_url(base, link["mlflow_run_id"], link["experiment_id"])
    return {**link, "url": url, "meaning": words.meaning, "advice": words.advice}


def _revisions(trial: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The newest ones' event ids, the newest first. Whether an earlier one had an event is in the topic alone."""
    newest = int(trial["revision"] or 0)
    return [
        (number, event_id(trial["run_id"], trial["trial_id"], number))
        for number in range(newest, max(0, newest - MOST_REVISIONS), -1)
    ]


def _table(
    run_id: str,
    trial_id: str,
    trial: Mapping[str, Any] | None,
    progress: Mapping[str, Any] | None,
    links: Sequence[Mapping[str, Any]],
) -> Table:
    """A field a row; metrics and parameters by their names; of its links to MLflow the state of the newest."""
    if trial is None:
        said = {"run_id": run_id, "trial_id": trial_id, **(progress or {})}
        return Table(("field", "value"), list(said.items()))
    rows: list[tuple[str, Any]] = []
    for name, held in trial.items():
        if name in ("metrics", "parameters"):
            rows += [(f"{name}.{key}", one) for key, one in held.items()]
        elif name not in ("id", "model_run_id"):
            rows.append((name, held))
    if links:
        rows.append(("mlflow_state", links[0]["state"]))
    return Table(("field", "value"), rows)
