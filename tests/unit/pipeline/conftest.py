"""What every test of the pipeline begins with."""

from __future__ import annotations

import pytest

from processor.pipeline import lane as lane_module
from processor.pipeline import loop as loop_module
from processor.pipeline import writer as writer_module
from tests.unit.pipeline.fakes import World


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(loop_module, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(loop_module, "DECODE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(lane_module, "LOCKED_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "RETRY_FIRST_SECONDS", 0.002)
    monkeypatch.setattr(writer_module, "RETRY_MOST_SECONDS", 0.01)


@pytest.fixture
def world() -> World:
    return World()
