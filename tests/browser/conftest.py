"""A real Chromium, the system's own, driven by Playwright; without one these tests are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.integration.test_dashboard_process import opened

__all__ = ["opened"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Fails instead of being skipped where TEST_BROWSER is `required`."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("TEST_BROWSER") == "required":
            pytest.fail("there is no Chromium, and TEST_BROWSER says that there has to be one", pytrace=False)
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        # a container's root has no sandbox to give
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=120_000)
        yield started
        started.close()
