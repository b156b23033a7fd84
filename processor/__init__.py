"""Stream processor for Cerebros trial reports: Kafka -> Postgres rows -> exactly-once events."""

__version__ = "0.1.0"
