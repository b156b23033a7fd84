"""Settings -> the parts that processes and commands are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from processor.contracts.catalogue import Catalogue
from processor.contracts.registry import SchemaRegistry
from processor.core.settings import DatabaseSettings, DecodeSettings, PipelineSettings, SchemaSettings
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.store.migrations import check_migrated
from processor.store.session import Session
from processor.store.trials import TrialStore

#: writers look rows up by key, whatever the planner thinks of tables that were empty when it made the plan
BY_KEY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


def open_session(settings: DatabaseSettings, application: str, session: Mapping[str, str] = {}) -> Session:
    return Session(
        settings.database_url.get_secret_value(),
        timeout_ms=settings.database_timeout_ms,
        application=application,
        session=session,
    )


@contextmanager
def open_migrated(settings: DatabaseSettings, application: str) -> Iterator[Session]:
    """A session on a database that is up to date; raises `SetupError` where it is not."""
    with open_session(settings, application) as session:
        check_migrated(session)
        yield session


def make_registry(settings: SchemaSettings) -> SchemaRegistry | None:
    """The schema registry, where one is set."""
    return SchemaRegistry(settings.schema_registry_url) if settings.schema_registry_url else None


def make_decoder(settings: DecodeSettings, catalogue: Catalogue) -> Decoder:
    registry = make_registry(settings)
    return Decoder(
        catalogue,
        max_report_bytes=settings.max_report_bytes,
        max_record_bytes=settings.max_record_bytes,
        writer_schemas=registry.writer_schema if registry else None,
    )


def make_event_writer(settings: PipelineSettings, catalogue: Catalogue) -> EventWriter:
    registry = make_registry(settings)
    if settings.events_format == "avro" and registry is not None:
        encode = registry.body_encoder(catalogue, settings.events_topic)
        return EventWriter(encode=encode, content_type="application/avro")
    return EventWriter()


def open_sink(settings: PipelineSettings, event_writer: EventWriter, application: str) -> TrialStore:
    session = open_session(settings, application, BY_KEY)
    create_runs, most_refused = settings.unknown_run == "create", settings.database_refusals_share
    return TrialStore(session, event_writer, create_runs=create_runs, most_refused=most_refused)
