"""In a real browser: forms say what is new like the rest of the page, and keep what somebody has typed or chosen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Page

from processor.dashboard.asked import MOST_COLUMNS
from tests.browser.conftest import Browse
from tests.browser.test_live import listen, wait_for, wait_on, wait_told
from tests.support.dashboards import Open
from tests.support.pages import fill, report

pytestmark = pytest.mark.timeout(400)
FOCUSED = "document.activeElement.id"
OPENED = "document.querySelector('select:open')?.id ?? ''"


def add(url: str, *reports: dict[str, Any]) -> None:
    """In a thread: that of the page has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(fill, url, list(reports)).result()


def trial(place: int, metrics: dict[str, float], **parameters: float) -> dict[str, Any]:
    return report("run", f"t{place:02}", place, metrics=metrics, parameters=parameters)


def offered(page: Page, name: str) -> list[str]:
    return page.locator(f"#{name} option").all_inner_texts()


def boxes(page: Page) -> dict[str, bool]:
    """What the form of the columns offers, and whether it is ticked."""
    found = "all => Object.fromEntries(all.map(one => [one.value, one.checked]))"
    return dict(page.locator("form.columns input[type=checkbox]").evaluate_all(found))


def test_a_form_that_nobody_has_touched_offers_and_names_what_came(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?q=run_id%20%3D%20run")
        page.locator("#pause").wait_for()
        assert page.input_value("#metric") == page.input_value("#x") == ""
        add(database_url, *(trial(at, {"accuracy": at / 10}, lr=at) for at in range(5)))
        page.locator("svg.chart").first.wait_for()
        wait_on(page, lambda: page.input_value("#metric") != "", "the form names no metric")
        assert "accuracy" in offered(page, "metric")
        assert offered(page, "x")[0] == "lr"
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_url("**metric=metrics.%22accuracy%22*")
        assert "over lr" in page.locator("h2").all_inner_texts()[2]

    browse(work)


def test_what_is_typed_chosen_or_open_in_a_form_stays_while_more_is_offered(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [trial(at, {"accuracy": at / 10, "loss": at / 5}, lr=at) for at in range(5)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts")
        listen(page)
        page.select_option("#metric", label="loss")
        page.select_option("#better", "lower")
        page.fill("#q", "accuracy > ")
        page.locator("#metric").focus()
        # comes before the others: it is in more trials
        add(database_url, *(trial(5 + at, {"f1": at / 10, "loss": 1}, depth=at, lr=at) for at in range(20)))
        wait_on(page, lambda: "f1" in offered(page, "metric") and "depth" in offered(page, "x"), "nothing came")
        assert page.locator("#metric option:checked").inner_text() == "loss"
        assert page.input_value("#better") == "lower"
        assert page.input_value("#q") == "accuracy > "
        assert page.evaluate(FOCUSED) == "metric"
        # a list that is open is not changed below the pointer
        page.locator("#x").click()
        assert page.evaluate(OPENED) == "x"
        told, before = page.evaluate("window.told"), offered(page, "x")
        add(database_url, trial(60, {"loss": 1}, width=3))
        wait_told(page, told)
        page.wait_for_timeout(1500)
        assert offered(page, "x") == before
        page.keyboard.press("Escape")
        wait_on(page, lambda: "width" in offered(page, "x"), "what came meanwhile is not offered")

    browse(work)


def test_columns_that_come_are_offered_beside_those_that_are_being_chosen(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [trial(at, {"accuracy": at / 10}, lr=at) for at in range(5)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/runs/run")
        page.locator("#pause").wait_for()
        page.locator("summary", has_text="Columns").click()
        before = boxes(page)
        page.locator("form.columns input[value=revision]").check()
        page.locator("form.columns input[value='metrics.\"accuracy\"']").uncheck()
        add(database_url, *(trial(10 + at, {"accuracy": 1, "alpha": at}, lr=0, depth=at) for at in range(20)))
        wait_for(page, "t12")
        chosen = {"revision": True, 'metrics."accuracy"': False}
        # the new ones are shown, and so ticked: nobody has touched them; names that were slow are held for a while
        came = {'metrics."alpha"': True, 'parameters."depth"': True}
        wait_on(page, lambda: boxes(page).keys() >= came.keys(), "what came is not offered")
        assert boxes(page) == {**before, **chosen, **came}
        assert page.locator("form.columns").is_visible()
        page.get_by_role("button", name="Show these").click()
        page.wait_for_url("**columns=*")
        heads = " ".join(page.locator("thead th").all_inner_texts())
        assert "alpha" in heads
        assert "Revision" in heads
        assert "accuracy" not in heads

    browse(work)


def test_a_list_that_comes_takes_nothing_from_those_beside_it(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/compare?validity=always")
        page.locator("#pause").wait_for()
        page.select_option("#better", "lower")
        page.select_option("#defaulted", "out")
        assert page.locator("#reference").count() == 0
        add(database_url, *({**trial(at, {"loss": at}, lr=at), "spectral_norm": at % 2 == 0} for at in range(20)))
        page.locator("#reference").wait_for()
        assert [page.input_value(f"#{name}") for name in ("better", "validity", "defaulted")] == [
            "lower",
            "always",
            "out",
        ]

    browse(work)


def test_no_more_columns_can_be_ticked_than_a_page_has(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [trial(at, {f"m{number:03}": number for number in range(200)}) for at in range(3)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/trials")
        page.locator("#pause").wait_for()
        page.locator("summary", has_text="Columns").click()
        box = "form.columns input[type=checkbox]"
        while page.locator(f"{box}:not(:checked):enabled").count():
            page.locator(f"{box}:not(:checked):enabled").first.check()
        assert page.locator(f"{box}:checked").count() == MOST_COLUMNS
        page.locator(f"{box}:checked").first.uncheck()
        assert page.locator(f"{box}:enabled").count() > 200
        page.locator(f"{box}:not(:checked)").last.check()
        page.get_by_role("button", name="Show these").click()
        page.wait_for_url("**columns=*")
        assert page.locator("thead th").count() == MOST_COLUMNS + 4

    browse(work)
