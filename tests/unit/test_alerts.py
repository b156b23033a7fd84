"""deploy/alerts.yml: metrics that there are, by labels that they have, and paragraphs that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from processor.core import metrics
from tests.unit.test_docs import anchors

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
NAMES = re.compile(r"\bprocessor_\w+")
#: what Prometheus itself puts beside the labels of a metric
TARGET = {"instance", "job"}


def labels_by_name() -> dict[str, set[str]]:
    """Of each series as it is scraped: a counter's ends with _total."""
    declared = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]
    return {
        one._name + ("_total" if isinstance(one, Counter) else ""): {str(label) for label in one._labelnames}
        for one in declared
    }


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_what_is_measured_and_leads_to_what_to_do(rule: dict[str, Any]) -> None:
    known, expression = labels_by_name(), rule["expr"]
    named = set(NAMES.findall(expression))
    assert named
    assert named <= known.keys()
    labels = TARGET.union(*(known[name] for name in named))
    grouped = {one.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for one in by.split(",")}
    matched = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    said = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert grouped | matched <= labels
    assert said <= grouped  # others are gone by the time that the sentence is made
    assert expression.count("(") == expression.count(")")
    assert rule["labels"]["severity"] in ("page", "ticket")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors((ROOT / page).read_text(encoding="utf-8"))


def test_each_alert_has_a_name_of_its_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_a_place_where_a_process_waits_pages_once() -> None:
    """`where` is told apart by three rules: each outage belongs to one of them."""
    asked = [re.search(r'where(=|!~)"([^"]*)"', rule["expr"]) for rule in RULES if "processor_outage{" in rule["expr"]]
    matches = [(found[1], found[2].split("|")) for found in asked if found]
    for where in metrics.OUTAGES_OF:
        assert [(where in names) is (how == "=") for how, names in matches].count(True) == 1
