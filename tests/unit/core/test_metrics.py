"""What a process tells of itself before anything has happened."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.core import metrics
from processor.mlflow.ports import LinkState

#: labels whose values are known once something has happened, and a histogram, of which nobody asks whether it grew
OPEN = {
    "processor_records_gone",
    "processor_lag_records",
    "processor_gateway_requests",
    "processor_dashboard_requests",
    "processor_stage_seconds",
}
LOOK = "from prometheus_client import generate_latest; from processor.core.metrics import REGISTRY; " + (
    "print(generate_latest(REGISTRY).decode())"
)


@pytest.fixture(scope="module")
def fresh() -> dict[str, set[tuple[str, float]]]:
    """By metric the values of its label, and of the series, in a process that has done nothing yet."""
    found = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
    return {
        family.name: {("".join(one.labels.values()), one.value) for one in family.samples if "_created" not in one.name}
        for family in text_string_to_metric_families(found)
    }


def test_each_series_is_there_at_0_before_its_first_event(fresh: dict[str, set[tuple[str, float]]]) -> None:
    """`increase` says nothing of a series that begins with its first event."""
    labelled = {one._name for one in vars(metrics).values() if getattr(one, "_labelnames", ())}
    empty = {name for name in labelled if not fresh[name]}
    assert empty == OPEN
    for metric, values in metrics.KNOWN.items():
        assert fresh[metric._name] == {(str(value), 0.0) for value in values}


def test_each_link_state_that_is_told_has_a_series() -> None:
    told = {state.value for state in LinkState} - {"linked", "pending"}
    assert set(metrics.KNOWN[metrics.MLFLOW_TRIALS]) == told | {"written", "unchanged"}
