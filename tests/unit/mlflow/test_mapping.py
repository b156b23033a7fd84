"""What a trial's event becomes in MLflow, as one table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from processor.mlflow.answers import retry_after
from processor.mlflow.content import NOTHING, Content, Progress, fits
from processor.mlflow.leaves import series
from processor.mlflow.mapping import EVENT_FILE, MAX_POINTS, trial_content
from processor.mlflow.names import MAX_KEY, MAX_PARAM, experiment_name, legal_key
from tests.unit.mlflow.fakes import trial


def content(progress: Progress = NOTHING, revision: int = 1, **body: Any) -> Content:
    return trial_content(trial("t1", revision, **body), progress)


def params(**parameters: Any) -> dict[str, str]:
    return {key: value for key, value in content(parameters=parameters).params.items() if key != "spectral_norm"}


PARAMETERS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "scalars as JSON, texts as they are",
        {"a": 1, "b": 0.5, "c": True, "d": None, "e": "x"},
        {"a": "1", "b": "0.5", "c": "true", "d": "null", "e": "x"},
    ),
    (
        "nested by dots",
        {"optimizer": {"lr": 0.1, "betas": {"b1": 0.9}}},
        {"optimizer.lr": "0.1", "optimizer.betas.b1": "0.9"},
    ),
    (
        "lists of scalars as JSON",
        {"units": [3, 4], "none": [], "empty": {}},
        {"units": "[3,4]", "none": "[]", "empty": "{}"},
    ),
    (
        "lists of objects by place",
        {"layers": [{"units": 3}, {"units": 4}]},
        {"layers.0.units": "3", "layers.1.units": "4"},
    ),
    ("a dot in a name and a nested name stay apart", {"a": {"b": 1}, "a.b": 2}, {"a.b": "2", "a.b-0eee9b87": "1"}),
    ("what was no number is a word", {"x": "NaN"}, {"x": "NaN"}),
    ("odd names are told apart", {"lr $": 1, "lr %": 2}, {"lr _-" + "4ed1c2a7": "1", "lr _-" + "x": "2"}),
]


@pytest.mark.parametrize(
    ("parameters", "expected"), [one[1:] for one in PARAMETERS[:-1]], ids=[one[0] for one in PARAMETERS[:-1]]
)
def test_parameters_become_params(parameters: dict[str, Any], expected: dict[str, str]) -> None:
    assert params(**parameters) == expected


@pytest.mark.parametrize(
    "name", ["lr $", "a//b", "/a", "a/", "..", ".", "", "a/../b", "x" * 251, "ä/" + "y" * 300, "tab\t", " lead", "a\nb"]
)
def test_a_name_that_mlflow_refuses_becomes_one_that_it_takes_and_that_no_other_has(name: str) -> None:
    key = legal_key(name)
    assert key != name
    assert legal_key(key) == key
    assert len(key) <= MAX_KEY
    assert legal_key(name + "?") != key
    assert params(**{name: 1}) == {key: "1"}
    assert f"is {key[:80]}" in content(parameters={name: 1}).tags["cerebros.bent"]


@pytest.mark.parametrize("name", ["lr", "layer 1/kernel", "größe", "a.b-c_d:e", "x" * 250])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert legal_key(name) == name


def test_a_text_that_is_too_long_is_cut_told_and_whole_in_the_file() -> None:
    made = content(parameters={"prompt": "x" * 7000})
    assert len(made.params["prompt"]) == MAX_PARAM
    assert "sha256" in made.params["prompt"]
    assert "parameter prompt is prompt, cut" in made.bent
    assert b"x" * 7000 in made.files[EVENT_FILE]


def test_too_many_parameters_are_told_and_whole_in_the_file() -> None:
    made = content(parameters={f"p{number}": number for number in range(1500)})
    assert len(made.params) == 1000
    assert "501 of 1500 parameters are only in" in made.tags["cerebros.bent"]


def test_a_large_architecture_is_a_file_and_its_param_says_which() -> None:
    made = content(parameters={"architecture": {f"layer{n}": n for n in range(101)}, "lr": 1})
    path = "cerebros/parameters/architecture.json"
    assert made.files[path].startswith(b'{"layer0":0')
    assert made.params["architecture"].startswith(f"{path} (101 values, sha256 ")
    assert made.params["lr"] == "1"


METRICS: list[tuple[str, dict[str, Any], set[tuple[str, float, int]]]] = [
    ("numbers at the step of the revision", {"acc": 0.5, "n": 3}, {("acc", 0.5, 2), ("n", 3.0, 2)}),
    ("nested by dots", {"test": {"acc": 1}}, {("test.acc", 1.0, 2)}),
    ("a list by its places", {"loss": [3, 2, 1.5]}, {("loss", 3.0, 0), ("loss", 2.0, 1), ("loss", 1.5, 2)}),
    ("pairs at their own steps", {"loss": [[10, 3], [20, 2]]}, {("loss", 3.0, 10), ("loss", 2.0, 20)}),
    (
        "objects with step and value",
        {"l": [{"step": 5, "value": 1}, {"step": 7, "value": 2}]},
        {("l", 1.0, 5), ("l", 2.0, 7)},
    ),
    ("what is no number is none", {"a": "good", "b": True, "c": None, "d": [[0.1, 0.2]], "e": {}}, set()),
    ("NaN and infinities are left out", {"a": "NaN", "b": "Infinity", "c": [1, "-Infinity"]}, {("c", 1.0, 0)}),
    ("beyond a double", {"a": 10**400}, set()),
]


def test_each_large_parameter_is_a_file_of_its_own_whatever_its_name() -> None:
    """Names that differ only where a file's name can't, and such as a file system does not take: 255 bytes."""
    names = ["a/b", "a_b", "参" * 90, "参" * 91, "x" * 250, "/", "_"]
    made = content(parameters={name: ["x" * 7000, n] for n, name in enumerate(names)})
    held = {path: body for path, body in made.files.items() if path != EVENT_FILE}
    assert sorted(int(body.rpartition(b",")[2].rstrip(b"]")) for body in held.values()) == list(range(len(names)))
    assert all(len(path.rpartition("/")[2].encode()) <= 255 and path.count("/") == 2 for path in held)


@pytest.mark.parametrize(("metrics", "expected"), [one[1:] for one in METRICS], ids=[one[0] for one in METRICS])
def test_metrics(metrics: dict[str, Any], expected: set[tuple[str, float, int]]) -> None:
    made = content(revision=2, metrics=metrics, duration_ms=None)
    assert {(one.key, one.value, one.step) for one in made.metrics} == expected
    assert all(math.isfinite(one.value) for one in made.metrics)


def test_what_is_no_number_is_a_tag_and_what_is_not_finite_is_told() -> None:
    made = content(metrics={"a": "good", "b": True, "m": [[0.1, 0.2]], "n": "NaN", "c": [1, "-Infinity"]})
    assert {key: made.tags[key] for key in ("metric.a", "metric.b", "metric.m")} == {
        "metric.a": "good",
        "metric.b": "true",
        "metric.m": "[[0.1,0.2]]",
    }
    assert made.tags["cerebros.nonfinite"] == '{"n@1":"NaN","c@1":"-Infinity"}'


def test_a_curve_comes_before_the_final_value_of_its_name_which_is_what_mlflow_shows() -> None:
    curve: Progress = {"accuracy": [(None, 0.1, 5), (1, 0.2, 6), (7, math.nan, 7)], "val loss": [(1, 9.0, 6)]}
    made = content(curve, metrics={"accuracy": 0.15}, duration_ms=None)
    found = [(one.key, one.value, one.step) for one in made.metrics]
    assert max(found) == ("val loss", 9.0, 1)
    assert sorted(one for one in found if one[0] == "accuracy")[-1] == ("accuracy", 0.2, 1)
    assert ("accuracy", 0.15, 8) in found


def test_no_step_is_beyond_what_mlflow_takes() -> None:
    """It answers with 200, and drops that point and all behind it: params, tags and so on."""
    made = content({"loss": [(2**63 - 1, 1.0, 5)]}, metrics={"loss": 0.5})
    assert max(one.step for one in made.metrics) == 2**63 - 1


def test_points_beyond_what_a_page_shows_are_thinned_and_the_last_stays() -> None:
    made = content({"loss": [(step, float(step), step) for step in range(25_000)]})
    losses = [one for one in made.metrics if one.key == "loss"]
    assert len(losses) <= MAX_POINTS
    assert losses[-1].step == 24_999
    assert "of 25000 points by step, one in 3 is kept" in made.bent


def test_times_status_and_note_of_a_failed_trial() -> None:
    made = content(
        status="failed", error_message="out of *memory*", error_type="OOM", stacktrace="a\nb", warnings=["w"]
    )
    assert (made.status, made.end_ms, made.start_ms) == ("FAILED", 1_700_000_001_000, 1_699_999_999_500)
    assert made.tags["mlflow.note.content"] == "**OOM**: out of \\*memory\\*\n\nWarnings:\n\n- w\n\n    a\n    b"
    assert made.tags["cerebros.error_message"] == "out of *memory*"


def test_an_error_that_is_a_warning_too_is_told_once() -> None:
    made = content(status="failed", error_message="w", error_type="trial_failed", warnings=["w"])
    assert made.tags["mlflow.note.content"] == "**trial\\_failed**: w"
    assert made.tags["cerebros.warnings"] == "w"


def test_what_is_gone_in_a_later_revision_becomes_an_empty_tag() -> None:
    assert "cerebros.rank" not in content().tags
    assert content(revision=2).tags["cerebros.rank"] == ""
    assert content(revision=2, rank=3).tags["cerebros.rank"] == "3"


SHAPES = [
    ({"rank": 1}, True),
    ({"metrics": {"accuracy": 0.9}}, True),
    ({"warnings": ["w"], "artifact_uri": "s3://x"}, True),
    ({"status": "failed"}, True),
    ({"parameters": {"lr": 0.2}}, False),
    ({"parameters": {}}, False),
    ({"metrics": {"accuracy": 0.5, "loss": 1}}, False),
    ({"metrics": {"accuracy": "NaN"}}, False),
    ({"metrics": {"accuracy": [0.1]}}, False),
    ({"metrics": {"accuracy": 0.5, "note": "x"}}, False),
    ({"duration_ms": 1600}, False),
    ({"spectral_norm": False}, False),
]


@pytest.mark.parametrize(("change", "same"), SHAPES, ids=[str(change) for change, _ in SHAPES])
def test_a_run_becomes_a_later_revision_only_where_mlflow_can_change_all_that_differs(
    change: dict[str, Any], same: bool
) -> None:
    assert fits(content().shape, content(revision=2, **change).shape) is same


def test_a_rank_may_come_and_not_go() -> None:
    assert not fits(content(rank=1).shape, content(revision=2).shape)
    assert fits(content(rank=1).shape, content(revision=2, rank=2).shape)


def test_every_value_that_is_sent_is_one_that_mlflow_does_not_drop_in_silence() -> None:
    """It answers 200 to a number as a param, a fraction as a time, NaN as JSON, and drops all that follows."""
    made = content(parameters={"a": 1, "b": None}, metrics={"x": 1, "y": "NaN", "z": [1, 2]}, rank=1)
    assert {type(value) for value in (*made.params.values(), *made.tags.values())} == {str}
    assert {(type(one.value), type(one.step), type(one.time_ms)) for one in made.metrics} == {(float, int, int)}


@pytest.mark.parametrize(
    "value", [[[1, 2], [1, 3]], [[2, 1], [1, 1]], [[-1, 1]], [[1, "a"]], [1, None], ["a"], [], [[1.5, 2]]]
)
def test_what_only_looks_like_a_series_is_none(value: Any) -> None:
    assert series(value) is None


def test_an_experiments_name_is_bounded_and_stays_its_runs_own() -> None:
    assert experiment_name("cerebros/{run_id}", "r1") == "cerebros/r1"
    long = [experiment_name("cerebros/{run_id}", "x" * 600 + end) for end in "ab"]
    assert [len(name) for name in long] == [250, 250]
    assert long[0] != long[1]


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("²", 0.0), ("-1", 0.0), ("soon", 0.0), (None, 0.0)])
def test_a_server_that_says_oddly_when_to_come_back_is_asked_as_if_it_said_nothing(
    header: str | None, seconds: float
) -> None:
    assert retry_after(header) == seconds
