"""`/compare`: the arms of a parameter beside each other, by a metric, among the trials of a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processor.core.errors import UsageError
from processor.dashboard.asked import Asked, write_asked
from processor.dashboard.comparing import SPECTRAL_NORM, compare_arms, read_path
from processor.dashboard.filters.terms import paths_in
from processor.dashboard.filters.text import called, write_path
from processor.dashboard.filters.tree import FilterError
from processor.dashboard.pages import arms, sentences
from processor.dashboard.pages.figures import NAMES, table_of
from processor.dashboard.pages.listing import kept, label_of, same_path
from processor.dashboard.pages.names import unknown_names
from processor.dashboard.pages.views import Question, Site, Table, View, read
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.sorting import NEWEST
from processor.dashboard.queries.trials import Key
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.results import Comparison

#: a parameter with more values among the trials that are looked at is offered as an arm no more: it is a number
MOST_LEVELS = 12
DURATION = "duration_ms"
COLUMNS = (DURATION, "rank")


class Choice(NamedTuple):
    """One of a list: what is sent, what is shown, whether it is chosen."""

    value: str
    label: str
    chosen: bool


async def show_comparison(site: Site, question: Question) -> View:
    """The comparison, or what is missing for one; what can't be compared is said on the page, beside the form."""
    reading = read(question.pairs)
    asked = reading.asked
    scope = Scope(None, asked.filter)
    keys = await site.keys_of(scope)
    usual = usual_metric(keys)
    # trials that all failed have no metric: how often either arm fails can be compared all the same
    metric = asked.metric or usual or (DURATION if keys else "")
    named = [*paths_in(asked.filter), *map(read_path, filter(None, (metric, asked.parameter)))]
    context = {
        "reading": reading,
        "metric": metric,
        "metric_chosen": bool(asked.metric),
        "metric_usual": bool(usual),
        "metrics": metrics_of(keys, metric),
        "parameters": _parameters(keys, asked.parameter),
        # only this column has a default; what a link asks for can be taken back all the same
        "may_leave_out": asked.defaulted == "out" or read_path(asked.parameter).place == SPECTRAL_NORM.place,
        "kept": kept,
        "arms": arms,
        "sentences": sentences,
        "found": None,
        "problem": None,
        "unknown": await unknown_names(site, scope, keys, named),
        "newest": NEWEST,
        # intervals for one look are for one: whoever looks again and again takes those that are valid at every look
        "snapshot": asked.validity != "always",
    }
    if not metric:
        return View(context, {"comparison": None}, lambda: Table(NAMES, ()))
    try:
        found = await _compare(site, msgspec.structs.replace(asked, metric=metric), keys)
    except FilterError:
        raise
    except UsageError as error:
        details = context["problem"] = str(error)
        refused = {"success": False, "error": "usage", "details": details}
        return View(context, refused, lambda: Table(("error",), [[details]]), 400)
    context |= {"found": found, "references": _references(found, asked)}
    return View(context, {"comparison": found}, lambda: table_of(found))


async def _compare(site: Site, asked: Asked, keys: Sequence[Key]) -> Comparison:
    """Once for however many ask the same; two at a time."""

    async def find() -> Comparison:
        async with site.comparing:
            return await compare_arms(
                site.pool,
                Scope(None, asked.filter),
                parameter=asked.parameter,
                metric=asked.metric,
                better=asked.better,
                reference=asked.reference,
                leave_out_defaulted=asked.defaulted == "out",
                validity=asked.validity,
                keys=keys,
            )

    key = write_asked(msgspec.structs.replace(asked, sort=NEWEST, after=None, columns=None, limit=1))
    return await site.comparisons.get(key, find)


def usual_metric(keys: Sequence[Key]) -> str:
    """The metric that most trials have, or one of at least half as many whose direction its name tells."""
    numeric = [key for key in keys if key.place == "metrics" and key.numbers]
    most = max((key.numbers for key in numeric), default=0)
    numeric = [key for key in numeric if 2 * key.numbers >= most]
    numeric.sort(key=lambda key: guess_direction(write_path(key.path)).better == "unknown")
    return write_path(numeric[0].path) if numeric else ""


def metrics_of(keys: Sequence[Key], chosen: str) -> list[Choice]:
    """What can be chosen as a metric: metrics, columns and parameters that are numbers."""
    offered = [(write_path(key.path), key.name) for key in keys if key.place == "metrics" and key.numbers]
    offered += [(name, label_of(read_path(name))) for name in COLUMNS]
    offered += [(write_path(key.path), f"{key.name} (a parameter)") for key in keys if _is_number(key)]
    return choices(offered, chosen)


def _is_number(key: Key) -> bool:
    return key.place == "parameters" and key.numbers > 0 and key.values > MOST_LEVELS


def _parameters(keys: Sequence[Key], chosen: str) -> list[Choice]:
    few = [key for key in keys if key.place == "parameters" and not key.nested and 1 < key.values <= MOST_LEVELS]
    return choices([("spectral_norm", "spectral_norm"), *((write_path(key.path), key.name) for key in few)], chosen)


def choices(offered: Sequence[tuple[str, str]], chosen: str) -> list[Choice]:
    """What is chosen is among them once, however it was spelled."""
    path = read_path(chosen) if chosen else None
    known = [read_path(value) for value, _ in offered]
    at = None if path is None else next((at for at, one in enumerate(known) if same_path(one, path)), None)
    found = [Choice(value, label, place == at) for place, (value, label) in enumerate(offered)]
    if path is not None and at is None:
        found.insert(0, Choice(chosen, called(path), True))
    return found


def _references(found: Comparison, asked: Asked) -> list[Choice]:
    """The arms, but for one of blanks, which can't be asked for. First what nobody has to choose: the arms of another
    parameter, or of other trials, have other names, and a form sends along what is chosen in it.
    """
    usual = f"as usual: {found.arms[0].arm}" if found.arms and asked.reference is None else "as usual"
    named = [one.arm for one in found.arms if one.arm.strip()]
    return [Choice("", usual, asked.reference is None), *(Choice(one, one, one == asked.reference) for one in named)]
