"""What a trainer installs: the wheel alone, in an empty environment, reports a trial to a real Kafka."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from tests.support.backends import missing
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.settle import rows

CLIENT = Path(__file__).parents[2] / "client"
UV = Path(sys.executable).with_name("uv")
[EXAMPLE, *_] = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)
    [made] = folder.glob("cerebros_client-*.whl")
    return made


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what it brings."""
    folder = tmp_path_factory.mktemp("alone") / "environment"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [str(UV), "pip", "install", "--quiet", "--only-binary", ":all:", "--python", str(python), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"no package index to install the client from: {done.stderr[-300:]}")
    return python


def test_the_wheel_is_typed_licensed_and_brings_one_dependency(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("METADATA")]
        said = Parser().parsestr(archive.read(metadata).decode())
    assert "cerebros_client/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {"cerebros_client", metadata.partition("/")[0]}
    always = [one for one in said.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert [re.split("[<>=]", one)[0] for one in always] == ["confluent-kafka"]
    assert {"http", "optuna", "mlflow"} <= set(said.get_all("Provides-Extra", []))


def test_alone_it_reports_as_the_readme_says(
    alone: Path, settings: Settings, start: Callable[..., Process], tmp_path: Path
) -> None:
    """The first example, copied, with another address and topic."""
    listed = subprocess.run([UV, "pip", "freeze", "--python", alone], capture_output=True, text=True, check=True)
    assert {re.split("[ @=]", line)[0] for line in listed.stdout.split("\n") if line} == {
        "cerebros-client",
        "confluent-kafka",
    }
    example = EXAMPLE.replace("localhost:9092", settings.kafka_bootstrap_servers)
    assert example != EXAMPLE
    environment = {"CEREBROS_TOPIC": settings.raw_topic, "CEREBROS_SPOOL": str(tmp_path / "spool")}
    begin = time.monotonic()
    done = subprocess.run(
        [alone, "-W", "error", "-c", example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - begin < patient(30)
    assert list((tmp_path / "spool").iterdir()) == []
    records = list(read_topic(settings, settings.raw_topic))
    assert len(records) == 3 * (1 + 3 + 1)  # it starts, three steps, it ends
    start("ingest")
    wait_until(lambda: rows(settings) >= 3, "the rows are there")
    assert rows(settings) == 3


def test_its_command_and_its_types_are_installed(alone: Path, tmp_path: Path) -> None:
    command = alone.with_name("cerebros-client")
    done = subprocess.run([command, "spool", "list", tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["file", "state", "waiting", "refused", "for"]
    imported = "import sys, cerebros_client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([alone, "-c", imported], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not {"numpy", "pandas", "torch", "optuna", "processor"} & set(done.stdout.split())
