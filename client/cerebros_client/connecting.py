"""`connect`: a reporter made from a URL, or from what the environment says."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from cerebros_client.reporter import TrialReporter
from cerebros_client.transport import RAW_TOPIC, Target, shown

#: variable -> what it stands for; nothing else of the environment is read
VARIABLES = {
    "CEREBROS_URL": "where reports go: kafka://host:9092,host2:9092 or https://gateway",
    "CEREBROS_TOPIC": "the raw topic, with Kafka",
    "CEREBROS_SPOOL": "the folder of the spool",
    "CEREBROS_SPOOL_MAX_MIB": "the most that one process keeps there",
    "CEREBROS_TOKEN": "the gateway's token",
    "CEREBROS_KAFKA_OPTIONS": "JSON of librdkafka properties (TLS, SASL), with Kafka",
}


def connect(
    url: str | None = None,
    *,
    spool: str | os.PathLike[str] | None = None,
    token: str | None = None,
    options: Mapping[str, str | int | float | bool] | None = None,
    close_timeout_s: float | None = None,
) -> TrialReporter:
    """A reporter for `kafka://host:9092,host2:9092` or for the gateway at `http(s)://host`.

    What is not given comes from the environment: CEREBROS_URL, CEREBROS_TOPIC, CEREBROS_SPOOL, CEREBROS_TOKEN,
    CEREBROS_SPOOL_MAX_MIB, CEREBROS_KAFKA_OPTIONS. An empty variable is none.
    Raises `ValueError` where there is no URL, and where something makes no sense.
    """
    url = checked_url(url or os.environ.get("CEREBROS_URL"))
    return TrialReporter(
        url,
        topic=os.environ.get("CEREBROS_TOPIC") or RAW_TOPIC,
        options=_options() if options is None else options,
        token=token or os.environ.get("CEREBROS_TOKEN") or None,
        spool=spool or os.environ.get("CEREBROS_SPOOL") or None,
        spool_max_mib=_max_mib(),
        close_timeout_s=close_timeout_s,
    )


def target_of(url: str, token: str | None = None) -> Target:
    """Where `connect` would report to."""
    return Target(
        url=url.removeprefix("kafka://"),
        topic=os.environ.get("CEREBROS_TOPIC") or RAW_TOPIC,
        options=_options(),
        token=token or os.environ.get("CEREBROS_TOKEN") or None,
    )


def checked_url(url: str | None) -> str:
    if not url:
        raise ValueError("no URL: pass one, or set CEREBROS_URL, for example to kafka://localhost:9092")
    scheme, behind, rest = url.partition("://")
    if not behind or scheme not in ("kafka", "http", "https") or not rest.strip("/"):
        raise ValueError(f"the URL is {shown(url)!r}: it should look like kafka://localhost:9092 or https://gateway")
    if scheme == "kafka" and ("/" in rest or "@" in rest):
        raise ValueError(f"the URL is {shown(url)!r}: behind kafka:// there are only hosts and ports, as host:9092")
    return url


def _options() -> Mapping[str, Any]:
    said = os.environ.get("CEREBROS_KAFKA_OPTIONS")
    try:
        options = json.loads(said) if said else {}
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ValueError("CEREBROS_KAFKA_OPTIONS is no JSON object of librdkafka properties")
    return options


def _max_mib() -> int:
    said = os.environ.get("CEREBROS_SPOOL_MAX_MIB") or "1024"
    if not said.isdecimal() or not 1 <= int(said) <= 1024 * 1024:
        raise ValueError(f"CEREBROS_SPOOL_MAX_MIB is {said!r}: it should be a number of MiB, 1 to 1048576")
    return int(said)
