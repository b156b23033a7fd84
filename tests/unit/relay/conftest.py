"""The relay's waits, made short."""

from __future__ import annotations

from functools import partial

import pytest

from processor.core.times import Backoff
from processor.relay import relay as relay_module


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "Backoff", partial(Backoff, 0.0001, 0.001))
    monkeypatch.setattr(relay_module, "STANDBY_SECONDS", 0.0001)
