"""In a real browser as narrow as a telephone's: what a row and a column are stays in sight."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Browse
from tests.support.dashboards import Open
from tests.support.pages import fill, report

pytestmark = pytest.mark.timeout(400)
#: the table is scrolled to its end; then whether a cell's middle is seen, and not below another
SCROLL = "box => { box.scrollTo(box.scrollWidth, box.scrollHeight); box.scrollIntoView(); }"
SEEN = (
    "cell => { const at = cell.getBoundingClientRect(); const x = at.x + at.width / 2, y = at.y + at.height / 2; "
    "return cell.contains(document.elementFromPoint(x, y)); }"
)


def test_ids_and_headings_stay_in_sight_wherever_a_table_is_scrolled_to(
    opened: Open, browse: Browse, database_url: str
) -> None:
    metrics = {f"metric_number_{number}": number for number in range(9)}
    fill(database_url, [report(f"run-{at}", "x" * at + "t", at, metrics={**metrics, "a": at}) for at in range(60)])
    _, url = opened()

    def work(page: Page) -> None:
        page.set_viewport_size({"width": 360, "height": 640})
        for path in ("/", "/trials"):
            page.goto(url + path)
            box = page.locator(".scroll:has(> table)").first
            box.evaluate(SCROLL)
            assert box.evaluate("box => box.scrollLeft > 0 && box.scrollTop > 0")
            assert page.locator("tbody th").last.evaluate(SEEN)
            assert page.locator("thead th").last.evaluate(SEEN)
            # the heading of the ids is above them, and not below another
            named = "Run" if path == "/" else "Trial"
            assert page.locator("thead th", has_text=named).first.evaluate(SEEN)
            assert page.evaluate("document.documentElement.scrollWidth") == 360

    browse(work)


def test_a_long_name_in_a_form_does_not_make_the_page_wider(opened: Open, browse: Browse, database_url: str) -> None:
    metrics = {"validation_accuracy_of_the_first_of_all_layers": 0.5}
    fill(database_url, [report("run", f"t{at}", at, metrics=metrics, parameters={"n" * 60: at}) for at in range(3)])
    _, url = opened()

    def work(page: Page) -> None:
        page.set_viewport_size({"width": 360, "height": 640})
        for path in ("/charts", "/compare", "/trials"):
            page.goto(url + path)
            assert page.evaluate("document.documentElement.scrollWidth") == 360

    browse(work)
