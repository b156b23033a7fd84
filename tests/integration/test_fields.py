"""The one table of fields is what the database and the schemas have."""

from __future__ import annotations

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.fields import COMPLETE_NAMES, FAILED_NAMES, FIELDS, ID_NAMES, NAMES, Field
from processor.decode.rules import KINDS
from processor.store.session import Session

CATALOGUE = Catalogue.load()
COLUMNS = """
select attname, format_type(atttypid, null) as type from pg_attribute
where attrelid = 'cerebros_model_trials'::regclass and attnum > 0 and not attisdropped
"""
GUARD = "select prosrc from pg_proc where proname = 'cerebros_model_trials_forget_digest'"


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_field_has_its_column_its_rule_and_its_place_in_the_schemas(field: Field, store: Session) -> None:
    rows = store.run(lambda connection: connection.fetch(COLUMNS))
    assert {row["attname"]: row["type"] for row in rows}[field.name] == field.type
    assert field.rule in KINDS
    assert field.name in CATALOGUE.fields("trial_report")


def test_a_change_of_any_field_by_another_program_makes_the_next_report_compare_content(store: Session) -> None:
    [row] = store.run(lambda connection: connection.fetch(GUARD))
    compared = (*NAMES, "bridge_payload")
    missing = [
        f"{side}.{name}" for side in ("new", "old") for name in compared if f"{side}.{name}" not in row["prosrc"]
    ]
    assert missing == []


def test_the_table_has_every_field_of_the_latest_report_and_every_field_that_an_event_hands_on() -> None:
    assert {*NAMES, *ID_NAMES} == set(CATALOGUE.fields("trial_report"))
    own = {"event", "model_run_id", "trial_id", "status", "revision"}
    assert {*COMPLETE_NAMES, *own} == set(CATALOGUE.fields("ml.trial.complete"))
    assert {*FAILED_NAMES, *own, "error_message", "error_type"} == set(CATALOGUE.fields("ml.trial.failed"))
