"""Whose fault a 500 is: of the trial that breaks the server, or of a server that is in trouble, however it looks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from processor.core.errors import TransientError
from processor.mlflow.again import Again
from processor.mlflow.content import Happening
from processor.mlflow.doubts import DOUBTS
from processor.mlflow.experiments import identify
from processor.mlflow.once import Mirror
from processor.mlflow.ports import Busy, Doubtful, LinkState
from tests.unit.mlflow.fakes import FakeLinks, FakeTracking, make_mirror, trial


@pytest.fixture
def tracking() -> FakeTracking:
    made = FakeTracking()
    identify(made)
    return made


@pytest.fixture
def links() -> FakeLinks:
    return FakeLinks()


def breaks(call: str, which: Callable[[Any], bool] = lambda args: True) -> Callable[[str, Any], None]:
    """Answers by 500 to these calls."""

    def fail(name: str, args: Any) -> None:
        if name == call and which(args):
            raise Doubtful("500", f"{name} {args}")

    return fail


def attempt(mirror: Mirror, events: Sequence[Happening]) -> bool:
    """Whether nothing of it has to wait."""
    try:
        mirror.apply(events)
    except TransientError:
        return False
    return True


EVENTS = [trial("t1"), trial("t2")]


def test_a_trial_whose_request_fails_each_time_while_others_are_answered_is_put_aside(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    tracking.before = breaks("create_run", lambda name: name == "t1")
    mirror = make_mirror(tracking, links)
    assert [attempt(mirror, EVENTS) for _ in range(DOUBTS)] == [False] * (DOUBTS - 1) + [True]
    assert [one[:2] for one in links.refused] == [(("run", "t1"), LinkState.FAILING)]
    assert [run.tags["cerebros.trial_id"] for run in tracking.active] == ["t2"]


def test_two_that_break_the_server_are_told_from_a_server_that_is_broken(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    tracking.before = breaks("create_run", lambda name: name in ("t1", "t2"))
    mirror = make_mirror(tracking, links)
    for _ in range(DOUBTS):
        attempt(mirror, EVENTS)
    assert {one[0] for one in links.refused} == {("run", "t1"), ("run", "t2")}


@pytest.mark.parametrize("call", ["experiment", "create_run", "log", "update_run", "search", "run", "delete_run"])
def test_a_server_that_fails_at_one_kind_of_request_for_all_refuses_nothing(
    call: str, tracking: FakeTracking, links: FakeLinks
) -> None:
    """A full disk fails at each write and still reads."""
    make_mirror(tracking, links).apply(EVENTS)
    mirror = make_mirror(tracking, links)
    tracking.before = breaks(call)
    changed = [trial("t1", 2, rank=1), trial("t2", 2, parameters={"lr": 7}), trial("t3")]
    for _ in range(3 * DOUBTS):
        attempt(mirror, changed)
    assert links.refused == []
    tracking.before = lambda name, args: None
    assert attempt(mirror, changed)


def test_a_failure_beside_an_outage_of_others_is_the_outage(tracking: FakeTracking, links: FakeLinks) -> None:
    def fail(name: str, args: Any) -> None:
        if name == "create_run":
            raise Doubtful("500", "create t1") if args == "t1" else Busy("503", 0.0)

    tracking.before = fail
    mirror = make_mirror(tracking, links)
    assert not any(attempt(mirror, EVENTS) for _ in range(3 * DOUBTS))
    assert links.refused == []


def test_a_series_ends_with_another_request_that_fails(tracking: FakeTracking, links: FakeLinks) -> None:
    """Each of them was answered in between."""
    turns = iter(range(100))
    mirror = make_mirror(tracking, links)

    def fail(name: str, args: Any) -> None:
        if name == "create_run" and args == "t1":
            raise Doubtful("500", f"create {next(turns) % 2}")

    tracking.before = fail
    assert not any(attempt(mirror, EVENTS) for _ in range(3 * DOUBTS))
    assert links.refused == []


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.5, 0.9])
def test_failures_at_random_put_nothing_aside(share: float, tracking: FakeTracking, links: FakeLinks) -> None:
    chance = random.Random(20)

    def fail(name: str, args: Any) -> None:
        if chance.random() < share:
            raise Doubtful("500", f"{name} {args}")

    tracking.before = fail
    mirror = make_mirror(tracking, links)
    events = [trial(f"t{n}") for n in range(20)]
    for _ in range(300):
        if attempt(mirror, events):
            break
    assert links.refused == []


class Rows:
    """The tables: t1 as its event was."""

    def __init__(self, links: FakeLinks) -> None:
        self._links = links

    def failing(self, older_s: float, limit: int) -> list[dict[str, Any]]:
        if self._links.links["run", "t1"].state is not LinkState.FAILING:
            return []
        moment, body = trial().moment, trial().body
        row = dict.fromkeys(("artifact_uri", "rank", "candidate_id", "pulse_id", "stacktrace", "reported_run"))
        return [{**row, **body, "run_id": "run", "trial_id": "t1", "status": "succeeded", "time_ms": moment.time_ms}]


def test_what_was_put_aside_is_tried_again_and_waits_anew_after_one_failure(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    tracking.before = breaks("create_run", lambda name: name == "t1")
    mirror = make_mirror(tracking, links)
    for _ in range(DOUBTS):
        attempt(mirror, EVENTS)
    again = Again(Rows(links), mirror.apply, lambda event: True, 0.0)
    assert again.look() == 1
    assert len(links.refused) == 2
    tracking.before = lambda name, args: None
    assert (again.look(), again.look()) == (1, 0)
    assert links.links["run", "t1"].state is LinkState.LINKED
    assert sorted(run.tags["cerebros.trial_id"] for run in tracking.active) == ["t1", "t2"]


def test_a_trial_that_is_not_to_be_mirrored_any_more_is_not_tried_again(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    tracking.before = breaks("create_run")
    links.begin({("run", "t1"): "key"})
    links.refuse(links.links["run", "t1"], LinkState.FAILING, "500", trial().moment)
    assert Again(Rows(links), make_mirror(tracking, links).apply, lambda event: False, 0.0).look() == 0
