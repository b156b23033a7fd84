"""`/health`: what was rejected and why, what waits to be published, as the tables know it."""

from __future__ import annotations

from typing import Any

from processor.core.errors import UsageError
from processor.dashboard.pages.mirroring import troubled, words_of
from processor.dashboard.pages.rejections import advice_of
from processor.dashboard.pages.runs import limit_of, query
from processor.dashboard.pages.views import Question, Site, Table, View, read_few
from processor.dashboard.queries.letters import health, letter_page
from processor.dashboard.queries.mlflow import mlflow_health

KNOWN = ("reason", "before", "resolved", "limit")
#: seconds that a message may wait in the outbox before the page says that nobody publishes
LATE_SECONDS = 30
_NAMES = (
    "id", "reason", "topic", "partition", "offset", "report_index", "path", "detail", "attempts", "first_seen",
    "last_seen", "resolved_at",
)  # fmt: skip


async def show_health(site: Site, question: Question) -> View:
    """The page; `reason`, `resolved=too`, `before` (an id) and `limit` are of its list of dead letters."""
    given = read_few(question.pairs, KNOWN)
    if given.get("resolved", "too") != "too":
        raise UsageError("resolved is too, or left out")
    limit = limit_of(given)
    state = await health(site.pool)
    letters = await letter_page(site.pool, _before(given), given.get("reason"), limit, resolved_too="resolved" in given)
    mlflow = await mlflow_health(site.pool)
    states = mlflow["states"] if mlflow else []
    following = letters[-1]["id"] if len(letters) == limit else None
    waited = None if state["oldest"] is None else (state["now"] - state["oldest"]).total_seconds()
    document = {**state, "letters": letters, "next": following, "mlflow": mlflow}
    context = {
        "state": state,
        "waited": waited,
        "late": waited is not None and waited > LATE_SECONDS,
        "letters": letters,
        "mlflow": mlflow,
        "troubled": troubled(states),
        "troubled_about": any(one["about"] and one["state"] != "linked" for one in states),
        "words_of": words_of,
        "advice_of": advice_of,
        "reason": given.get("reason"),
        "resolved": "resolved" in given,
        "some": bool(given),
        "without_reason": query(given, reason=None, before=None),
        "toggled": query(given, resolved=None if "resolved" in given else "too", before=None),
        "next": None if following is None else f"/health{query(given, before=str(following))}",
        "first": f"/health{query(given, before=None)}" if "before" in given else None,
        "query": query(given),
        "ago": (state["now"] - state["run_changed_at"]).total_seconds() if state["run_changed_at"] else None,
    }
    return View(context, document, lambda: _table(letters))


def _before(given: dict[str, str]) -> int | None:
    text = given.get("before")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError("before is the id of a dead letter")
    return int(text)


def _table(letters: list[dict[str, Any]]) -> Table:
    return Table(_NAMES, [[one[name] for name in _NAMES] for one in letters])
