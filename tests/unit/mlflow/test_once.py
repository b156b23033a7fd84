"""The once-protocol against faults that can't be made for real: lost answers, two mirrors at one trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from processor.core.errors import TransientError
from processor.mlflow.content import KEY_TAG, TIME_TAG, key_of
from processor.mlflow.once import Mirror
from processor.mlflow.ports import LinkState, Refused
from tests.unit.mlflow.fakes import Down, FakeLinks, FakeTracking, make_mirror, of_run, trial


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def links() -> FakeLinks:
    return FakeLinks()


def test_a_trial_becomes_one_run_with_its_values(tracking: FakeTracking, links: FakeLinks) -> None:
    make_mirror(tracking, links).apply([trial()])
    [run] = tracking.active
    assert (run.status, run.metrics["accuracy"], run.params["lr"]) == ("FINISHED", 0.5, "0.1")
    assert run.tags[KEY_TAG] == key_of("run", "t1")
    link = links.links["run", "t1"]
    assert (link.mlflow_run_id, link.state, link.moment) == (run.run_id, LinkState.LINKED, trial().moment)


def test_what_is_settled_is_not_written_again(tracking: FakeTracking, links: FakeLinks) -> None:
    mirror = make_mirror(tracking, links)
    mirror.apply([trial(), trial("t1", 2, rank=1), trial("t2")])
    tracking.calls.clear()
    make_mirror(tracking, links).apply([trial(), trial("t1", 2, rank=1), trial("t2")])
    assert tracking.calls == []


@pytest.mark.parametrize("held", ["²", "9" * 5000, "9" * 19, "٣", "-1", ""])
def test_a_tag_that_says_no_moment_holds_up_nobody(held: str, tracking: FakeTracking, links: FakeLinks) -> None:
    make_mirror(tracking, links).apply([trial()])
    [run] = tracking.active
    tracking.log(run.run_id, (), (), [(TIME_TAG, held)])
    links.links.clear()
    links.begin({trial().trial: key_of("run", "t1")})
    make_mirror(tracking, links).apply([trial("t1", 2, rank=1), trial("t2")])
    assert len(tracking.active) == 2
    assert links.links["run", "t1"].moment == trial("t1", 2, rank=1).moment


@pytest.mark.parametrize("lost", ["create_run", "log", "update_run", "put_file", "create_experiment", "search"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_any_request_whose_answer_is_lost_is_made_up_for(
    lost: str, when: str, tracking: FakeTracking, links: FakeLinks
) -> None:
    left = [3]

    def fail(name: str, _: Any) -> None:
        if name == lost and left[0]:
            left[0] -= 1
            raise Down("no answer")

    setattr(tracking, when, fail)
    events = [trial("t1"), trial("t2", parameters={"lr $": 1}), trial("t3"), trial("t1", 2, metrics={"accuracy": 0.7})]
    for _ in range(10):
        try:
            make_mirror(tracking, links).apply(events)
            break
        except TransientError:
            continue
    assert sorted(run.tags["cerebros.trial_id"] for run in tracking.active) == ["t1", "t2", "t3"]
    assert {run.status for run in tracking.active} == {"FINISHED"}
    [first] = [run for run in tracking.active if run.tags["cerebros.trial_id"] == "t1"]
    assert (first.metrics["accuracy"], first.tags["cerebros.revision"]) == (0.7, "2")


def meanwhile(other: Mirror) -> Callable[[str, Any], None]:
    """Another mirror comes to the trial while the first request to make a run is under way."""
    raced: list[bool] = []

    def come(name: str, _: Any) -> None:
        if name == "create_run" and not raced:
            raced.append(True)
            other.apply([trial()])

    return come


def test_a_run_that_another_mirror_has_found_and_linked_is_kept(tracking: FakeTracking, links: FakeLinks) -> None:
    """The one has made it and not remembered it yet, the other finds it by its key: whose it is both know."""
    tracking.after = meanwhile(make_mirror(tracking, links))
    make_mirror(tracking, links).apply([trial()])
    [run] = tracking.active
    assert links.links["run", "t1"].mlflow_run_id == run.run_id


def test_a_mirror_that_was_slower_deletes_its_own_run(tracking: FakeTracking, links: FakeLinks) -> None:
    """Two at one trial: both have seen no run, both make one; the memory takes the first."""
    tracking.before = meanwhile(make_mirror(tracking, links))
    with pytest.raises(TransientError, match="another mirror"):
        make_mirror(tracking, links).apply([trial()])
    make_mirror(tracking, links).apply([trial()])
    [run] = tracking.active
    assert links.links["run", "t1"].mlflow_run_id == run.run_id
    assert len(tracking.runs) == 2


def test_a_revision_that_mlflow_cant_write_takes_the_place_of_the_run(tracking: FakeTracking, links: FakeLinks) -> None:
    mirror = make_mirror(tracking, links)
    mirror.apply([trial(), trial("t1", 2, parameters={"lr": 0.2})])
    [run] = tracking.active
    assert (run.params["lr"], run.tags["cerebros.revision"]) == ("0.2", "2")
    [former] = [one for one in tracking.runs.values() if not one.active]
    assert former.tags["cerebros.superseded_by"] == run.run_id
    assert links.links["run", "t1"].superseded is None


def test_older_never_overwrites_newer(tracking: FakeTracking, links: FakeLinks) -> None:
    mirror = make_mirror(tracking, links)
    mirror.apply([trial("t1", 3, metrics={"accuracy": 0.9})])
    mirror.apply([trial("t1", 2)])
    [run] = tracking.active
    assert (run.metrics["accuracy"], run.tags["cerebros.revision"]) == (0.9, "3")


def test_a_lost_memory_finds_the_runs_again(tracking: FakeTracking, links: FakeLinks) -> None:
    """The links were restored from a backup that has the intents and not the runs."""
    events = [trial(), trial("t1", 2, parameters={"lr": 0.2}), trial("t2")]
    make_mirror(tracking, links).apply(events)
    before = {run.run_id: run for run in tracking.active}
    lost = FakeLinks()
    lost.begin({one.trial: key_of(*one.trial) for one in events})
    mirror = make_mirror(tracking, lost)
    for _ in range(5):
        try:
            mirror.apply(events)
            break
        except TransientError:
            continue
    assert {run.run_id: run for run in tracking.active} == before


def test_a_trial_that_is_refused_is_told_and_the_others_go_on(tracking: FakeTracking, links: FakeLinks) -> None:
    def refuse(name: str, args: Any) -> None:
        if name == "create_run" and args == "t1":
            raise Refused("not this one")

    tracking.before = refuse
    make_mirror(tracking, links).apply([trial("t1"), trial("t2")])
    assert [one[:2] for one in links.refused] == [(("run", "t1"), LinkState.REFUSED)]
    assert [run.tags["cerebros.trial_id"] for run in tracking.active] == ["t2"]


GOOD = "0" * 31 + "f"
REPORTED = [
    ("mlflow_abc", LinkState.MALFORMED),
    ("f" * 32, LinkState.MISSING),
    ("d" * 32, LinkState.DELETED),
    ("e" * 32, LinkState.FOREIGN),
]


def with_runs(tracking: FakeTracking) -> None:
    """A trainer's own run, one that was deleted and one of another trial."""
    for run_id, tags in ((GOOD, {}), ("d" * 32, {}), ("e" * 32, {"cerebros.trial_id": "other", KEY_TAG: "x"})):
        run = tracking.create_run("7", "trainer's", 5, tags)
        del tracking.runs[run.run_id]
        run = type(run)(run_id, "7", "RUNNING", run_id[0] != "d", 5, None, "", tags, {"lr": "True"}, {"accuracy": 0.4})
        tracking.runs[run_id] = run
    tracking.calls.clear()


