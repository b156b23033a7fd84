"""Each kind of difference between the tables and a tracking server is told, once, and as what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from processor.mlflow.content import (
    KEY_TAG,
    RUN_TAG,
    SOURCE,
    SOURCE_TAG,
    TRIAL_TAG,
    Happening,
    Progress,
    key_of,
)
from processor.mlflow.memory import row_of
from processor.mlflow.ports import LinkState, Run
from processor.mlflow.verify import BEGINNING, Findings, Verification
from tests.unit.mlflow.fakes import FakeLinks, FakeTracking, make_mirror, trial

Trial = tuple[str, str]


class Tables:
    """One trial's row beside its link."""

    def __init__(self, links: FakeLinks, **row: Any) -> None:
        self.links, self.row = links, row

    def page(self, after: str, limit: int) -> list[dict[str, Any]]:
        if after != BEGINNING:
            return []
        link = self.links.links.get(("run", "t1"))
        held = row_of(link) if link else dict.fromkeys(row_of(next(iter(OTHER.links.values()))))
        said = trial().body
        row = {
            **{
                name: said.get(name)
                for name in (*said, "artifact_uri", "rank", "candidate_id", "pulse_id", "stacktrace")
            },
            "run_id": "run",
            "trial_id": "t1",
            "row_id": "1",
            "status": "succeeded",
            "reported_run": None,
            "time_ms": trial().moment.time_ms,
            "detail": None,
        }
        return [{**held, **row, **self.row}]

    def doubled(self, runs: Sequence[tuple[str, str, str, bool]]) -> set[str]:
        """As the SQL does, whose own test is in the integration tests."""
        links = {key_of(*trial): link for trial, link in self.links.links.items()}
        found = set()
        for run_id, id_, key, filled in runs:
            link = links.get(id_)
            if link is not None and link.mlflow_run_id not in (None, run_id) and (filled or key == link.key):
                found.add(run_id)
        return found

    def experiments(self) -> list[str]:
        return ["1"]

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]:
        return {}


OTHER = FakeLinks()
OTHER.begin({("a", "b"): "k"})


class Searchable(FakeTracking):
    """All runs, so many a page; as MLflow does it, the token says how many came before."""

    page = 1000

    def search(
        self, experiment_ids: Sequence[str], filter_: str, *, page: str = "", most: int = 1000, deleted: bool = False
    ) -> tuple[list[Run], str]:
        start = int(page or 0)
        end = start + self.page
        return self.active[start:end], str(end) if end < len(self.active) else ""


@pytest.fixture
def tracking() -> Searchable:
    return Searchable()


@pytest.fixture
def links(tracking: Searchable) -> FakeLinks:
    made = FakeLinks()
    make_mirror(tracking, made).apply([trial()])
    return made


def look(tracking: Searchable, tables: Tables) -> Findings:
    return Verification(tracking, tables, lambda event: True).run()


def test_nothing_differs_where_all_is_as_it_was_mirrored(tracking: Searchable, links: FakeLinks) -> None:
    findings = look(tracking, Tables(links))
    assert (findings.trials, findings.runs, findings.shown) == (1, 1, [])


def test_a_number_that_jsonb_writes_otherwise_is_the_same(tracking: Searchable, links: FakeLinks) -> None:
    assert look(tracking, Tables(links, parameters={"lr": 1e-1})).shown == []


CHANGES: list[tuple[str, Callable[[Run], Run]]] = [
    ("status", lambda run: msgspec.structs.replace(run, status="RUNNING")),
    ("params", lambda run: msgspec.structs.replace(run, params={**run.params, "lr": "0.2"})),
    ("params", lambda run: msgspec.structs.replace(run, params={**run.params, "more": "1"})),
    ("metrics", lambda run: msgspec.structs.replace(run, metrics={**run.metrics, "accuracy": 0.6})),
    ("metrics", lambda run: msgspec.structs.replace(run, metrics={})),
    ("gone", lambda run: msgspec.structs.replace(run, active=False)),
]


@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_what_was_changed_in_mlflow_is_told(
    kind: str, change: Callable[[Run], Run], tracking: Searchable, links: FakeLinks
) -> None:
    [run] = tracking.active
    tracking.runs[run.run_id] = change(run)
    assert dict(look(tracking, Tables(links)).kinds) == {kind: 1}


def test_what_the_mirror_has_yet_to_do_is_told_and_mended(tracking: Searchable, links: FakeLinks) -> None:
    behind = Tables(links, revision=2, time_ms=trial("t1", 2).moment.time_ms, rank=4)
    assert dict(look(tracking, behind).kinds) == {"behind": 1}
    Verification(tracking, behind, lambda event: True, mend=make_mirror(tracking, links).apply).run()
    assert look(tracking, behind).shown == []
    assert tracking.active[0].tags["cerebros.rank"] == "4"


def test_a_trial_without_a_link_is_told(tracking: Searchable) -> None:
    assert dict(look(tracking, Tables(FakeLinks())).kinds) == {"no_run": 1}


def tags(links: FakeLinks, trial_id: str = "t1", run_id: str = "run") -> dict[str, str]:
    """Of a run that was made for the trial."""
    key = links.links["run", "t1"].key
    return {KEY_TAG: key, RUN_TAG: run_id, TRIAL_TAG: trial_id}


def test_runs_that_take_anothers_place_are_told_and_deleted_where_that_is_asked_for(
    tracking: Searchable, links: FakeLinks
) -> None:
    """However many pages they are, also such as were made for another revision."""
    tracking.page = 2
    twins = [tracking.create_run("1", "twin", 1, tags(links)) for _ in range(5)]
    twins.append(tracking.create_run("1", "former", 1, {**tags(links), KEY_TAG: "f", SOURCE_TAG: SOURCE}))
    tables = Tables(links)
    assert dict(look(tracking, tables).kinds) == {"doubled": 6}
    Verification(tracking, tables, lambda event: True, mend=lambda events: None).run()
    assert not any(tracking.runs[twin.run_id].active for twin in twins)
    assert look(tracking, tables).shown == []


def test_runs_of_others_are_no_doubles(tracking: Searchable, links: FakeLinks) -> None:
    """Of trials that another processor mirrors into the same experiment, of ones that are just being made, and a
    trainer's own run that the trial named once."""
    links.begin({("run", "t2"): "k2"})
    for held in (tags(links, "t1", "theirs"), tags(links, "t2"), {**tags(links), KEY_TAG: "once"}):
        tracking.create_run("1", "other", 1, {**held, SOURCE_TAG: SOURCE if held[KEY_TAG] != "once" else "train.py"})
    Verification(tracking, Tables(links), lambda event: True, mend=lambda events: None).run()
    assert look(tracking, Tables(links)).shown == []
    assert len(tracking.active) == 4


@pytest.mark.parametrize("state", [one for one in LinkState if one is not LinkState.LINKED])
def test_a_trial_that_was_put_aside_is_tried_again_whatever_for(
    state: LinkState, tracking: Searchable, links: FakeLinks
) -> None:
    """A run that was deleted may be restored, one that was missing be made."""
    tried: list[Happening] = []
    Verification(tracking, Tables(links, state=state.value), lambda event: True, mend=tried.extend).run()
    assert [one.trial_id for one in tried] == ["t1"]


def test_a_trial_that_is_not_to_be_mirrored_is_no_difference(tracking: Searchable) -> None:
    assert Verification(tracking, Tables(FakeLinks()), lambda event: False).run().shown == []
