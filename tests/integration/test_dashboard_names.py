"""A name that no trial has is told on the page that it was asked of, with the one that was probably meant."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import pytest

from processor.core.errors import TransientError, Trouble
from processor.dashboard.pages import names
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.trials import Key, newest_keys
from tests.support.pages import fill, get, read, report, slowed
from tests.support.trials import ask

METRICS = {"accuracy": 0.5, "val.loss": 0.1}


def told(url: str, path: str) -> list[str]:
    answer = get(url, path)
    read(answer)
    return [unescape(one) for one in re.findall(r'<p class="warning">(.*?)</p>', answer.text)]


@pytest.fixture
def filled(database_url: str) -> str:
    trials = [
        report("run", f"t{at}", at, metrics={**METRICS, "accuracy": at / 10}, parameters={"lr": at}) for at in range(9)
    ]
    others = [report("other", f"o{at}", at, metrics={"f1": at}, parameters={"depth": at}) for at in range(9)]
    fill(database_url, trials + others)
    return database_url


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("q=not%20statsu%20%3D%20failed", "No trial here has statsu: did you mean status?"),
        ("q=acuracy%20is%20missing", "No trial here has acuracy: did you mean accuracy?"),
        ("q=acuracy%20%3E%200.9", "No trial here has acuracy: did you mean accuracy?"),
        ("q=metrics.acuracy%20%3E%200.9", "No trial here has metrics.acuracy: did you mean accuracy?"),
        ("q=parameters.accuracy%20%3E%200.9", "No trial here has parameters.accuracy: did you mean metrics.accuracy?"),
        ("q=duration%20%3E%205", "No trial here has duration: did you mean duration_ms?"),
        ("q=val.loss%20%3E%205", 'No trial here has val.loss: did you mean "val.loss"?'),
        ("q=Accuracy%20%3E%200", "No trial here has Accuracy: did you mean accuracy?"),
        ("q=lr%20%3E%200%20and%20not%20%28xyz%20in%20%281%29%20or%20lr%20%3D%201%29", "No trial here has xyz."),
        ("sort=nosuch", "No trial here has nosuch."),
        ("sort=-acuracy", "No trial here has acuracy: did you mean accuracy?"),
        ("columns=dept&columns=lr", "No trial here has dept: did you mean depth?"),
    ],
)  # fmt: skip
def test_a_name_that_no_trial_has_is_told_with_the_one_that_was_meant(filled: str, query: str, words: str) -> None:
    assert told(filled, f"/trials?{query}") == [words]


@pytest.mark.parametrize(
    "path",
    ["/charts?metric=acuracy", "/charts?metric=accuracy&x=acuracy", "/charts?q=acuracy%20%3E%201",
     "/compare?metric=acuracy", "/compare?parameter=acuracy", "/compare?q=acuracy%20is%20missing",
     "/runs/run?q=acuracy%20%3E%200"],
)  # fmt: skip
def test_so_it_is_on_every_page_of_trials(filled: str, path: str) -> None:
    assert told(filled, path) == ["No trial here has acuracy: did you mean accuracy?"]


@pytest.mark.parametrize(
    "path",
    ["/trials?q=accuracy%20is%20missing", "/trials?q=accuracy%20%3E%209", "/trials?q=f1%20%3E%203&sort=lr",
     "/trials?q=acuracy",
     "/trials?q=val.loss.deep%20%3E%201%20or%20%22val.loss%22%20%3E%201&sort=-duration_ms", "/charts", "/compare",
     "/runs/none-of-it?q=x%20%3E%201"],
)  # fmt: skip
def test_a_name_that_some_trial_has_is_told_nowhere(filled: str, path: str) -> None:
    if "none-of-it" in path:
        fill(filled, [], "insert into cerebros_model_runs (run_id, state) values ('none-of-it', 'running')")
    elif "val.loss.deep" in path:
        fill(filled, [report("deep", "d", 0, metrics={"val": {"loss": {"deep": 1}}})])
    assert told(filled, path) == []


def test_the_names_are_those_of_the_runs_that_are_asked_about(filled: str) -> None:
    assert told(filled, "/runs/run?q=f1%20%3E%200") == ["No trial here has f1."]
    assert told(filled, "/runs/other?q=f1%20%3E%200") == []
    asked = quote("run_id = run and f1 > 0")
    assert told(filled, f"/trials?q={asked}") == ["No trial here has f1."]


def test_of_many_trials_it_is_said_how_many_were_looked_at(database_url: str) -> None:
    fill(database_url, [report("run", f"t{at}", at) for at in range(1001)])
    words = "None of the newest 1,000 trials here has acuracy: did you mean accuracy?"
    assert told(database_url, "/trials?q=acuracy%20%3E%200") == [words]


def test_few_names_are_told_and_none_where_there_may_be_more(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database_url, [report("run", "t")])
    asked = quote(" or ".join(f"name_{at} > 1" for at in range(40)))
    assert len(told(database_url, f"/trials?q={asked}")) == names.MOST
    fill(database_url, [report("run", "wide", 1, metrics={f"m{at}": at for at in range(600)})])
    assert told(database_url, f"/trials?q={asked}") == []


def test_a_page_does_not_wait_for_a_hint(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> list[Key]:
        raise TransientError("it takes too long", Trouble.WORK)

    monkeypatch.setattr(names, "newest_keys", late)
    assert told(filled, "/trials?q=acuracy%20%3E%200") == []
    fill(filled, [], *slowed(2))
    with pytest.raises(TransientError):
        ask(filled, lambda pool: newest_keys(pool, Scope()))
