"""The Chromium of this machine."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of the first in PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)
