"""Settings: read from one place, refused with a sentence that names the variable, never telling a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from processor.core.errors import UsageError
from processor.core.settings import (
    OWN_PROPERTIES,
    PREFIX,
    DatabaseSettings,
    IngestSettings,
    MlflowSettings,
    ProcessSettings,
    RelaySettings,
    Settings,
    load_settings,
)

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """What is said about these variables (named without the prefix)."""
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(UsageError) as caught:
        load_settings(Settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_any_variable_the_defaults_hold() -> None:
    settings = load_settings(Settings)
    assert settings.kafka_bootstrap_servers == "localhost:9092"
    assert settings.raw_topic == "cerebros.trials.raw"
    assert settings.identity.transactional_id == "cerebros-processor-relay"


def test_a_process_is_not_stopped_by_a_wrong_setting_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_WRITERS", "many")
    assert load_settings(RelaySettings).relay_max_messages == 10_000
    with pytest.raises(UsageError, match="PROCESSOR_WRITERS"):
        load_settings(IngestSettings)


@pytest.mark.parametrize("kind", [ProcessSettings, DatabaseSettings, RelaySettings, IngestSettings])
def test_a_misspelt_setting_is_refused_by_every_process(
    kind: type[ProcessSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSOR_WRITER", "2")
    with pytest.raises(UsageError, match="PROCESSOR_WRITER is no setting, the nearest is PROCESSOR_WRITERS"):
        load_settings(kind)


def test_each_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_variables_are_read_whatever_their_case_and_an_empty_one_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROCESSOR_GROUP_ID", "mine")
    monkeypatch.setenv("processor_writers", "3")
    monkeypatch.setenv("PROCESSOR_RAW_TOPIC", "")
    monkeypatch.setenv("PROCESSOR_KAFKA_OPTIONS", '{"sasl.password": "p", "debug": true, "retries": 3}')
    settings = load_settings(Settings)
    assert (settings.group_id, settings.writers, settings.raw_topic) == ("mine", 3, "cerebros.trials.raw")
    assert settings.kafka_options == {"sasl.password": "p", "debug": True, "retries": 3}
    assert settings.identity.transactional_id == "mine-relay"


def test_a_dotenv_file_is_read_and_the_environment_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PROCESSOR_GROUP_ID=from-file\nPROCESSOR_RAW_TOPIC=from-file\nPATH_OF_OTHERS=1\n")
    monkeypatch.setenv("PROCESSOR_GROUP_ID", "from-environment")
    settings = load_settings(Settings)
    assert (settings.group_id, settings.raw_topic) == ("from-environment", "from-file")


def test_a_broker_may_have_the_protocols_that_librdkafka_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_KAFKA_BOOTSTRAP_SERVERS", "SASL_SSL://a:9093,plaintext://[::1]:9092,c:9092")
    assert load_settings(Settings).kafka_bootstrap_servers.count(",") == 2


#: librdkafka 2.16, CONFIGURATION.md: every property that is an alias of another
ALIASES = {
    "bootstrap.servers": "metadata.broker.list",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
    "linger.ms": "queue.buffering.max.ms",
    "retries": "message.send.max.retries",
    "compression.type": "compression.codec",
    "acks": "request.required.acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "enable.auto.commit": "auto.commit.enable",
}
#: what the client takes as a function or an object: as a string, each ended in a traceback
OBJECTS = (
    "stats_cb",
    "oauth_cb",
    "throttle_cb",
    "error_cb",
    "rebalance_cb",
    "background_event_cb",
    "ssl.certificate.verify_cb",
    "default.topic.config",
    "logger",
    "on_delivery",
    "on_commit",
    "opaque",
    "interceptors",
    "ssl_key",
)

WRONG = [
    ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:99999"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:²"),
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka://a:9092"),  # the client's URL
    ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,http://b:9092"),
    ("KAFKA_OPTIONS", f'{{"sasl.password": "{SECRET}"'),
    ("KAFKA_OPTIONS", f"sasl.password={SECRET}"),
    ("KAFKA_OPTIONS", f'["{SECRET}"]'),
    ("KAFKA_OPTIONS", f'{{"sasl.password": ["{SECRET}"]}}'),
    ("KAFKA_OPTIONS", '{"sasl.password": null}'),
    *[("KAFKA_OPTIONS", f'{{"{name}": "{SECRET}"}}') for name in (*sorted(OWN_PROPERTIES), *OBJECTS)],
    ("DATABASE_URL", f"mysql://me:{SECRET}@host/db"),
    ("DATABASE_URL", f"{SECRET}"),
    ("DATABASE_URL", f"postgresql://me:{SECRET}@host:port/db"),
    ("DATABASE_URL", f"postgresql://me:a/{SECRET}@host/db"),
    ("DATABASE_URL", f"postgresql://me:a#{SECRET}@host/db"),
    ("DATABASE_URL", f"postgresql://me:a?{SECRET}@host/db"),
    ("DATABASE_URL", f"postgresql://me:{SECRET}@host:70000/db"),
    ("RAW_TOPIC", "trials raw"),
    ("EVENTS_TOPIC", "a/b"),
    ("DEAD_LETTER_TOPIC", "x" * 250),
    *[
        (name, value)
        for name in ("GROUP_ID", "GROUP_INSTANCE_ID", "RELAY_ID", "EVENT_SOURCE")
        for value in (" ", "\t \u00a0", "a\nb", "a\r", "\x1b[2J", "a\x7f", "a\u0085b", "a\u2028b", "\udcff")
    ],
    ("GROUP_PROTOCOL", "eager"),
    ("SESSION_TIMEOUT_MS", "5"),
    ("UNKNOWN_RUN", "maybe"),
    ("MAX_REPORT_BYTES", "1 MiB"),
    ("BATCH_MAX_RECORDS", "0"),
    ("BATCH_MAX_WAIT_MS", "-1"),
    ("WRITERS", "99"),
    ("METRICS_PORT", "65536"),
    ("LOG_FORMAT", "xml"),
    ("LOG_LEVEL", "loud"),
    ("EVENTS_FORMAT", "avro"),  # without a registry
    ("GATEWAY_LISTEN", "8080"),
    ("GATEWAY_LISTEN", "::1:8080"),
    ("GATEWAY_LISTEN", "localhost:http"),
    ("GATEWAY_MAX_CONNECTIONS", "0"),
    ("GATEWAY_INFLIGHT_BYTES", "1048576"),  # less than one body
    ("MLFLOW_TRACKING_URI", f"http://user:{SECRET}@mlflow:5000"),
    ("MLFLOW_TRACKING_URI", "mlflow:5000"),
    ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
    ("MLFLOW_PARENT_RUNS", "sometimes"),
    ("MLFLOW_CONNECTIONS", "0"),
    ("MLFLOW_TIMEOUT_MS", "1"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_variable_is_named_and_its_value_is_not_told(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith("wrong settings: ")
    assert said.count(PREFIX + name) == 1
    assert SECRET not in said


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_of_a_property_that_is_refused_is_refused_too(alias: str, name: str) -> None:
    assert (alias in OWN_PROPERTIES) == (name in OWN_PROPERTIES)


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, WRITERS="many", LOG_LEVEL="loud", KAFKA_OPTIONS="{")
    assert [said.count(PREFIX + name) for name in ("WRITERS", "LOG_LEVEL", "KAFKA_OPTIONS")] == [1, 1, 1]


def test_options_that_are_no_json_are_refused_with_what_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PROCESSOR_KAFKA_OPTIONS: must be a JSON object" in refusal(
        monkeypatch, KAFKA_OPTIONS="security.protocol=SSL"
    )


@pytest.mark.parametrize("other", ["EVENTS_TOPIC", "DEAD_LETTER_TOPIC"])
def test_the_raw_topic_is_not_one_that_is_written_to(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PROCESSOR_RAW_TOPIC" in refusal(monkeypatch, **{other: "cerebros.trials.raw"})


def test_events_and_dead_letters_have_topics_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, EVENTS_TOPIC="one", DEAD_LETTER_TOPIC="one")
    assert "PROCESSOR_EVENTS_TOPIC and PROCESSOR_DEAD_LETTER_TOPIC are one topic" in said


@pytest.mark.parametrize("name", ["GROUP_ID", "GROUP_INSTANCE_ID", "RELAY_ID", "EVENT_SOURCE"])
def test_a_name_may_have_blanks_and_letters_of_any_language(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name, "поиск 搜索 3")
    assert getattr(load_settings(Settings), name.lower()) == "поиск 搜索 3"


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("BATCH_MAX_RECORD", "BATCH_MAX_RECORDS"),
        ("METRIC_PORT", "METRICS_PORT"),
        ("LOGLEVEL", "LOG_LEVEL"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(
    misspelt: str, meant: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "file":
        Path(".env").write_text(f"PROCESSOR_{misspelt}={SECRET}\n")
        said = refusal(monkeypatch)
    else:
        said = refusal(monkeypatch, **{misspelt: SECRET})
    assert said == f"wrong settings: PROCESSOR_{misspelt} is no setting, the nearest is PROCESSOR_{meant}"


@pytest.mark.parametrize("unlike", ["FOO", "X", "BATCH_SIZE"])
def test_a_variable_that_is_like_no_setting_is_refused_without_a_hint(
    unlike: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All begin with the prefix: by it the one for a secret was once called the nearest of them."""
    assert refusal(monkeypatch, **{unlike: SECRET}) == f"wrong settings: PROCESSOR_{unlike} is no setting"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROCESSOR_SERVICE_HOST", "10.0.0.1"),
        ("PROCESSOR_SERVICE_PORT", "9100"),
        ("PROCESSOR_SERVICE_PORT_METRICS", "9100"),
        ("PROCESSOR_PORT", "tcp://10.0.0.1:9100"),
        ("PROCESSOR_PORT_9100_TCP", "tcp://10.0.0.1:9100"),
        ("PROCESSOR_PORT_9100_TCP_ADDR", "10.0.0.1"),
        ("PROCESSOR_RELAY_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_what_kubernetes_sets_for_a_service_of_that_name_is_no_misspelt_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_settings(Settings)
    monkeypatch.setenv(name, value)
    assert expected == load_settings(Settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///db?host=/run/postgres",
        "postgres://me@[::1]/db",
        "postgresql://me:p%2F%40@[::1]:5432/db",
        "postgresql://me:p@one:5432,two:5433,three/db?target_session_attrs=read-write",
    ],
)
def test_every_kind_of_address_that_the_driver_takes_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_DATABASE_URL", url)
    assert url == load_settings(Settings).database_url.get_secret_value()


