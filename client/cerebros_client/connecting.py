"""`connect`: a reporter made from a URL, or from what the environment says."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from cerebros_client.reporter import RAW_TOPIC, TrialReporter


def connect(url: str | None = None, *, spool: str | Path | None = None, token: str | None = None) -> TrialReporter:
    """A reporter for `kafka://host:9092,host2:9092`.

    What is not given comes from CEREBROS_URL, CEREBROS_TOPIC, CEREBROS_SPOOL and CEREBROS_TOKEN.
    Raises `ValueError` where there is no URL, or one that it can't use.
    """
    url = url or os.environ.get("CEREBROS_URL")
    if not url:
        raise ValueError("no URL: pass one to connect, or set CEREBROS_URL (kafka://localhost:9092)")
    parts = urlsplit(url)
    if parts.scheme != "kafka" or not parts.netloc:
        raise ValueError(f"the URL is {url!r}: it should look like kafka://localhost:9092")
    return TrialReporter(parts.netloc, topic=os.environ.get("CEREBROS_TOPIC") or RAW_TOPIC)
