"""What is looked at: an address, and what has to be on the page before its reader has what he came for.

Conditions are expressions of JavaScript, asked for on each frame.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlencode

from benchmarks.beside.contestants import Contestant, Mlflow, OptunaDashboard, Ours
from benchmarks.beside.filling import mlflow_id

LIST, CHARTS, RELATIONS, TRIAL = "list of trials", "charts", "parameter relations", "one trial"
#: a point or a line that Plotly has drawn, as SVG or on a canvas
DRAWN = ".js-plotly-plot .scatterlayer .trace :is(.point, .js-line), .js-plotly-plot .gl-canvas"


class View(NamedTuple):
    """`shown` counts the rows, points or lines that stand for trials on the page."""

    path: str
    ready: str
    shown: str


def views(of: Contestant) -> dict[str, View]:
    """By name; what one of them has not is absent."""
    if isinstance(of, Ours):
        return _ours(of.run, of.size)
    if isinstance(of, OptunaDashboard):
        return _optuna(of.size)
    assert isinstance(of, Mlflow)
    return _mlflow(of.experiment, of.size)


def _ours(run: str, size: int) -> dict[str, View]:
    path, newest = f"/runs/{quote(run)}", f"trial_{size - 1}"
    charts = "/charts?" + urlencode({"q": f'run_id = "{run}"'})
    links, best = _count('a[href*="/trials/trial_"]'), 'svg[aria-label^="Best"]'
    lines = 'svg[aria-label^="Parameters"] polyline'
    return {
        LIST: View(path, link(newest), links),
        CHARTS: View(charts, _has(f"{best} polyline"), _count(f"{best} circle")),
        RELATIONS: View(charts, _has(lines), _count(lines)),
        TRIAL: View(f"{path}/trials/{newest}", _texts("h1", newest) + " && " + _texts("body", "num_layers"), "1"),
    }


def _optuna(size: int) -> dict[str, View]:
    """The list is in the order of the trials, the oldest first, and holds those that are on the screen."""
    study, newest = "/dashboard/studies/1", size - 1
    one = _texts("h4", f"Trial {newest} (trial_id={size})") + " && " + _texts("body", "num_layers")
    points = _count(".js-plotly-plot .point")
    return {
        LIST: View(f"{study}/trials", counted(size) + " && " + _texts(".MuiListItemText-primary", "Trial 0"), LISTED),
        CHARTS: View(study, _has(DRAWN), points),
        RELATIONS: View(f"{study}/analytics", _has(DRAWN), points),
        TRIAL: View(f"{study}/trials?numbers={newest}", one, "1"),
    }


def _mlflow(experiment: int, size: int) -> dict[str, View]:
    """Relations of parameters are drawn for runs that are chosen by hand, or a chart that is added."""
    runs, newest = f"/#/experiments/{experiment}/runs", mlflow_id(size - 1)
    bars = _has(".js-plotly-plot .barlayer .point")
    one = _texts("[role=cell]", "accuracy") + " && " + _texts("[role=cell]", "num_layers")
    return {
        LIST: View(runs, link(newest), _count('[role=row] a[href*="/runs/"]')),
        CHARTS: View(f"{runs}?compareRunsMode=CHART", bars, _count(".js-plotly-plot:first-of-type .point")),
        TRIAL: View(f"{runs}/{newest}", one, "1"),
    }


def link(end: str) -> str:
    return _has(f'a[href$="/{end}"]')


LISTED = "document.querySelectorAll('.MuiListItemText-primary').length"


def counted(trials: int) -> str:
    """What stands above Optuna Dashboard's list."""
    return _texts("body", f"{trials} Trials")


def _has(selector: str) -> str:
    return f"document.querySelector('{selector}') !== null"


def _count(selector: str) -> str:
    return f"document.querySelectorAll('{selector}').length"


def _texts(selector: str, text: str) -> str:
    return f"[...document.querySelectorAll('{selector}')].some(one => one.innerText.includes('{text}'))"