def test_no_secret_is_in_what_is_printed_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_DATABASE_URL", f"postgresql://me:{SECRET}@host/db")
    monkeypatch.setenv("PROCESSOR_KAFKA_OPTIONS", f'{{"sasl.password": "{SECRET}"}}')
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY_URL", f"http://me:{SECRET}@registry")
    settings = load_settings(Settings)
    assert SECRET in settings.database_url.get_secret_value()
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump(include={'database_url'})}"


def test_no_secret_is_in_what_is_said_where_settings_are_made_by_hand() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"kafka_options": f'{{"sasl.password": "{SECRET}"'})
    assert SECRET not in str(caught.value)


def test_a_dotenv_file_that_is_no_text_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes(b"PROCESSOR_GROUP_ID=\xff\xfe")
    assert ".env" in refusal(monkeypatch)


@pytest.mark.parametrize("url", ["foo", "http://host:abc", "ftp://host", "http://host:0", "http://"])
def test_a_registry_url_that_cannot_be_right_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY_URL", url)
    with pytest.raises(UsageError, match="PROCESSOR_SCHEMA_REGISTRY_URL: must be http"):
        load_settings(Settings)


@pytest.mark.parametrize("url", ["http://host", "https://me:secret@host:8081/path", "http://[::1]:8081"])
def test_a_registry_url_may_have_a_user_a_port_and_a_path(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY_URL", url)
    assert load_settings(Settings).schema_registry_url == url


def test_the_largest_record_is_sixteen_reports_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(IngestSettings).max_record_bytes is None
    monkeypatch.setenv("PROCESSOR_MAX_RECORD_BYTES", "5000000")
    assert load_settings(IngestSettings).max_record_bytes == 5_000_000
    assert "PROCESSOR_MAX_RECORD_BYTES" in refusal(monkeypatch, MAX_RECORD_BYTES="12")


def test_a_tracking_server_lets_us_in_by_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, MLFLOW_TOKEN=SECRET, MLFLOW_USERNAME="u")
    assert "PROCESSOR_MLFLOW_TOKEN and PROCESSOR_MLFLOW_USERNAME: one of them" in said


@pytest.mark.parametrize(
    ("experiment", "wanted", "parents"),
    [("cerebros/{run_id}", "auto", False), ("cerebros", "auto", True), ("cerebros", "never", False)],
)
def test_a_cerebros_run_is_a_parent_run_where_one_experiment_is_for_all(
    experiment: str, wanted: str, parents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSOR_MLFLOW_EXPERIMENT", experiment)
    monkeypatch.setenv("PROCESSOR_MLFLOW_PARENT_RUNS", wanted)
    assert load_settings(MlflowSettings).mlflow_parents is parents
