"""In a real browser: what is new appears by itself, and nothing that the reader holds is taken away by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Route

from tests.browser.conftest import PATIENCE_MS, Browse
from tests.support.dashboards import Open
from tests.support.pages import fill, report
from tests.support.proxy import Proxy, through

pytestmark = pytest.mark.timeout(400)
#: counts what the server tells, beside the page's own script
LISTEN = "new EventSource('/changes').addEventListener('changed', () => { window.told = (window.told ?? 0) + 1 })"
SELECT = (
    "element => { const range = document.createRange(); range.selectNodeContents(element); "
    "document.getSelection().removeAllRanges(); document.getSelection().addRange(range); }"
)


def more(url: str, *names: str) -> None:
    """In a thread: that of the page has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(fill, url, [report("run", name, 1000 + at) for at, name in enumerate(names)]).result()


def wait_for(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.wait_for(state="attached")


def wait_on(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Asked from here, as the pages' policy lets no text become a script."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(50)


def wait_told(page: Page, before: int) -> None:
    """Until the server has told more often."""
    wait_on(page, lambda: page.evaluate("window.told ?? 0") > before, "the server tells nothing")


def listen(page: Page) -> None:
    """To what the server tells the page, from the first word on."""
    page.locator("#pause").wait_for()
    page.evaluate(LISTEN)
    wait_told(page, 0)


def test_new_trials_appear_and_what_the_reader_holds_stays(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, metrics={"accuracy": at / 100}) for at in range(60)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/runs/run")
        # a filter that is half typed, a list that was opened, a link that has the focus, a place on the page
        page.fill("form.filter input[name=q]", "accuracy > ")
        page.locator("main details summary").first.click()
        page.get_by_role("link", name="t40", exact=True).first.focus()
        page.evaluate("document.activeElement.dataset.mine = 'yes'")
        assert page.evaluate("(window.scrollTo(0, 300), window.scrollY)") > 0
        more(database_url, "came")
        wait_for(page, "came")
        assert page.input_value("form.filter input[name=q]") == "accuracy > "
        assert page.locator("main details").first.get_attribute("open") is not None
        # an attribute that only this element has: it is the same one, not another like it
        held = page.evaluate("[document.activeElement.textContent, document.activeElement.getAttribute('href')]")
        assert held == ["t40", "/runs/run/trials/t40"]
        assert page.evaluate("window.scrollY") > 0
        # once each: none was shown twice by being put in place
        names = page.locator("h2 ~ * tbody th a, .scroll tbody th a").all_inner_texts()
        assert len(names) == len(set(names)) == 50

    browse(work)


def test_what_is_ticked_stays_while_trials_come_and_is_shown_side_by_side(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, metrics={"accuracy": at / 100}) for at in range(12)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/runs/run")
        for at in range(7):
            page.get_by_label(f"Side by side: t{at:02}").check()
        more(database_url, "came")
        wait_for(page, "came")
        boxes = page.locator("input[form=beside]")
        assert boxes.evaluate_all("all => all.filter(one => one.checked).map(one => one.value)") == [
            f"run/t{at:02}" for at in reversed(range(7))
        ]
        page.get_by_label("Side by side: came").check()
        # no more than have room
        assert page.locator("input[form=beside]:disabled").count() == 5
        page.get_by_role("button", name="Side by side").click()
        page.locator("table.beside").wait_for()
        assert page.locator("thead th.trial > a").all_inner_texts() == [
            "came",
            *(f"t{at:02}" for at in range(6, -1, -1)),
        ]

    browse(work)


def test_while_a_text_is_selected_nothing_moves(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/trials")
        listen(page)
        page.get_by_role("link", name="t00", exact=True).evaluate(SELECT)
        told = page.evaluate("window.told")
        more(database_url, "came")
        wait_told(page, told)
        assert page.evaluate("document.getSelection().toString()") == "t00"
        page.evaluate("document.getSelection().removeAllRanges()")
        wait_for(page, "came")

    browse(work)


def test_an_outage_is_a_banner_and_goes_by_itself(
    opened: Open, browse: Browse, database_url: str, proxy: Proxy
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened(**through(proxy, database_url))

    def work(page: Page) -> None:
        page.goto(f"{url}/trials")
        banner = page.locator("p[role=status]")
        page.locator("#pause").wait_for()
        proxy.refuse()
        proxy.cut()
        banner.wait_for(state="visible")
        assert "does not answer" in banner.inner_text()
        assert page.get_by_role("link", name="t00", exact=True).count() == 1
        more(database_url, "came")
        proxy.restore()
        wait_for(page, "came")
        banner.wait_for(state="hidden")

    browse(work)


def test_an_answer_from_before_an_outage_takes_its_banner_not_away(
    opened: Open, browse: Browse, database_url: str, proxy: Proxy
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened(**through(proxy, database_url))

    def work(page: Page) -> None:
        held: list[tuple[Route, APIResponse]] = []

        def hold(route: Route) -> None:
            if "x-version" in route.request.headers and not held:
                held.append((route, route.fetch()))
            else:
                route.continue_()

        page.route("**/trials", hold)
        page.goto(f"{url}/trials")
        wait_on(page, lambda: bool(held), "the page is not asked for again")
        banner = page.locator("p[role=status]")
        proxy.refuse()
        proxy.cut()
        banner.wait_for(state="visible")
        (route, answer), *_ = held
        assert answer.status == 200
        with page.expect_request_finished(lambda request: "x-version" in request.headers):
            route.fulfill(response=answer)
        page.evaluate("new Promise((done) => setTimeout(done))")  # what waits for the answer goes on before this does
        assert "The database does not answer" in banner.inner_text()
        proxy.restore()
        banner.wait_for(state="hidden")

    browse(work)


def test_who_stops_it_sees_what_was_until_it_is_wanted_again(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, parameters={"lr": at}) for at in range(5)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/trials")
        page.locator("#pause").click()
        page.reload()
        asked: list[Any] = []
        page.on("request", lambda request: asked.append(request.url) if "x-version" in request.headers else None)
        page.evaluate(LISTEN)
        wait_told(page, 0)
        told = page.evaluate("window.told")
        more(database_url, "came")
        wait_told(page, told)
        assert asked == []
        page.locator("#pause").click()
        wait_for(page, "came")
        # a comparison for one look is not looked at again
        page.goto(f"{url}/compare")
        assert page.locator("#pause").count() == 0
        page.goto(f"{url}/charts?x=lr")
        page.locator("svg circle.dot").nth(2).click(force=True)
        page.wait_for_url("**/runs/run/trials/*")

    browse(work)


def test_after_the_last_news_a_page_asks_once_more_as_an_answer_may_have_been_held(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        versions: list[str] = []
        page.on("request", lambda request: versions.append(request.headers.get("x-version", "")))
        page.goto(f"{url}/trials")
        wait_on(page, lambda: any(versions.count(one) > 1 for one in versions if one), "no version is asked for twice")

    browse(work)


def test_every_page_works_without_scripts(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, parameters={"lr": at}) for at in range(60)])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/runs/run")
        page.get_by_role("link", name="Charts of this run").click()
        page.wait_for_url("**/charts?q=*")
        assert page.locator("svg.chart").count() >= 3
        page.goto(f"{url}/trials")
        page.fill("form.filter input[name=q]", "lr < 3")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=lr*")
        assert page.locator("tbody tr").count() == 3

    browse(work, scripts=False)
