"""On paper, by a real browser: dark ink on white, what was opened, and nothing that is only there to be clicked on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import Browse
from tests.support.dashboards import Open
from tests.support.pages import fill
from tests.support.trials import fill_tables

pytestmark = pytest.mark.timeout(400)
#: inside of the margins of a sheet of A4, upright, in CSS pixels
SHEET: ViewportSize = {"width": 703, "height": 1000}
INK = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
WIDEST = "Math.max(...[...document.querySelectorAll('main svg.chart')].map(one => one.getBoundingClientRect().right))"
STACK = "update cerebros_model_trials set status = 'failed', stacktrace = 'line 1' where trial_id = 't005'"


def sheets(page: Page) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))


def test_what_is_printed_is_what_is_read(opened: Open, browse: Browse, database_url: str) -> None:
    fill_tables(database_url)
    fill(database_url, [], STACK)
    _, url = opened()

    def work(page: Page) -> None:
        page.set_viewport_size(SHEET)
        page.goto(f"{url}/charts?metric=accuracy&x=lr")
        tables = page.locator("main details", has=page.locator("table"))
        tables.first.locator("summary").click()
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(INK) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
        assert page.locator("nav, form, button, input").filter(visible=True).count() == 0
        shown = [tables.nth(place).is_visible() for place in range(tables.count())]
        assert shown == [True] + [False] * (tables.count() - 1)
        assert page.locator("main svg.chart").filter(visible=True).count() >= 3
        assert page.evaluate(WIDEST) <= SHEET["width"]
        page.goto(f"{url}/runs/run-2/trials/t005")
        assert page.get_by_text("line 1").is_visible()
        assert page.get_by_text("times are UTC").is_visible()
        # a page of its own orientation has its head and foot on the same sheet, and a filter is told without its form
        page.goto(f"{url}/runs/run-2?q=lr+%3C+30&limit=5")
        assert page.get_by_text("lr < 30").is_visible()
        assert sheets(page) == 2
        page.goto(f"{url}/")
        assert sheets(page) == 1
        page.goto(f"{url}/compare?q=lr+%3C+30")
        assert page.get_by_text("lr < 30").is_visible()
        page.goto(f"{url}/charts?q=lr+%3C+30")
        assert page.locator(".narrowed code").is_visible()
        assert page.get_by_role("link", name="without").filter(visible=True).count() == 0
        page.emulate_media(media="screen")
        page.goto(f"{url}/compare?q=lr+%3C+30")
        assert page.locator(".paper").filter(visible=True).count() == 0

    browse(work)
