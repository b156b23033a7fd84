"""Everything that runs during the demo, and the questions it is asked."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from processor.core.errors import UsageError
from processor.core.messages import RawRecord
from processor.core.settings import PREFIX, Settings, load_settings
from processor.demo.ledger import Ledger, Observed
from processor.demo.life import Told
from processor.demo.workers import Worker, run
from processor.kafka.topics import read_topic
from processor.local import LocalStack
from processor.local.files import free_ports
from processor.store.queries import read_queries
from processor.store.session import Session

SETTLE_SECONDS = 60.0  # for what was sent to arrive; after that the verdict says what is missing
REFRESH_SECONDS = 0.2
_SERVERS = ("kafka_bootstrap_servers", "database_url")
#: what the demo relies on, whatever the settings around it say
_OWN_SETTINGS = {
    f"{PREFIX}EVENTS_FORMAT": "json",
    f"{PREFIX}UNKNOWN_RUN": "create",
    f"{PREFIX}METRICS_PORT": "0",
    f"{PREFIX}GATEWAY_TOKENS_FILE": "",
    # the search names MLflow runs that nobody made
    f"{PREFIX}MLFLOW_CREATE_MISSING": "true",
}


class Runs(NamedTuple):
    """Ids of the four searches, new each time: the demo may share its servers with others."""

    sgd: str
    adam: str
    optuna: str
    old: str

    @property
    def keys(self) -> list[bytes]:
        return [run_id.encode() for run_id in self]


class Scene(NamedTuple):
    """Servers, workers and what was sent to them; `addresses` are settings that lead to a local stack, `door` is the
    gateway's port."""

    settings: Settings
    addresses: Mapping[str, str]
    environment: Mapping[str, str]
    folder: Path
    store: Session
    ingest: Worker
    relay: Worker
    gateway: Worker
    door: int
    runs: Runs
    ledger: Ledger
    mirror: Worker | None = None

    def counts(self) -> dict[str, int]:
        """See `demo_counts` in demo.sql; raises `DemoError` when a worker has ended by itself."""
        self.ingest.check()
        self.relay.check()
        self.gateway.check()
        counts = self.store.fetch("demo_counts", list(self.runs), self.runs.keys)[0]
        return {name: int(count) for name, count in counts.items()}

    def settle(self) -> bool:
        """Waits until all that was sent is written, published and committed; False where that takes too long."""
        deadline = time.monotonic() + SETTLE_SECONDS
        expected = (self.ledger.total_revisions, self.ledger.life.total, len(self.ledger.rejected), 0)
        while time.monotonic() < deadline:
            counts = self.counts()
            names = ("revisions", "told", "dead_letters", "waiting")
            if tuple(counts[name] for name in names) == expected and not self.lag():
                return True
            time.sleep(REFRESH_SECONDS)
        return False

    def lag(self) -> int:
        """Records that ingest has yet to commit, as `processor status` says."""
        return int(json.loads(run(self.environment, "status", "-f", "json"))["lag_total"])

    def mirrored(self) -> dict[str, Any]:
        """What `processor mlflow verify` says once the mirror has read all events, or takes too long."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            if self.mirror is not None:
                self.mirror.check()
            status = json.loads(run(self.environment, "status", "-f", "json"))
            if status.get("mlflow_lag") == 0:
                break
            time.sleep(REFRESH_SECONDS)
        found: dict[str, Any] = json.loads(run(self.environment, "mlflow", "verify", "-f", "json", may_fail=True))
        return found

    def observe(self) -> Observed:
        return Observed(
            self.store.fetch("demo_rows", list(self.runs)),
            self.store.fetch("demo_dead_letters", self.runs.keys),
            self._published(self.settings.events_topic),
            self._published(self.settings.dead_letter_topic),
            Told(*(self.store.fetch(query, list(self.runs)) for query in ("demo_runs", "demo_starts", "demo_metrics"))),
        )

    def _published(self, topic: str) -> list[RawRecord]:
        """What a read_committed consumer finds of the demo's runs, partition by partition."""
        found = [record for record in read_topic(self.settings, topic) if record.key in self.runs.keys]
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def by_status(self) -> list[dict[str, Any]]:
        return self.store.fetch("demo_by_status", list(self.runs))

    def fingerprint(self) -> dict[str, Any]:
        return self.store.fetch("demo_fingerprint", list(self.runs))[0]

    def read_all_again(self) -> None:
        """1. stop ingest; 2. reset its group to the beginning of the topic; 3. start it again."""
        self.ingest.stop()
        run(self.environment, "replay", "--to-earliest", "--execute")
        self.ingest.start()


@contextmanager
def open_scene(say: Callable[[str], None], *, mlflow: bool = False) -> Iterator[Scene]:
    """Servers, tables, topics, ingest and relay; stopped in reverse order. Raises `ProcessorError`."""
    with ExitStack() as cleanup:
        settings, addresses = _find_servers(cleanup, say, mlflow)
        environment = {**os.environ, **addresses, **_OWN_SETTINGS}
        run(environment, "migrate")
        run(environment, "topics", "create")
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cerebros-demo-")))
        queries = read_queries(resources.files("processor.demo"))
        store = cleanup.enter_context(Session(settings.database_url.get_secret_value(), queries=queries))
        ingest = cleanup.enter_context(Worker("ingest", environment, folder))
        relay = cleanup.enter_context(Worker("relay", environment, folder))
        door = free_ports(1)[0]
        gateway = Worker("gateway", {**environment, f"{PREFIX}GATEWAY_LISTEN": f"127.0.0.1:{door}"}, folder)
        cleanup.enter_context(gateway)
        mirror = cleanup.enter_context(Worker("mlflow", environment, folder)) if mlflow else None
        say(
            "tables and topics are there, ingest and relay are running, and a gateway"
            + (", and mlflow" if mlflow else "")
        )
        tag = secrets.token_hex(4)
        runs = Runs(*(f"digits-{name}-{tag}" for name in ("sgd", "adam", "optuna", "old")))
        yield Scene(
            settings, addresses, environment, folder, store, ingest, relay, gateway, door, runs, Ledger(), mirror
        )
        say("stopping")


def _find_servers(cleanup: ExitStack, say: Callable[[str], None], mlflow: bool) -> tuple[Settings, dict[str, str]]:
    """The settings, and the variables that tell other processes of them: none where they come from outside."""
    settings = load_settings(Settings)
    given = settings.model_fields_set.intersection(_SERVERS)
    if len(given) == len(_SERVERS):
        say(f"using Kafka at {settings.kafka_bootstrap_servers} and the given database; group {settings.group_id}")
        return settings, {}
    if given:
        names = " and ".join(PREFIX + name.upper() for name in _SERVERS)
        raise UsageError(f"set both {names}, or neither: then the demo starts its own")
    stack = cleanup.enter_context(LocalStack(progress=say, mlflow=mlflow))
    say(f"Apache Kafka at {stack.bootstrap_servers}, PostgreSQL at {stack.database_url}")
    if stack.mlflow:
        say(f"MLflow at {stack.mlflow.url}")
    own = {
        "kafka_bootstrap_servers": stack.bootstrap_servers,
        "database_url": SecretStr(stack.database_url),
    }
    return settings.model_copy(update=own), dict(stack.environment)
