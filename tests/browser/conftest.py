"""A real Chromium, the system's own, driven by Playwright; without one these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.support.chromium import find_chromium

#: a machine that does much else at the same time
PATIENCE_MS = 90_000
Browse = Callable[..., None]


@pytest.fixture
def browse() -> Browse:
    """Calls what it is given with a page, on which nothing may go wrong. In a thread: Playwright keeps an event loop.

    Fails instead of being skipped where TEST_BROWSER is `required`.
    """
    program = find_chromium()
    if program is None:
        if os.environ.get("TEST_BROWSER") == "required":
            pytest.fail("there is no Chromium, and TEST_BROWSER says that there has to be one", pytrace=False)
        pytest.skip("there is no Chromium")

    def run(work: Callable[[Page], None], *, scripts: bool = True) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_run, program, work, scripts).result()

    return run


def _run(program: str, work: Callable[[Page], None], scripts: bool) -> None:
    problems: list[str] = []
    with sync_playwright() as playwright:
        # a container's root has no sandbox to give
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=PATIENCE_MS)
        context = browser.new_context(viewport={"width": 1000, "height": 700}, java_script_enabled=scripts)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        work(page)
        browser.close()
    assert problems == []
