"""What a search calls when a trial has ended: one line a trial, and no report is lost.

import cerebros_client

with cerebros_client.connect("kafka://localhost:9092") as reporter:
    reporter.report("run-7", "trial-1", metrics={"accuracy": 0.97}, duration_ms=840)
"""

from cerebros_client.connecting import connect
from cerebros_client.errors import ClientError, Undelivered, UndeliveredError
from cerebros_client.reporter import TrialReporter
from cerebros_client.transport import RAW_TOPIC

__version__ = "0.1.0"

__all__ = ["RAW_TOPIC", "ClientError", "TrialReporter", "Undelivered", "UndeliveredError", "connect"]
