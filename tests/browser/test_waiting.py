"""A page of many trials in a real browser: it is seen before it is there, with scripts and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, Browse
from tests.support.dashboards import dashboards
from tests.support.pages import fill, report, slowed


@pytest.mark.parametrize("scripts", [True, False])
def test_a_page_is_seen_before_it_is_there(browse: Browse, database_url: str, tmp_path: Path, scripts: bool) -> None:
    fill(
        database_url,
        [report("run", str(place), place, spectral_norm=place % 2 == 0) for place in range(40)],
        *slowed(1),
    )
    with dashboards(database_url, tmp_path) as opened:
        _, url = opened(PROCESSOR_DASHBOARD_TIMEOUT_MS="60000")

        def work(page: Page) -> None:
            page.goto(f"{url}/charts", wait_until="commit")
            waiting, heading = page.locator(".waiting"), page.locator("main h1")
            expect(waiting.locator("p")).to_be_visible(timeout=PATIENCE_MS)
            expect(page.get_by_role("link", name="Runs")).to_be_visible()
            assert heading.count() == 0
            expect(heading).to_be_visible(timeout=PATIENCE_MS)
            expect(waiting).to_be_hidden()
            assert page.title().startswith("Charts")
            expect(page.locator("figure").first).to_be_visible()

        browse(work, scripts=scripts)
