"""The client and the real gateway: what is reported over HTTP is a row, what is refused is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cerebros_client import UndeliveredError, connect

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.local.files import free_ports
from tests.support.ledger import check_ledger
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.settle import rows, wait_settled


@pytest.fixture
def url(start: Callable[..., Process], settings: Settings) -> str:
    port = free_ports(1)[0]
    start("gateway", PROCESSOR_GATEWAY_LISTEN=f"127.0.0.1:{port}")
    return f"http://127.0.0.1:{port}"


def test_reports_over_http_are_rows(
    url: str, settings: Settings, start: Callable[..., Process], tmp_path: Path
) -> None:
    """More than one request's worth, and the first ones wait in the spool until the gateway is there."""
    with connect(url, spool=tmp_path / "spool", close_timeout_s=patient(30)) as reporter:
        for number in range(450):
            reporter.report("run", number, metrics={"accuracy": number / 1000})
        reporter.flush(patient(30))
    assert list((tmp_path / "spool").iterdir()) == []
    start("ingest"), start("relay")
    wait_until(lambda: rows(settings) >= 450, "the rows are there")
    wait_settled(settings)
    check_ledger(settings)


def test_what_the_gateway_refuses_is_told_and_stops_none_behind_it(url: str, settings: Settings) -> None:
    reporter = connect(url, close_timeout_s=patient(30))
    reporter.report("run", "before")
    reporter.send("run", "bad", json.dumps({"run_id": "run", "trial_id": "bad", "status": "exploded"}).encode())
    reporter.report("run", "behind")
    with pytest.raises(UndeliveredError, match=r"^1 trial .*run/bad: refused: unknown_status"):
        reporter.close()
    sent = [json.loads(record.value or b"")["trial_id"] for record in read_topic(settings, settings.raw_topic)]
    assert sorted(sent) == ["before", "behind"]


def test_a_report_that_is_sent_late_keeps_its_time(url: str, settings: Settings) -> None:
    """Else one that is sent again after a lost answer would pass for newer than its trial's next."""
    with connect(url, close_timeout_s=patient(30)) as reporter:
        reporter.send("run", "late", b'{"run_id": "run", "trial_id": "late"}', timestamp_ms=1_700_000_000_000)
    [record] = read_topic(settings, settings.raw_topic)
    assert record.timestamp_ms == 1_700_000_000_000
