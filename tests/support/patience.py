"""How long tests wait for what must come, on a machine of any speed.

A deadline here ends a test that hangs, it measures nothing: a test that passes never waits for one. `TEST_PATIENCE=1`
holds each promise of a time (a successor writes within ten seconds) to the letter, on a machine that is idle.
"""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("TEST_PATIENCE", "4"))


def patient(seconds: float) -> float:
    """The seconds that an idle machine needs at most, as seconds for a busy one."""
    return seconds * PATIENCE
