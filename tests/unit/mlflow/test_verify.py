"""Each kind of difference between the tables and a tracking server is told, once, and as what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from processor.mlflow.content import Progress
from processor.mlflow.memory import row_of
from processor.mlflow.ports import Run
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

    def linked(self, mlflow_run_ids: Sequence[str]) -> set[str]:
        return {link.mlflow_run_id for link in self.links.links.values()} & set(mlflow_run_ids)  # type: ignore[return-value]

    def experiments(self) -> list[str]:
        return ["1"]

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]:
        return {}


OTHER = FakeLinks()
OTHER.begin({("a", "b"): "k"})


class Searchable(FakeTracking):
    def search(
        self, experiment_ids: Sequence[str], filter_: str, *, page: str = "", most: int = 1000, deleted: bool = False
    ) -> tuple[list[Run], str]:
        return self.active, ""


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


def test_a_run_that_no_link_names_is_told_and_deleted_where_that_is_asked_for(
    tracking: Searchable, links: FakeLinks
) -> None:
    twin = tracking.create_run("1", "twin", 1, {"cerebros.key": "x"})
    tables = Tables(links)
    assert dict(look(tracking, tables).kinds) == {"doubled": 1}
    Verification(tracking, tables, lambda event: True, mend=lambda events: None).run()
    assert not tracking.runs[twin.run_id].active


def test_a_trial_that_is_not_to_be_mirrored_is_no_difference(tracking: Searchable) -> None:
    assert Verification(tracking, Tables(FakeLinks()), lambda event: False).run().shown == []
