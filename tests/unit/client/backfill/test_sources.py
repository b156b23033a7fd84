"""What each source yields: every ended trial once, with the time it ended; what is none is told."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from cerebros_client.backfill.from_jsonl import JsonLines
from cerebros_client.backfill.from_optuna import Studies
from cerebros_client.backfill.from_oracle import Oracles
from cerebros_client.backfill.items import Item, Skipped, Source, SourceError
from cerebros_client.cerebros import report_search
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.support.core import SimpleCerebrosRandomSearch
from tests.support.sink import SinkReporter, as_reporter

NOON = 1_714_564_800_000  # 2024-05-01 12:00 UTC


def split(source: Source) -> tuple[list[Item], list[str]]:
    found = list(source)
    items = [one for one in found if isinstance(one, Item)]
    return items, [one.reason for one in found if isinstance(one, Skipped)]


# JSON lines


def test_lines_are_reports_with_their_own_times(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    lines = [
        {"run_id": "r", "trial_id": "a", "timestamp": "2024-05-01T12:00:00Z"},
        {"model_run_id": "r", "trial_id": 2, "ts": NOON / 1000},
        {"study_name": "s", "number": 3, "time": NOON, "value": 1.0},
        {"run_id": "r", "trial_id": "b"},
    ]
    path.write_text("\ufeff" + "\n".join(json.dumps(line) for line in lines) + "\n\n")
    os.utime(path, (NOON / 1000, NOON / 1000))
    items, skipped = split(JsonLines(path))
    assert [(one.run_id, one.trial_id, one.at_ms) for one in items] == [
        ("r", "a", NOON),
        ("r", "2", NOON),
        ("s", "3", NOON),
        ("r", "b", NOON),
    ]
    assert skipped == []
    assert [json.loads(one.value or b"") for one in items] == lines


@pytest.mark.parametrize("number", ["1.00000000000000000001", "1e400", "7" * 5000, "NaN"])
def test_a_number_keeps_its_digits_however_its_report_came(number: str, tmp_path: Path) -> None:
    report = f'{{"run_id":"","trial_id": "t" , "at":1, "metrics":{{"a":{number}}}}}'
    path = tmp_path / "reports.jsonl"
    path.write_text(f'{report}\n[ {report} ,{report}]\n[]\n{{"trial_id":1}}\n')
    items, skipped = split(JsonLines(path, run_id='r "1"'))
    assert [(one.run_id, one.trial_id) for one in items] == [('r "1"', "t")] * 3 + [('r "1"', "1")]
    assert skipped == []
    assert [one.value for one in items] == [
        *[f'{report[:-1]}, "run_id": "r \\"1\\""}}'.encode()] * 3,
        b'{"trial_id":1, "run_id": "r \\"1\\""}',
    ]


def test_a_line_that_is_a_list_is_its_reports(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    listed: list[Any] = [{"run_id": "r", "trial_id": "a", "ts": NOON}, {"trial_id": 2, "ts": NOON}, {"run_id": "s"}, 4]
    path.write_text(json.dumps(listed) + "\n[]\n")
    items, skipped = split(JsonLines(path, run_id="given"))
    assert [(one.run_id, one.trial_id, one.at_ms) for one in items] == [("r", "a", NOON), ("given", "2", NOON)]
    assert [json.loads(one.value or b"") for one in items] == [listed[0], {**listed[1], "run_id": "given"}]
    assert skipped == ["no trial_id", "no JSON object"]


def test_lines_that_are_no_report_are_told(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text('{"run_id": "r"}\n{"trial_id": 1}\n[1]\n{"run_id": "r", "trial_id": 1\n' + "[" * 100_000 + "\n")
    assert split(JsonLines(path)) == (
        [],
        ["no trial_id", "no run_id", "no JSON object", "no JSON", "no JSON"],
    )


def test_a_run_for_lines_that_name_none(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text('{"trial_id": 1}\n{"run_id": "own", "trial_id": 1}')
    items, _ = split(JsonLines(path, run_id="given"))
    assert [json.loads(one.value or b"")["run_id"] for one in items] == ["given", "own"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl is no file"):
        JsonLines(tmp_path / "none.jsonl")


# Optuna


def fill(storage: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="digits", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=3)
    study.ask()
    optuna.create_study(study_name="other", storage=storage).add_trial(optuna.trial.create_trial(value=2.0))
    return study


@pytest.mark.parametrize("kind", ["url", "file", "journal"])
def test_every_finished_trial_of_a_storage(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "studies"
    study = fill(JournalStorage(JournalFileBackend(str(path))) if kind == "journal" else f"sqlite:///{path}")
    source = Studies(f"sqlite:///{path}" if kind == "url" else str(path))
    items, skipped = split(source)
    assert source.count() == 5
    assert [(one.run_id, one.trial_id) for one in items] == [
        ("digits", "0"),
        ("digits", "1"),
        ("digits", "2"),
        ("other", "0"),
    ]
    assert skipped == ["running, not finished"]
    for item, trial in zip(items[:3], study.trials[:3], strict=True):
        assert item.fields["metrics"] == {"value": trial.value}
        assert trial.datetime_complete is not None
        assert item.at_ms == round(trial.datetime_complete.timestamp() * 1000)


def test_one_study_of_several(tmp_path: Path) -> None:
    fill(f"sqlite:///{tmp_path}/studies.db")
    items, _ = split(Studies(f"{tmp_path}/studies.db", ["other"]))
    assert [one.run_id for one in items] == ["other"]
    with pytest.raises(SourceError, match=r"no study third; there are: digits, other"):
        Studies(f"{tmp_path}/studies.db", ["third"])


def test_a_storage_that_is_none_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no file; a database is named by its URL"):
        Studies(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    sqlite3.connect(tmp_path / "own.db").execute("create table mine (x)").connection.close()
    with pytest.raises(SourceError, match="can't be read as a storage"):
        Studies("nosuchdialect://user:secret@host/name")
    with pytest.raises(SourceError) as raised:
        Studies("postgresql://user:secret@127.0.0.1:1/name")
    assert "secret" not in str(raised.value)


# oracle.csv


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "project"


def oracles(folder: Path, **options: Any) -> Oracles:
    return Oracles(folder, **{"run_id": None, "rank_by": None, "direction": "minimize"} | options)


def test_an_oracle_is_what_the_hook_would_have_reported(project: Path, tmp_path: Path) -> None:
    search = SimpleCerebrosRandomSearch("project", number_of_tries_per_architecture_moity=2)
    report_search(search, as_reporter(sink := SinkReporter(tmp_path / "reports.jsonl")))
    search.run_random_search()
    items, skipped = split(oracles(project))
    assert skipped == []
    assert [one.trial_id for one in items] == list(sink.rows)
    for item in items:
        row = sink.rows[item.trial_id]
        assert item.run_id == "project"
        assert item.fields["metrics"] == row["metrics"]
        assert item.fields["status"] == row["status"]
        assert item.fields["artifact_uri"] == row["artifact_uri"]
        assert item.fields["parameters"]["spec"] == row["parameters"]["spec"]
        assert item.at_ms == round(Path(row["artifact_uri"]).stat().st_mtime * 1000)


def test_nothing_but_nan_is_a_failed_trial(project: Path) -> None:
    search = SimpleCerebrosRandomSearch("project", lambda trial, *_: math.nan if trial else 0.5)
    search.run_random_search()
    items, _ = split(oracles(project, rank_by="val_loss"))
    assert [(one.fields["status"], one.fields["error_type"]) for one in items] == [
        ("succeeded", None),
        ("failed", "nan_objective"),
    ]


HEADER = "loss,val_loss,trial_number,subtrial_number,model_name\n"


def test_a_projects_name_that_was_used_again_is_a_run_of_its_own(project: Path) -> None:
    project.mkdir()
    rows = "0.5,0.4,0,0,m0\n0.3,0.2,0,0,m0\n0.1,0.6,1,0,m1\n"
    (project / "oracle.csv").write_text(HEADER + rows + HEADER + rows)
    (project / "models").mkdir()
    model = project / "models" / f"tr_{0:016d}_subtrial_{0:016d}.keras"
    model.write_text("the second's")
    items, _ = split(oracles(project))
    assert [one.run_id for one in items] == ["project"] * 2 + ["project (2)"] * 2
    assert [one.fields["metrics"]["val_loss"] for one in items] == [0.2, 0.6, 0.2, 0.6]
    assert [one.fields["artifact_uri"] for one in items] == [None, None, str(model), None]


def test_rows_that_are_none_are_told(project: Path) -> None:
    project.mkdir()
    (project / "oracle.csv").write_text("1,2,0,0,m\n" + HEADER + "1,2,0,0,m\nx\n1,2,3,0,0,m\n1,2,a,b,m\n")
    items, skipped = split(oracles(project))
    assert len(items) == 1
    assert skipped == ["no row of an oracle.csv"] * 4


def test_a_saved_model_says_whether_it_has_spectral_normalisation(project: Path) -> None:
    SimpleCerebrosRandomSearch("project").run_random_search()
    model = project / "models" / f"tr_{1:016d}_subtrial_{0:016d}.keras"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [{"class_name": "SpectralNormalization"}]}}))
    items, _ = split(oracles(project))
    assert [one.fields["spectral_norm"] for one in items] == [None, True]  # of the first there is no such file


def test_several_projects_below_a_folder(project: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        SimpleCerebrosRandomSearch(name).run_random_search()
    items, _ = split(oracles(tmp_path))
    assert [one.run_id for one in items] == ["a", "a", "b", "b"]
    with pytest.raises(SourceError, match="one --run-id for 2 projects"):
        oracles(tmp_path, run_id="r")


def test_a_folder_without_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no oracle\.csv"):
        oracles(tmp_path)


def test_a_specification_with_code_in_it_is_not_run(project: Path) -> None:
    SimpleCerebrosRandomSearch("project").run_random_search()
    text = project / "model_architectures" / f"tr_{0:016d}_subtrial_{0:016d}.txt"
    text.write_text("__import__('os').mkdir('executed')")
    items, _ = split(oracles(project))
    assert items[0].fields["parameters"] == {}
    assert not Path("executed").exists()


def test_times_are_those_of_the_machine_where_there_is_no_zone(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text('{"run_id": "r", "trial_id": 1, "at": "2024-05-01T12:00:00"}')
    [item], _ = split(JsonLines(path))
    assert item.at_ms == round(datetime(2024, 5, 1, 12).timestamp() * 1000)
