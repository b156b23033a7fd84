"""`processor run` starts what is configured, and no door that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest

from processor.service.together import commands_of
from tests.conftest import settings_of

GATEWAY = {"PROCESSOR_GATEWAY_LISTEN": "127.0.0.1:1"}
DASHBOARD = {"PROCESSOR_DASHBOARD_LISTEN": "127.0.0.1:2"}


@pytest.mark.parametrize(
    ("given", "doors"),
    [
        ({}, []),
        (GATEWAY, ["gateway"]),
        (DASHBOARD, ["dashboard"]),
        ({**GATEWAY, **DASHBOARD}, ["gateway", "dashboard"]),
    ],
)
def test_a_door_is_opened_where_somebody_has_said_at_which_address(given: dict[str, Any], doors: list[str]) -> None:
    assert commands_of(settings_of(given)) == ["ingest", "relay", *doors]