@pytest.mark.parametrize(("run_id", "state"), REPORTED)
def test_a_reported_run_that_cant_be_the_trials_is_a_state_and_no_run_is_made(
    run_id: str, state: LinkState, tracking: FakeTracking, links: FakeLinks
) -> None:
    with_runs(tracking)
    make_mirror(tracking, links).apply([trial(mlflow_run_id=run_id)])
    assert [one[1] for one in links.refused] == [state]
    assert "create_run" not in tracking.calls
    assert "log" not in tracking.calls


@pytest.mark.parametrize(("run_id", "state"), REPORTED)
def test_a_run_is_made_instead_where_that_is_asked_for(
    run_id: str, state: LinkState, tracking: FakeTracking, links: FakeLinks
) -> None:
    with_runs(tracking)
    make_mirror(tracking, links, create_missing=True).apply([trial(mlflow_run_id=run_id)])
    run = tracking.runs[links.links["run", "t1"].mlflow_run_id or ""]
    assert run.tags["cerebros.reported_run_id"] == run_id
    assert run.status == "FINISHED"


def test_the_trainers_own_run_gets_tags_and_the_metrics_that_it_lacks(tracking: FakeTracking, links: FakeLinks) -> None:
    with_runs(tracking)
    mirror = make_mirror(tracking, links)
    mirror.apply([trial(mlflow_run_id=GOOD, metrics={"accuracy": 0.9, "loss": 1})])
    run = tracking.runs[GOOD]
    assert (run.status, run.params, run.end_ms) == ("RUNNING", {"lr": "True"}, None)
    assert (run.metrics["accuracy"], run.metrics["loss"]) == (0.4, 1.0)
    assert (run.tags["cerebros.trial_id"], run.tags["spectral_norm"]) == ("t1", "true")
    assert "mlflow.note.content" not in run.tags
    mirror.apply([trial("t1", 2, mlflow_run_id=GOOD, metrics={"accuracy": 0.9, "loss": 2})])
    assert tracking.runs[GOOD].metrics["loss"] == 2.0  # ours, so a later revision may change it
    assert tracking.runs[GOOD].metrics["accuracy"] == 0.4


