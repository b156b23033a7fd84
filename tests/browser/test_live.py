"""In a real browser: what is new appears by itself, and nothing that the reader holds is taken away by it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.test_dashboard_process import Open
from tests.support.pages import fill as fill_tables
from tests.support.pages import report
from tests.support.proxy import Proxy, through

#: a machine that does much else at the same time
PATIENCE_MS = 90_000
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, on which nothing may go wrong."""
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
    yield opened
    context.close()
    assert problems == []


def fill(url: str, reports: list[dict[str, Any]]) -> None:
    """In a thread: this one has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(fill_tables, url, reports).result()


def more(url: str, *names: str) -> None:
    fill(url, [report("run", name, 1000 + at) for at, name in enumerate(names)])


def test_new_trials_appear_and_what_the_reader_holds_stays(opened: Open, page: Page, database_url: str) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, metrics={"accuracy": at / 100}) for at in range(60)])
    _, url = opened()
    page.goto(f"{url}/runs/run")
    # a filter that is half typed, a list that was opened, a link that has the focus, a row that is looked at
    page.fill("form.filter input[name=q]", "accuracy > ")
    page.locator("main details summary").first.click()
    link = page.get_by_role("link", name="t40", exact=True)
    link.focus()
    page.evaluate("document.activeElement.dataset.mine = 'yes'")
    page.evaluate("document.querySelector('main svg.chart').dataset.mine = 'yes'")
    scrolled = page.evaluate("(window.scrollTo(0, 300), window.scrollY)")
    assert scrolled > 0
    more(database_url, "came")
    page.get_by_role("link", name="came", exact=True).wait_for(state="attached")
    assert page.input_value("form.filter input[name=q]") == "accuracy > "
    assert page.locator("main details").first.get_attribute("open") is not None
    assert page.evaluate("[document.activeElement.textContent, document.activeElement.dataset.mine]") == ["t40", "yes"]
    # the picture is the same element, with another line in it
    assert page.evaluate("document.querySelector('main svg.chart').dataset.mine ?? 'made anew'") in ("yes", "made anew")
    assert page.evaluate("window.scrollY") > 0
    assert page.locator("tbody tr").count() == len({*page.locator("tbody tr th a").all_inner_texts()})


def test_while_a_text_is_selected_nothing_changes_and_afterwards_it_does(
    opened: Open, page: Page, database_url: str
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()
    page.goto(f"{url}/trials")
    page.locator("footer #pause").wait_for()
    select = "element => { const range = document.createRange(); range.selectNodeContents(element); "
    select += "document.getSelection().removeAllRanges(); document.getSelection().addRange(range); }"
    page.get_by_role("link", name="t00", exact=True).evaluate(select)
    with page.expect_response(lambda answer: answer.url.endswith("/changes")):
        page.evaluate(
            "new EventSource('/changes').addEventListener('changed', () => { window.told = (window.told ?? 0) + 1 })"
        )
    page.wait_for_function("window.told >= 1")
    told = page.evaluate("window.told")
    more(database_url, "came")
    page.wait_for_function(f"window.told > {told}")
    assert page.evaluate("document.getSelection().toString()") == "t00"
    assert page.get_by_role("link", name="came", exact=True).count() == 0
    page.evaluate("document.getSelection().removeAllRanges()")
    page.get_by_role("link", name="came", exact=True).wait_for(state="attached")


def test_an_outage_is_a_banner_and_goes_by_itself(opened: Open, page: Page, database_url: str, proxy: Proxy) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened(**through(proxy, database_url))
    page.goto(f"{url}/trials")
    banner = page.locator("p[role=status]")
    page.locator("footer #pause").wait_for()
    proxy.refuse()
    proxy.cut()
    banner.wait_for(state="visible")
    assert "does not answer" in banner.inner_text()
    assert page.get_by_role("link", name="t00", exact=True).count() == 1
    more(database_url, "came")
    proxy.restore()
    page.get_by_role("link", name="came", exact=True).wait_for(state="attached")
    banner.wait_for(state="hidden")


def test_who_stops_it_sees_what_was_until_it_is_wanted_again(opened: Open, page: Page, database_url: str) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()
    page.goto(f"{url}/trials")
    page.locator("#pause").click()
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.url) if "x-version" in request.headers else None)
    page.evaluate(
        "new EventSource('/changes').addEventListener('changed', () => { window.told = (window.told ?? 0) + 1 })"
    )
    page.wait_for_function("window.told >= 1")
    told = page.evaluate("window.told")
    more(database_url, "came")
    page.wait_for_function(f"window.told > {told}")
    assert asked == []
    page.locator("#pause").click()
    page.get_by_role("link", name="came", exact=True).wait_for(state="attached")
    page.reload()
    assert page.locator("#pause").inner_text() == "Stop showing what is new"


def test_a_comparison_for_one_look_stays_as_it_is_and_a_mark_leads_to_its_trial(
    opened: Open, page: Page, database_url: str
) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, parameters={"lr": at}) for at in range(5)])
    _, url = opened()
    page.goto(f"{url}/compare")
    assert page.locator("#pause").count() == 0
    page.goto(f"{url}/charts?x=lr")
    page.locator("svg circle.dot").nth(2).click()
    page.wait_for_url("**/runs/run/trials/t02")


def test_every_page_works_without_scripts(opened: Open, browser: Browser, database_url: str) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, parameters={"lr": at}) for at in range(60)])
    _, url = opened()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/runs/run", timeout=PATIENCE_MS)
    page.get_by_role("link", name="Charts of this run").click(timeout=PATIENCE_MS)
    assert page.locator("svg.chart").count() >= 3
    page.goto(f"{url}/trials", timeout=PATIENCE_MS)
    page.fill("form.filter input[name=q]", "lr < 3")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=lr*", timeout=PATIENCE_MS)
    assert page.locator("tbody tr").count() == 3
    context.close()
