"""Every metric of the processor, declared once. A test checks that the documentation lists each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from processor.core.fields import ID_NAMES, LIFE, TRIAL
from processor.core.messages import Destination, Reason
from processor.core.verdict import VERDICTS

REGISTRY = CollectorRegistry()

_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_SIZE_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)

RECORDS = Counter("processor_records", "Kafka records read", registry=REGISTRY)
UNREADABLE_HEADERS = Counter(
    "processor_unreadable_headers", "records whose headers can't be read and are not kept", registry=REGISTRY
)
RECORDS_GONE = Counter(
    "processor_records_gone", "records that Kafka deleted before they were read", ["partition"], registry=REGISTRY
)
TOPICS_MADE_ANEW = Counter(
    "processor_topics_made_anew",
    "times that the raw topic was made anew and read from its beginning",
    registry=REGISTRY,
)
TIMESTAMPS_AHEAD = Counter(
    "processor_timestamps_ahead", "records whose timestamp is minutes ahead of this machine's clock", registry=REGISTRY
)
REPORTS = Counter("processor_reports", "reports by what the database did with them", ["result"], registry=REGISTRY)
REJECTIONS = Counter("processor_rejections", "reports rejected, by reason", ["reason"], registry=REGISTRY)
BENT_FIELDS = Counter("processor_bent_fields", "fields that normalisation had to change", ["field"], registry=REGISTRY)
EVENTS = Counter("processor_events_stored", "events put into the outbox", registry=REGISTRY)
BATCH_REPORTS = Histogram(
    "processor_batch_reports", "reports in one transaction", buckets=_SIZE_BUCKETS, registry=REGISTRY
)
STAGE_SECONDS = Histogram(
    "processor_stage_seconds",
    "time by stage: poll, decode, write, commit, backpressure",
    ["stage"],
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
LATENCY_SECONDS = Histogram(
    "processor_latency_seconds",
    "from a record's timestamp to its commit in the database",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
LAG = Gauge("processor_lag_records", "records not yet read and written", ["partition"], registry=REGISTRY)
ASSIGNED = Gauge("processor_assigned_partitions", "partitions this process reads", registry=REGISTRY)
OUTAGES = Counter("processor_outages", "times that writing or publishing had to wait", ["where"], registry=REGISTRY)
OUTAGE = Gauge(
    "processor_outage", "writers (or the relay) that wait for a server that is down", ["where"], registry=REGISTRY
)
SET_ASIDE = Gauge(
    "processor_set_aside_reports", "reports that wait because somebody else holds their run locked", registry=REGISTRY
)
LAST_ERROR = Gauge("processor_last_error_timestamp_seconds", "when the last error happened", registry=REGISTRY)
PUBLISHED = Counter("processor_published", "messages published", ["destination"], registry=REGISTRY)
PUBLISH_SECONDS = Histogram(
    "processor_publish_seconds",
    "one Kafka transaction of the relay",
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
PARKED_MESSAGES = Gauge("processor_parked_messages", "messages parked at the moment", registry=REGISTRY)
PARKED = Counter("processor_parked", "messages that the broker will not take", registry=REGISTRY)
OUTBOX_MESSAGES = Gauge("processor_outbox_messages", "messages waiting in the outbox", registry=REGISTRY)
OUTBOX_AGE = Gauge("processor_outbox_age_seconds", "age of the oldest waiting message", registry=REGISTRY)
RELAY_ACTIVE = Gauge("processor_relay_active", "1 where this relay publishes, 0 on standby", registry=REGISTRY)
MLFLOW_TRIALS = Counter(
    "processor_mlflow_trials", "revisions mirrored into MLflow, by what became of them", ["result"], registry=REGISTRY
)
MLFLOW_RUNS = Counter(
    "processor_mlflow_runs", "MLflow runs made, found again, superseded, deleted", ["what"], registry=REGISTRY
)
MLFLOW_BENT = Counter(
    "processor_mlflow_bent", "names and values that MLflow can't hold as they came", registry=REGISTRY
)
MLFLOW_UNREADABLE = Counter(
    "processor_mlflow_unreadable", "records of the events topic that are no event", registry=REGISTRY
)
MLFLOW_BATCH_SECONDS = Histogram(
    "processor_mlflow_batch_seconds",
    "one batch of events, from the first request to MLflow to the last",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
MLFLOW_LATENCY_SECONDS = Histogram(
    "processor_mlflow_latency_seconds",
    "from a report's record timestamp to its run in MLflow; the first event of each batch",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
MLFLOW_DOUBTFUL = Gauge(
    "processor_mlflow_doubtful_links", "links that are to be looked at again for runs made twice", registry=REGISTRY
)
REDRIVES = Counter("processor_redrives", "dead letters redriven, by result", ["result"], registry=REGISTRY)

GATEWAY_REQUESTS = Counter(
    "processor_gateway_requests", "HTTP requests answered, by path and status", ["path", "status"], registry=REGISTRY
)
GATEWAY_REPORTS = Counter(
    "processor_gateway_reports", "reports that came over HTTP, by what became of them", ["result"], registry=REGISTRY
)
GATEWAY_SECONDS = Histogram(
    "processor_gateway_request_seconds",
    "from a request's head to the end of its answer",
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
GATEWAY_CONNECTIONS = Gauge("processor_gateway_connections", "open HTTP connections", registry=REGISTRY)
GATEWAY_CLOSED = Counter(
    "processor_gateway_connections_closed", "connections closed unasked, by cause", ["cause"], registry=REGISTRY
)
GATEWAY_INFLIGHT = Gauge(
    "processor_gateway_inflight_bytes", "bytes of bodies being read, judged or sent", registry=REGISTRY
)
GATEWAY_UNCONFIRMED = Gauge(
    "processor_gateway_outage",
    "1 where Kafka has not confirmed in time, or not answered, and has not answered since",
    registry=REGISTRY,
)

DASHBOARD_REQUESTS = Counter(
    "processor_dashboard_requests", "pages answered, by page and status", ["path", "status"], registry=REGISTRY
)
DASHBOARD_SECONDS = Histogram(
    "processor_dashboard_request_seconds",
    "from a request's head to the end of its answer",
    buckets=_STAGE_BUCKETS,
    registry=REGISTRY,
)
DASHBOARD_CONNECTIONS = Gauge("processor_dashboard_connections", "open HTTP connections", registry=REGISTRY)
DASHBOARD_CLOSED = Counter(
    "processor_dashboard_connections_closed", "connections closed unasked, by cause", ["cause"], registry=REGISTRY
)
DASHBOARD_WATCHING = Gauge("processor_dashboard_watching", "pages that are watched for changes", registry=REGISTRY)
DASHBOARD_EXPORTS = Gauge("processor_dashboard_exports", "exports that are being read", registry=REGISTRY)

_CLOSED = ("full", "refused", "head_timeout", "idle", "timeout", "unread")
#: servers and partitions that a process may have to wait for
OUTAGES_OF = (
    "start",
    "database",
    "database_refusals",
    "schema_registry",
    "kafka",
    "raw_topic",
    "kafka_fetch",
    "stalled",
    "relay",
    "mlflow",
)
#: the values that labels may have, where that is known: a series that only began with its first event would have grown
#: by nothing in the eyes of `increase`, and an alert would be silent about it
KNOWN: Mapping[Counter | Gauge, Iterable[str]] = {
    REPORTS: VERDICTS,
    REJECTIONS: tuple(Reason),
    BENT_FIELDS: sorted({*ID_NAMES, *(field.name for kind in (TRIAL, *LIFE) for field in kind.fields)}),
    OUTAGES: OUTAGES_OF,
    OUTAGE: OUTAGES_OF,
    PUBLISHED: tuple(Destination),
    MLFLOW_TRIALS: (
        "written",
        "unchanged",
        "missing",
        "deleted",
        "foreign",
        "malformed",
        "refused",
        "forbidden",
        "failing",
    ),
    MLFLOW_RUNS: ("made", "found", "superseded", "deleted"),
    REDRIVES: ("resolved", "failed_again"),
    GATEWAY_REPORTS: ("accepted", "rejected", "unconfirmed"),
    GATEWAY_CLOSED: _CLOSED,
    DASHBOARD_CLOSED: _CLOSED,
}
for _metric, _values in KNOWN.items():
    for _value in _values:
        _metric.labels(_value)
