"""Paths of pages: an id of any text comes back from its path, whatever a browser or a proxy does to it on the way."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.dashboard.asked import read_asked
from processor.dashboard.pages.app import FILES, PAGES
from processor.dashboard.pages.openapi import PARAMETERS, PATHS
from processor.dashboard.pages.paths import (
    FORMS,
    OTHERS,
    SINGLE,
    Place,
    label_of,
    read_name,
    read_path,
    run_path,
    trial_path,
    write_name,
)

#: an id holds no NUL and no half characters
ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
odd = st.sampled_from([
    ".", "..", "...", "/", "//", "a/b", "%2F", "%", "~2F", "~", "a.json", ".csv", "x.jsonl", "\\", "?", "#", "a b", "+",
    "é", "\x7f", "\x01", "<b>", "runs", "trials", ".JSON", "a.json.json",
])  # fmt: skip


def seen(path: str) -> str:
    """As a server sees what a browser sends for a link: dots that are steps are taken."""
    return urlsplit(urljoin("http://host/some/where", path)).path


@settings(deadline=None)
@given(ids | odd, ids | odd, st.sampled_from(["", *FORMS]))
@example(".", "..", ".json")
@example("a/b", "c.json", "")
def test_ids_come_back_from_their_path_in_every_form(run_id: str, trial_id: str, ending: str) -> None:
    form = FORMS.get(ending, "html")
    assert read_path(seen(run_path(run_id) + ending)) == Place("run", (run_id,), form)
    assert read_path(seen(trial_path(run_id, trial_id) + ending)) == Place("trial", (run_id, trial_id), form)


@settings(deadline=None)
@given(ids | odd)
def test_a_path_is_plain_and_a_proxy_that_decodes_it_changes_no_part_of_it(run_id: str) -> None:
    path = run_path(run_id)
    assert path.isascii()
    assert "%2F" not in path.upper()
    assert "%25" not in path
    if not {"?", "#"} & set(run_id):  # those would end the path
        assert read_path(quote(unquote(path), safe="/~")) == Place("run", (run_id,), "html")


@given(ids | odd, ids | odd)
def test_names_come_back_from_a_query_as_a_form_sends_them(run_id: str, trial_id: str) -> None:
    name = write_name(run_id, trial_id)
    assert "\n" not in name  # a form would send two characters
    assert read_name(name) == (run_id, trial_id)


@pytest.mark.parametrize("text", ["", "/", "a", "a/", "/b", "a/b/c", "//"])
def test_what_names_no_trial_is_none(text: str) -> None:
    assert read_name(text) is None


NONE = [
    "/x",
    "/runs/",
    "/runs//trials/a",
    "/runs/a/b",
    "/runs/a/trials/",
    "//",
    "/trials/a",
    "/static/a/b",
    "/live.json",
]


@pytest.mark.parametrize("path", NONE)
def test_what_is_no_page_is_none(path: str) -> None:
    assert read_path(path) is None


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_path_is_read_and_counted_as_one_of_few_words(path: str) -> None:
    known = {*SINGLE, *OTHERS, "run", "trial", "static", "other"}
    assert label_of("/" + path) in known


#: links that people keep: each must lead to its page for as long as there is a dashboard
OLD_LINKS = [
    ("/", Place("runs")),
    ("/runs.json?search=digits&limit=10", Place("runs", (), "json")),
    ("/runs.csv", Place("runs", (), "csv")),
    ("/trials?q=status%20%3D%20failed&sort=-accuracy&columns=accuracy,lr&limit=100", Place("trials")),
    ("/trials.json?q=lr%20%3C%200.1", Place("trials", (), "json")),
    ("/trials.csv?q=lr%20%3C%200.1", Place("trials", (), "csv")),
    ("/trials.jsonl", Place("trials", (), "jsonl")),
    ("/runs/digits-adam", Place("run", ("digits-adam",))),
    ("/runs/a%20b.json?sort=loss", Place("run", ("a b",), "json")),
    ("/runs/team~2Frun/trials/7", Place("trial", ("team/run", "7"))),
    ("/runs/team%2Frun/trials/7", Place("trial", ("team/run", "7"))),
    ("/runs/r/trials/~2E.csv", Place("trial", ("r", "."), "csv")),
    ("/side-by-side?trial=r/7&trial=team~2Frun/8", Place("side-by-side")),
    ("/compare?metric=accuracy&q=run_id%20%3D%20a", Place("compare")),
    ("/compare.json?parameter=optimizer&metric=metrics.loss&reference=adam&better=lower&validity=always&defaulted=out",
     Place("compare", (), "json")),
    ("/adoption?window=24h", Place("adoption")),
    ("/health?reason=not_json&before=17&resolved=too", Place("health")),
    ("/openapi.json", Place("openapi.json")),
]  # fmt: skip


@pytest.mark.parametrize(("link", "place"), OLD_LINKS)
def test_old_links_lead_where_they_led(link: str, place: Place) -> None:
    parts = urlsplit(link)
    assert read_path(parts.path) == place
    pairs = parse_qsl(parts.query, strict_parsing=bool(parts.query))
    if place.name in ("trials", "run", "compare"):
        read_asked(pairs)
    elif place.name in PARAMETERS:
        assert {name for name, _ in pairs} <= PARAMETERS[place.name].keys()


def test_every_page_is_described_and_no_other() -> None:
    assert PATHS.keys() == PARAMETERS.keys() == PAGES.keys()
    assert FILES.keys() == {
        "dashboard.css",
        "charts.css",
        "live.js",
        "patching.js",
        "controls.js",
        "columns.js",
        "listening.js",
        "shared.js",
        "returning.js",
        "brushing.js",
        "bounds.js",
    }
