"""In a real browser: axe-core finds nothing wrong on any page, light and dark, on a telephone, a tablet and a desk."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from processor.dashboard.pages.paths import run_path, trial_path
from tests.browser.conftest import Browse
from tests.support.dashboards import Open
from tests.support.pages import fill
from tests.support.trials import fill_tables

pytestmark = pytest.mark.timeout(900)
#: in dark one is enough: what differs there does not depend on it
WIDTHS = {"light": (360, 768, 1400), "dark": (1400,)}
_QUICK = {"resultTypes": ["violations"], "preload": False}
#: in dark those that look at colours: nothing else differs there
RULES: dict[str, Any] = {
    "light": {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}, **_QUICK},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}, **_QUICK},
}
#: of each violation the rule, where it is, what is there, and the first thing that is wrong with it
ASK = (
    "async rules => (await axe.run(rules)).violations.flatMap(one => one.nodes.map(node => "
    "[one.id, node.target.join(' '), node.html.slice(0, 200), (node.any[0] ?? node.all[0] ?? node.none[0])?.message]))"
)
#: `metrics.score` has values of every kind; t005 is a trial with all that a page can show
PATHS = [
    "/", "/trials?limit=5", "/trials?q=score%20is%20present&sort=-score&columns=score,warnings,mlflow_run_id&limit=5",
    run_path("run-2") + "?limit=4", trial_path("run-2", "t005"), trial_path("run-2", "begun"),
    "/side-by-side?trial=run-2/t005&trial=run-2/begun&trial=run-1/t004", "/side-by-side?trial=run-2/t005",
    "/compare?metric=accuracy", "/charts?metric=accuracy&x=lr&q=lr%20%3C%200.2", "/adoption?window=1y",
    "/health?resolved=too&limit=2", "/nothing", "/trials?q=lr%20%3E",
]  # fmt: skip
EMPTY = ["/", "/trials", "/side-by-side", "/compare", "/charts", "/adoption", "/health"]
#: makes a text too pale to be read, and takes a field its name
SPOIL = (
    "document.documentElement.style.setProperty('--quiet', '#bbb'); "
    "document.querySelector('label[for=to]').remove(); document.getElementById('to').removeAttribute('placeholder')"
)
EVERYTHING = (
    "update cerebros_model_trials set artifact_uri = 's3://bucket/t005', status = 'failed', error_type = 'OOM', "
    "error_message = 'out of memory', stacktrace = E'Traceback\\n  line 1', warnings = array['slow', 'odd'], "
    "mlflow_run_id = repeat('a', 32), revision = 3, bridge_payload = '{\"extra\": {\"a\": 1}}' where trial_id = 't005'",
    "insert into mlflow_servers (server, tracking_uri) values ('s', 'http://inside:5000')",
    "insert into mlflow_links (server, id, run_id, trial_id, key, experiment_id, mlflow_run_id, state, detail) "
    "select 's', gen_random_uuid(), run.run_id, trial.trial_id, 'k', '7', 'abc', "
    "case trial.trial_id when 't005' then 'forbidden' else 'linked' end, "
    "case trial.trial_id when 't005' then 'Permission denied' end "
    "from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id",
    "insert into cerebros_trial_progress (model_run_id, trial_id, started_at, last_seen, spectral_norm, parameters, "
    "source_timestamp, source_partition, source_offset, source_index) "
    "select id, 'begun', now(), now(), true, '{\"lr\": 0.5}', now(), 0, 1, 0 from cerebros_model_runs "
    "where run_id = 'run-2'",
    "insert into cerebros_trial_metrics (model_run_id, trial_id, metric, step, value, at, source_partition, "
    "source_offset, source_index) "
    "select id, 'begun', 'loss', n, 1.0 / n, now(), 0, n, 0 from cerebros_model_runs, generate_series(1, 9) as n "
    "where run_id = 'run-2'",
    "update cerebros_model_runs set error_message = 'it broke', state = 'failed' where run_id = 'run-1'",
)


def violations(page: Page, scheme: Any) -> list[list[str]]:
    """What axe-core finds on the page as it is, wherever a part can be opened with all of them open."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = []
    for width in WIDTHS[scheme]:
        page.set_viewport_size({"width": width, "height": 900})
        told: list[list[str]] = page.evaluate(ASK, RULES[scheme])
        found += [[f"{scheme} {width}", *one] for one in told]
    return found


def look_at(page: Page, address: str) -> list[list[str]]:
    page.goto(address)
    # by the debugger, to which the pages' policy does not apply
    page.evaluate(AXE_SCRIPT)
    return [[address, *one] for scheme in RULES for one in violations(page, scheme)]


def fill_everything(url: str) -> None:
    """In a thread: that of the page has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(fill_tables, url).result()
        thread.submit(fill, url, [], *EVERYTHING).result()


def test_axe_finds_nothing_on_any_page_and_would_find_something(
    opened: Open, browse: Browse, database_url: str
) -> None:
    """One browser for all of it: first without a trial, then with all that pages can show, then with a page spoilt."""
    _, url = opened(PROCESSOR_DASHBOARD_MLFLOW_URL="http://mlflow:5000")

    def work(page: Page) -> None:
        found = [one for path in EMPTY for one in look_at(page, url + path)]
        fill_everything(database_url)
        found += [one for path in PATHS for one in look_at(page, url + path)]
        assert found == [], json.dumps(found, indent=1, ensure_ascii=False)
        page.evaluate(SPOIL)
        assert {one[1] for one in violations(page, "light")} >= {"color-contrast", "label"}

    browse(work)