def test_a_run_that_is_named_later_takes_the_place_of_the_one_that_was_made(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    with_runs(tracking)
    mirror = make_mirror(tracking, links)
    mirror.apply([trial()])
    made = links.links["run", "t1"].mlflow_run_id
    mirror.apply([trial("t1", 2, mlflow_run_id=GOOD)])
    assert links.links["run", "t1"].mlflow_run_id == GOOD
    assert not tracking.runs[made or ""].active


def test_a_run_that_a_person_deleted_stays_deleted(tracking: FakeTracking, links: FakeLinks) -> None:
    mirror = make_mirror(tracking, links)
    mirror.apply([trial()])
    tracking.delete_run(links.links["run", "t1"].mlflow_run_id or "")
    mirror.apply([trial("t1", 2, rank=1)])
    assert [one[1] for one in links.refused] == [LinkState.DELETED]
    assert tracking.active == []


def test_a_cerebros_run_is_its_trials_parent_and_ends_when_it_stops(tracking: FakeTracking, links: FakeLinks) -> None:
    mirror = make_mirror(tracking, links, parents=True)
    mirror.apply([of_run("started", "running", 1, metadata={"tau": 2}), trial("t1"), trial("t2")])
    [parent] = [run for run in tracking.active if "cerebros.trial_id" not in run.tags]
    assert (parent.status, parent.tags["cerebros.metadata.tau"]) == ("RUNNING", "2")
    children = [run for run in tracking.active if "cerebros.trial_id" in run.tags]
    assert {run.tags["mlflow.parentRunId"] for run in children} == {parent.run_id}
    mirror.apply([of_run("stopped", "failed", 2, best_metric=0.9)])
    parent = tracking.runs[parent.run_id]
    assert (parent.status, parent.end_ms, parent.metrics["cerebros.best_metric"]) == ("FAILED", 1_700_000_020_000, 0.9)


def test_a_parent_that_is_first_heard_of_by_a_trial_is_filled_by_its_start_however_old_that_is(
    tracking: FakeTracking, links: FakeLinks
) -> None:
    mirror = make_mirror(tracking, links, parents=True)
    mirror.apply([trial("t1", 50)])
    mirror.apply([of_run("started", "running", 1, requested_trials=3)])
    make_mirror(tracking, links, parents=True).apply([trial("t2", 51)])
    [parent] = [run for run in tracking.active if "cerebros.trial_id" not in run.tags]
    assert parent.metrics["cerebros.requested_trials"] == 3.0
    assert len({run.tags.get("mlflow.parentRunId") for run in tracking.active} - {None}) == 1


def test_without_parents_a_run_is_said_of_its_experiment(tracking: FakeTracking, links: FakeLinks) -> None:
    make_mirror(tracking, links).apply([of_run("stopped", "succeeded", 1)])
    assert "tag_experiment" in tracking.calls
    assert tracking.runs == {}


def test_a_run_that_two_trials_name_at_once_is_the_first_ones(tracking: FakeTracking, links: FakeLinks) -> None:
    with_runs(tracking)
    make_mirror(tracking, links).apply([trial("t1", mlflow_run_id=GOOD), trial("t2", mlflow_run_id=GOOD)])
    assert tracking.runs[GOOD].tags["cerebros.trial_id"] == "t1"
    assert [one[:2] for one in links.refused] == [(("run", "t2"), LinkState.FOREIGN)]
