"""`connect` takes what is passed, then the environment; `cerebros-client` says what it did by its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import connect
from cerebros_client.commands.main import COMMANDS, main
from cerebros_client.connecting import VARIABLES
from cerebros_client.spool import new_file

from tests.support.patience import patient
from tests.unit.client.test_spool import TARGET, left_behind, report

PAGE = (Path(__file__).parents[3] / "docs/reference/client.md").read_text()
MOCK = json.dumps({"test.mock.num.brokers": 1})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_what_is_not_passed_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = {
        "CEREBROS_URL": "kafka://one:9092,two:9092",
        "CEREBROS_TOPIC": "raw",
        "CEREBROS_SPOOL": str(tmp_path),
        "CEREBROS_SPOOL_MAX_MIB": "7",
        "CEREBROS_TOKEN": "secret",
        "CEREBROS_KAFKA_OPTIONS": MOCK,
    }
    assert said.keys() == VARIABLES.keys()
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with connect() as reporter:
        target = reporter._target
        assert (target.url, target.topic, target.token) == ("one:9092,two:9092", "raw", "secret")
        assert target.options == {"test.mock.num.brokers": 1}
        assert reporter._spool == (tmp_path, 7)
    with connect("kafka://three:9092", spool=tmp_path / "other", token="other") as reporter:
        assert (reporter._target.url, reporter._target.token) == ("three:9092", "other")
        assert reporter._spool == (tmp_path / "other", 7)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    with connect("kafka://mock:9092", options={"test.mock.num.brokers": 1}) as reporter:
        assert (reporter._spool, reporter._target.token) == (None, None)
    with pytest.raises(ValueError, match=r"no URL: pass one, or set CEREBROS_URL"):
        connect()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CEREBROS_URL": "localhost:9092"}, "it should look like kafka://localhost:9092 or https://gateway"),
        ({"CEREBROS_URL": "kafka://"}, "it should look like"),
        ({"CEREBROS_URL": "kafka://host:9092/topic"}, "behind kafka:// there are only hosts and ports"),
        ({"CEREBROS_KAFKA_OPTIONS": "{"}, "CEREBROS_KAFKA_OPTIONS is no JSON object"),
        ({"CEREBROS_KAFKA_OPTIONS": '{"no.such": 1}'}, "no.such"),
        ({"CEREBROS_SPOOL_MAX_MIB": "much"}, "CEREBROS_SPOOL_MAX_MIB is 'much'"),
        ({"CEREBROS_SPOOL_MAX_MIB": "0"}, "CEREBROS_SPOOL_MAX_MIB is '0'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in {"CEREBROS_URL": "kafka://mock:9092", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=re.escape(said)):
        connect()


def test_every_variable_is_listed_with_its_meaning() -> None:
    assert [name for name, meaning in VARIABLES.items() if f"| `{name}` | {meaning} |" not in PAGE] == []


# commands


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_every_command_is_listed_in_the_documentation() -> None:
    assert len(COMMANDS) == 2
    imports = {f"`cerebros-client import {source}`" for source in ("optuna", "mlflow", "oracle-csv", "jsonl")}
    assert {"`cerebros-client spool list`", "`cerebros-client spool send`", *imports} <= {
        row.split("|")[1].strip() for row in PAGE.splitlines() if row.startswith("|")
    }


def test_list_tells_what_is_in_use_left_and_damaged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    left = left_behind(tmp_path, range(3))
    live = new_file(tmp_path, "here:9092/\x1b[31mraw", 16)
    live.put(report(1))
    (tmp_path / "1700000000000-7-0123abcd.damaged").write_bytes(b"no database")
    code, said, _ = command(capsys, "spool", "list", str(tmp_path))
    lines = [line.split() for line in said.splitlines()]
    assert code == 0
    assert ["1700000000000-7-0123abcd.damaged", "damaged", "?", "?"] in lines
    assert [left.name, "left", "3", "0", TARGET] in lines
    assert [live.path.name, "in", "use", "1", "0", "here:9092/?[31mraw"] in lines
    code, said, _ = command(capsys, "spool", "list", str(tmp_path), "-f", "json")
    assert {one["state"]: one["waiting"] for one in json.loads(said)} == {"damaged": None, "left": 3, "in use": 1}
    live.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("spool", "list"), "no folder: name one, or set CEREBROS_SPOOL"),
        (("spool", "list", "/no/such/folder"), "/no/such/folder is no folder"),
        (("spool", "send", "."), "no URL"),
        (("spool", "send", ".", "--url", "localhost"), "should look like"),
        (("spool",), "ACTION"),
        ((), "COMMAND"),
    ],
)
def test_wrong_use_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str], arguments: Any, said: str) -> None:
    code, _, error = command(capsys, *arguments)
    assert code == 2
    assert said in error
    assert "Traceback" not in error


def test_send_sends_what_is_left_for_this_target_or_with_all_any(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEREBROS_KAFKA_OPTIONS", MOCK)
    monkeypatch.setenv("CEREBROS_URL", f"kafka://{TARGET.partition('/')[0]}")
    left_behind(tmp_path, range(3))
    left_behind(tmp_path, range(5), target="elsewhere:9092/raw")
    code, said, _ = command(capsys, "spool", "send", str(tmp_path))
    assert (code, said.split(" in ")[0]) == (0, "3 reports sent")
    code, said, _ = command(capsys, "spool", "send", str(tmp_path), "--all")
    assert (code, said.split(" in ")[0]) == (0, "5 reports sent")
    assert list(tmp_path.iterdir()) == []
    code, said, _ = command(capsys, "spool", "send", str(tmp_path))
    assert (code, said.split(" in ")[0]) == (0, "0 reports sent")


def test_send_says_what_it_could_not_send(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = left_behind(tmp_path, range(3), target="127.0.0.1:1/cerebros.trials.raw")
    code, said, error = command(
        capsys, "spool", "send", str(tmp_path), "--url", "kafka://127.0.0.1:1", "--timeout", "0.5"
    )
    assert (code, said.split(" in ")[0]) == (1, "0 reports sent")
    assert f"not all within 0.5 s; the rest stays in {tmp_path}" in error
    assert path.exists()


def test_send_tries_what_was_refused_only_when_asked_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEREBROS_KAFKA_OPTIONS", MOCK)
    monkeypatch.setenv("CEREBROS_URL", f"kafka://{TARGET.partition('/')[0]}")
    file = new_file(tmp_path, TARGET, 16)
    file.put(report(1))
    file.refuse(1, "unknown_status")
    file.close()
    assert command(capsys, "spool", "send", str(tmp_path))[1].startswith("0 reports sent")
    assert command(capsys, "spool", "send", str(tmp_path), "--refused")[1].startswith("1 reports sent")


def test_a_terminal_that_lacks_a_character_is_no_reason_to_fail(tmp_path: Path) -> None:
    live = new_file(tmp_path, "日本:9092/raw", 16)
    done = subprocess.run(
        [sys.executable, "-m", "cerebros_client.commands.main", "spool", "list", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, r"\u65e5\u672c:9092/raw" in done.stdout) == (0, True)
    live.close()
