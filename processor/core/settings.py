"""The only reader of environment variables: a settings class a process, refused at start when wrong.

Every field is a variable with the prefix ``PROCESSOR_`` (``kafka_bootstrap_servers`` is
``PROCESSOR_KAFKA_BOOTSTRAP_SERVERS``); a ``.env`` file in the working directory is read too, and the environment
wins over it. A process reads what it needs, and knows the names of all: a misspelt one is refused. A test checks that
the documentation lists each of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from processor.core.errors import UsageError
from processor.core.messages import Identity

PREFIX = "PROCESSOR_"

#: what Kubernetes puts into every container for a service whose name begins with `processor`
_SERVICE_LINK = re.compile(r"^\w*(_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP|SCTP)|_PORT=(tcp|udp|sctp)://)")

#: librdkafka properties on which a promise rests, or that have a setting of their own; every alias of one is one too
OWN_PROPERTIES = frozenset(
    {
        "bootstrap.servers",
        "metadata.broker.list",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "session.timeout.ms",
        "partition.assignment.strategy",
        "enable.auto.commit",
        "auto.commit.enable",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "enable.partition.eof",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "fetch.max.bytes",
        "max.partition.fetch.bytes",
        "fetch.message.max.bytes",
        "isolation.level",
        "transactional.id",
        "enable.idempotence",
        "acks",
        "request.required.acks",
        "delivery.report.only.error",
    }
)
#: what the client takes as a function or an object, beside all that ends in `_cb`: no JSON can be one
_OBJECTS = frozenset(
    {
        "logger",
        "on_delivery",
        "on_commit",
        "default.topic.config",
        "default_topic_conf",
        "opaque",
        "interceptors",
        "msg_order_cmp",
        "ssl_ca",
        "ssl_certificate",
        "ssl_key",
        "ssl_engine_callback_data",
    }
)


def _line(value: str) -> str:
    """What the client takes as a name: it aborts the process at one of blanks alone."""
    if not value.strip():
        raise ValueError("must be more than blanks")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise ValueError("must be text of one line, without control characters")
    return value


Port = Annotated[int, Field(ge=0, le=65535)]
Line = Annotated[str, AfterValidator(_line)]


class ProcessSettings(BaseSettings):
    """What every process reads. Times are in the unit their name ends with, sizes in bytes."""

    model_config = SettingsConfigDict(
        defer_build=True,  # a process uses one of these classes, and each takes 5 ms to build
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json | console | auto (console on a terminal, json elsewhere)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")


#: what librdkafka takes before a server's name
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


class KafkaSettings(ProcessSettings):
    """Where the brokers are, and how to speak to them; the group's name is also every client's."""

    kafka_bootstrap_servers: str = Field("localhost:9092", description="Kafka brokers, host:port, comma-separated")
    kafka_options: Annotated[dict[str, str | int | float | bool], NoDecode] = Field(
        default_factory=dict,
        description="JSON object of librdkafka properties for every client (TLS, SASL, ...)",
        repr=False,
    )
    group_id: Line = Field("cerebros-processor", min_length=1, description="consumer group of ingest")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            scheme, found, _ = host.partition("://")
            if found and scheme.upper() not in _PROTOCOLS:  # kafka:// is what the client's URL has
                raise ValueError("each server must be host:port alone, without anything:// before it")
            if not host or not _is_port(port):
                raise ValueError("each server must be host:port, separated by commas")
        return value

    @field_validator("kafka_options", mode="before")
    @classmethod
    def _json_object(cls, value: Any) -> Any:
        try:
            options = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            options = None
        if not isinstance(options, dict):
            raise ValueError('must be a JSON object of librdkafka properties, such as {"security.protocol": "SSL"}')
        for name, option in options.items():
            if not isinstance(option, (str, int, float)):
                raise ValueError(f"the value of {name} must be a string, a number or a boolean")
            if not name or not (_is_text(name) and _is_text(str(option))):  # the client would die of half a character
                raise ValueError("names and values must be text, without NUL and half characters")
        return options

    @field_validator("kafka_options")
    @classmethod
    def _leaves_promises_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        objects = sorted(name for name in value if name in _OBJECTS or name.endswith("_cb"))
        if objects:
            raise ValueError(f"{', '.join(objects)} can't be set here: it takes a function or an object, no JSON value")
        own = sorted(OWN_PROPERTIES & value.keys())
        if own:
            raise ValueError(f"{', '.join(own)} can't be set here: the promises or other settings decide")
        return value


class TopicSettings(KafkaSettings):
    """The three topics."""

    raw_topic: str = Field("cerebros.trials.raw", description="topic the reports are read from")
    events_topic: str = Field("cerebros.trials.events", description="topic the events are published to")
    dead_letter_topic: str = Field("cerebros.trials.dlq", description="topic dead letters are published to")

    @field_validator("raw_topic", "events_topic", "dead_letter_topic")
    @classmethod
    def _legal_topic(cls, value: str) -> str:
        legal = value.replace(".", "").replace("_", "").replace("-", "")
        if not 0 < len(value) < 250 or not legal.isalnum() or not legal.isascii():
            raise ValueError("a topic has 1 to 249 characters of a-z A-Z 0-9 . _ -")
        return value

    @model_validator(mode="after")
    def _reads_what_it_does_not_write(self) -> Self:
        if self.raw_topic in (self.events_topic, self.dead_letter_topic):
            raise ValueError(f"{PREFIX}RAW_TOPIC is a topic that is written to as well")
        if self.events_topic == self.dead_letter_topic:
            raise ValueError(f"{PREFIX}EVENTS_TOPIC and {PREFIX}DEAD_LETTER_TOPIC are one topic, they must be two")
        return self

    @property
    def topics(self) -> tuple[str, str, str]:
        return self.raw_topic, self.events_topic, self.dead_letter_topic


class DatabaseSettings(ProcessSettings):
    """Where Postgres is."""

    database_url: SecretStr = Field(
        SecretStr("postgresql://localhost:5432/cerebros"),
        description="Postgres: postgresql://user:password@host:port/database[?sslmode=verify-full&sslrootcert=FILE]",
    )
    database_timeout_ms: int = Field(
        30_000,
        ge=1000,
        le=600_000,
        description="a statement that takes longer is an outage: it is cancelled and retried",
    )

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        return _postgres_url(value)


class SchemaSettings(ProcessSettings):
    """Where schemas come from."""

    schemas_dir: Path | None = Field(None, description="folder of the .avsc files instead of the released ones")
    schema_registry_url: str | None = Field(
        None,
        description="Confluent schema registry (extra `registry`); without it Confluent-framed Avro is rejected",
        repr=False,
    )

    @field_validator("schema_registry_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None:
            match = re.fullmatch(r"https?://([^/?#]*@)?(\[[^\]]+\]|[^:/?#@]+)(:(\d+))?(/[^?#]*)?", value)
            if match is None or (match[4] is not None and not _is_port(match[4])):
                raise ValueError("must be http://host:port or https://host:port")
        return value


class HaltSettings(ProcessSettings):
    """For processes that the fault tests kill."""

    test_halt_at: str | None = Field(None, description="for fault tests: halt at this checkpoint until killed")


class HealthSettings(ProcessSettings):
    """For processes that serve their health."""

    metrics_port: Port = Field(0, description="HTTP port of /metrics, /live and /ready; 0: none")
    metrics_host: str = Field("", description="address that it listens on; default: all, of IPv6 and IPv4")


class StatusSettings(TopicSettings, DatabaseSettings):
    """What `status` looks at."""


class LetterSettings(DatabaseSettings, SchemaSettings):
    """What it takes to show dead letters."""


class StoppingSettings(ProcessSettings):
    """How long what is in hand has to end."""

    shutdown_timeout_ms: int = Field(
        10_000, ge=0, le=600_000, description="on SIGTERM, on revoke: finish and commit within this time"
    )


class DecodeSettings(SchemaSettings):
    """What it takes to tell reports from what is none."""

    max_report_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="a larger report is rejected")
    max_record_bytes: int | None = Field(
        None,
        ge=1024,
        description="a larger record is rejected before it is read; default: 16 x MAX_REPORT_BYTES",
    )


class PipelineSettings(TopicSettings, LetterSettings, DecodeSettings, StoppingSettings, HaltSettings):
    """What it takes to turn records into rows: by ingest, a window replay, or a redrive."""

    unknown_run: Literal["create", "reject"] = Field(
        "create",
        description="a report for a run that is not in the database: create the run, or reject the report",
    )
    database_refusals_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="constraints and triggers of the database that refuse more than this share of the reports (and at "
        "least 100) are an outage, and nothing is rejected for them; 1: never",
    )
    batch_max_records: int = Field(4000, ge=1, le=100_000, description="reports in one transaction at the most")
    memory_mb: int = Field(
        256,
        ge=128,
        le=65_536,
        description="memory of ingest: an eighth is prefetched from Kafka, a 64th is one transaction's records",
    )
    batch_max_bytes: int | None = Field(
        None,
        ge=64 * 1024,
        description="bytes of records in one transaction at the most (one record always fits); default: MEMORY_MB / 64",
    )
    writers: int = Field(2, ge=1, le=16, description="database connections that write at the same time")
    events_format: Literal["json", "avro"] = Field(
        "json", description="json, or avro in Confluent wire format (needs SCHEMA_REGISTRY_URL)"
    )

    @model_validator(mode="after")
    def _has_a_registry_for_avro(self) -> Self:
        if self.events_format == "avro" and not self.schema_registry_url:
            raise ValueError(f"{PREFIX}EVENTS_FORMAT=avro needs {PREFIX}SCHEMA_REGISTRY_URL")
        return self

    @property
    def prefetch_bytes(self) -> int:
        return self.memory_mb * 1024 * 1024 // 8

    @property
    def batch_bytes(self) -> int:
        return self.batch_max_bytes or self.memory_mb * 1024 * 1024 // 64


class IngestSettings(PipelineSettings, HealthSettings):
    """Of `processor ingest`."""

    group_instance_id: Line | None = Field(
        None, description="static membership: a name for this replica that survives its restart"
    )
    group_protocol: Literal["auto", "consumer", "classic"] = Field(
        "auto", description="auto | consumer (KIP-848) | classic (cooperative-sticky)"
    )
    session_timeout_ms: int = Field(
        6000,
        ge=1000,
        le=300_000,
        description="how long a killed ingest keeps its partitions (classic protocol)",
    )
    batch_max_wait_ms: int = Field(
        0,
        ge=0,
        le=60_000,
        description="wait this long for a fuller batch; 0: write as soon as the database is free",
    )


class RelaySettings(TopicSettings, DatabaseSettings, HaltSettings, HealthSettings):
    """Of `processor relay`."""

    relay_id: Line | None = Field(
        None,
        description="transactional id of the relay; default: GROUP_ID + '-relay'. It may change",
    )
    relay_max_messages: int = Field(
        10_000, ge=1, le=100_000, description="messages in one Kafka transaction at the most"
    )
    relay_max_bytes: int = Field(
        16 * 1024 * 1024,
        ge=64 * 1024,
        description="bytes in one Kafka transaction at the most (one packet always fits)",
    )
    event_source: Line = Field("/cerebros/processor", min_length=1, description="ce_source of the events")

    @property
    def identity(self) -> Identity:
        return Identity(self.relay_id or f"{self.group_id}-relay", self.events_topic, self.dead_letter_topic)


class GatewaySettings(TopicSettings, DecodeSettings, HealthSettings):
    """Of `processor gateway`."""

    gateway_listen: str = Field("127.0.0.1:8080", description="host:port that the gateway listens on; port 0: any free")
    gateway_tokens_file: Path | None = Field(
        None, description="who may report: lines that `processor gateway-token` makes; read again when it changes"
    )
    gateway_allow_anyone: bool = Field(
        False, description="listen beyond loopback without tokens: whoever reaches the port may report"
    )
    gateway_max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="largest body of a request, also once unpacked: else 413",
    )
    gateway_max_reports: int = Field(
        10_000, ge=1, le=50_000, description="reports in one request at the most: else 413"
    )
    gateway_max_connections: int = Field(
        4096,
        ge=1,
        le=100_000,
        description="open connections at the most; beyond it the one that has been idle for longest is closed",
    )
    gateway_inflight_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024 * 1024,
        description="bytes of bodies that are being read, judged or sent at the most; beyond it 503",
    )
    gateway_head_timeout_ms: int = Field(
        10_000, ge=100, le=600_000, description="a request's head must be there after this long: else 408"
    )
    gateway_body_timeout_ms: int = Field(
        30_000, ge=100, le=600_000, description="a request's body must be there after this long: else 408"
    )
    gateway_idle_timeout_ms: int = Field(
        75_000, ge=100, le=3_600_000, description="a connection without a request is closed after this long"
    )
    gateway_delivery_timeout_ms: int = Field(
        10_000, ge=100, le=600_000, description="Kafka must have confirmed after this long: else 503"
    )
    gateway_drain_ms: int = Field(
        15_000, ge=0, le=600_000, description="on SIGTERM: requests that have begun are answered within this time"
    )

    @field_validator("gateway_listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _address(value)

    @model_validator(mode="after")
    def _holds_one_body(self) -> Self:
        if self.gateway_max_body_bytes > self.gateway_inflight_bytes:
            raise ValueError(f"{PREFIX}GATEWAY_INFLIGHT_BYTES must hold {PREFIX}GATEWAY_MAX_BODY_BYTES")
        return self


class TrackingSettings(ProcessSettings):
    """Where MLflow is."""

    mlflow_tracking_uri: str | None = Field(
        None, description="MLflow tracking server to mirror trials into: http://host:port[/path]", repr=False
    )

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _is_a_server(cls, value: str | None) -> str | None:
        return _web_url(value)


class MlflowSettings(
    TopicSettings, DatabaseSettings, SchemaSettings, TrackingSettings, StoppingSettings, HaltSettings, HealthSettings
):
    """Of `processor mlflow`."""

    mlflow_experiment: str = Field(
        "cerebros/{run_id}",
        min_length=1,
        max_length=400,
        description="experiment of a trial, {run_id} stands for its run's id; a fixed name makes each Cerebros run a "
        "parent run",
    )
    mlflow_parent_runs: Literal["auto", "always", "never"] = Field(
        "auto", description="a parent run for each Cerebros run; auto: where MLFLOW_EXPERIMENT lacks {run_id}"
    )
    mlflow_mirror: Literal["all", "succeeded", "failed"] = Field("all", description="which trials become runs")
    mlflow_event_files: Literal["bent", "always", "never"] = Field(
        "bent",
        description="the whole event as a file of its run: only where MLflow can't hold all of it, always, or never",
    )
    mlflow_create_missing: bool = Field(
        False, description="a trial that names an MLflow run that can't be linked gets a run of its own"
    )
    mlflow_username: str | None = Field(None, description="user of the tracking server", repr=False)
    mlflow_password: SecretStr | None = Field(None, description="password of that user")
    mlflow_token: SecretStr | None = Field(None, description="bearer token, instead of user and password")
    mlflow_ca_file: Path | None = Field(None, description="PEM file of the authorities that its certificate may be of")
    mlflow_cert_file: Path | None = Field(None, description="PEM file of a client certificate")
    mlflow_key_file: Path | None = Field(None, description="PEM file of its key")
    mlflow_connections: int = Field(4, ge=1, le=64, description="requests to MLflow at the same time")
    mlflow_timeout_ms: int = Field(
        30_000, ge=100, le=600_000, description="a request to MLflow that takes longer is an outage, and tried again"
    )
    mlflow_retry_ms: int = Field(
        600_000,
        ge=100,
        description="a trial at which MLflow fails (5xx) while it answers others is tried again so often",
    )
    mlflow_batch_max_events: int = Field(
        200, ge=1, le=10_000, description="events that are mirrored before their offsets are committed"
    )

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.mlflow_token and self.mlflow_username:
            raise ValueError(f"{PREFIX}MLFLOW_TOKEN and {PREFIX}MLFLOW_USERNAME: one of them")
        return self

    @property
    def mlflow_parents(self) -> bool:
        if self.mlflow_parent_runs == "auto":
            return "{run_id}" not in self.mlflow_experiment
        return self.mlflow_parent_runs == "always"


class DashboardSettings(DatabaseSettings, TrackingSettings, HealthSettings):
    """Of `processor dashboard`."""

    dashboard_listen: str = Field(
        "127.0.0.1:8090", description="host:port that the dashboard listens on; port 0: any free"
    )
    dashboard_database_url: SecretStr | None = Field(
        None, description="Postgres as the dashboard reads it, by a role that need only read; default: DATABASE_URL"
    )
    dashboard_timeout_ms: int = Field(
        10_000, ge=100, le=600_000, description="a question of a page that takes Postgres longer is cut off: 503"
    )
    dashboard_database_connections: int = Field(
        4, ge=1, le=64, description="questions of pages to Postgres at the same time; two connections are beside them"
    )
    dashboard_tokens_file: Path | None = Field(
        None, description="who may look: lines that `processor dashboard-token` makes; read again when it changes"
    )
    dashboard_allow_anyone: bool = Field(
        False, description="listen beyond loopback without tokens: whoever reaches the port may look"
    )
    dashboard_max_connections: int = Field(
        1024,
        ge=1,
        le=100_000,
        description="open connections to the dashboard at the most; beyond it the longest idle one is closed",
    )
    dashboard_mlflow_url: str | None = Field(
        None, description="where browsers find MLflow, for links; default: MLFLOW_TRACKING_URI", repr=False
    )
    dashboard_drain_ms: int = Field(
        2000, ge=0, le=600_000, description="on SIGTERM: pages that have begun are answered within this time"
    )

    @field_validator("dashboard_listen")
    @classmethod
    def _is_listenable(cls, value: str) -> str:
        return _address(value)

    @field_validator("dashboard_mlflow_url")
    @classmethod
    def _is_linkable(cls, value: str | None) -> str | None:
        return _web_url(value)

    @field_validator("dashboard_database_url")
    @classmethod
    def _is_postgres_too(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else _postgres_url(value)

    @property
    def dashboard_database(self) -> SecretStr:
        return self.dashboard_database_url or self.database_url


class Settings(IngestSettings, RelaySettings, GatewaySettings, MlflowSettings, DashboardSettings):
    """Every setting there is: of `processor run`, the demo and the documentation."""


def _postgres_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must start with postgresql://")
    servers = re.split("[/?#]", value.get_secret_value().partition("://")[2])[0].rpartition("@")[2]
    for server in servers.split(","):
        _, colon, port = server.rpartition("]")[2].rpartition(":")
        if colon and port and not _is_port(port):
            raise ValueError("its port must be a number; write / ? # @ of a password as %2F %3F %23 %40")
    return value


def _web_url(value: str | None) -> str | None:
    if value is not None:
        match = re.fullmatch(r"https?://(\[[^\]]+\]|[^:/?#@]+)(:(\d+))?(/[^?#]*)?", value)
        if match is None or (match[3] is not None and not _is_port(match[3])):
            raise ValueError("must be http://host:port or https://host:port; user and password have settings")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not (port == "0" or _is_port(port)) or (":" in host and not re.fullmatch(r"\[[^\]]+\]", host)):
        raise ValueError("must be host:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080")
    return value


def _is_text(text: str) -> bool:
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


S = TypeVar("S", bound=ProcessSettings)


def load_settings(kind: type[S], **overrides: Any) -> S:
    """Reads the environment and ``.env`` into the settings of one process.

    Raises `UsageError`, one sentence that names every wrong or unknown variable and never a value.
    """
    wrong: list[str] = []
    try:
        wrong = _unknown_variables()
        settings = kind(**overrides)
    except ValidationError as error:
        wrong += [_said(problem) for problem in error.errors(include_input=False, include_url=False)]
    except UnicodeDecodeError:
        wrong = [".env is not UTF-8"]
    if wrong:
        raise UsageError("wrong settings: " + "; ".join(wrong))
    return settings


def _said(problem: Any) -> str:
    said = problem["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{str(problem['loc'][0]).upper()}: {said}" if problem["loc"] else said


def _unknown_variables() -> list[str]:
    """A misspelt variable would be a setting that silently has its default."""
    known = [field.upper() for field in Settings.model_fields]
    problems = []
    found = {**DotEnvSettingsSource(Settings).env_vars, **EnvSettingsSource(Settings).env_vars}
    for name, value in sorted(found.items()):
        variable = name.upper()
        wanted = variable.removeprefix(PREFIX)
        if wanted == variable or wanted in known or _SERVICE_LINK.search(f"{variable}={value}"):
            continue
        # without the prefix, by which any two names are alike
        nearest = get_close_matches(wanted, known, 1)
        problems.append(f"{variable} is no setting" + (f", the nearest is {PREFIX}{nearest[0]}" if nearest else ""))
    return problems
