"""In a real browser: a page that is not told what is new says so and why, and takes up no more than it needs."""

from __future__ import annotations

import socket
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page

from processor.dashboard.changes import MOST
from tests.browser.conftest import Browse
from tests.browser.test_live import more, wait_for, wait_on
from tests.support.dashboards import Open
from tests.support.pages import fill, report
from tests.support.proxy import Proxy, through

pytestmark = pytest.mark.timeout(400)
#: scripts before those of the page: browsers that have no shared worker, can't start it, or have lost it
SPOILT = {
    "there is none": "delete window.SharedWorker",
    "it does not start": "const Was = SharedWorker; window.SharedWorker = class extends Was { "
    "constructor(url) { super(`${url}&nothing`.replace('shared', 'nothing')); } }",
    "it answers no more": "window.SharedWorker = class extends EventTarget { port = new MessageChannel().port1; }",
}


def turn(page: Page, *, hidden: bool) -> None:
    """As if the reader went to another tab, or came back."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true }); "
        "document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def chosen(page: Page, metric: str) -> bool:
    return page.input_value("#metric") == metric


def left_of(found: Locator) -> float:
    return float(found.evaluate("one => one.getBoundingClientRect().left"))


def watching(url: str) -> int:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return int(
        float(next(line.split()[1] for line in text.splitlines() if line.startswith("processor_dashboard_watching ")))
    )


def test_a_page_that_is_not_seen_holds_no_connection_and_catches_up(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        # more pages than a browser keeps connections to a server
        tabs = [page, *(page.context.new_page() for _ in range(7))]
        for tab in tabs:
            tab.goto(f"{url}/trials")
            tab.locator("#pause").wait_for()
            wait_on(tab, lambda: watching(url) == 1, "the page is not watched")
            turn(tab, hidden=True)
            wait_on(tab, lambda: watching(url) == 0, "a page that is hidden is watched")
        more(database_url, "came")
        assert page.get_by_role("link", name="came", exact=True).count() == 0
        turn(page, hidden=False)
        wait_for(page, "came")

    browse(work)


def test_eight_windows_that_are_seen_share_one_stream(opened: Open, browse: Browse, database_url: str) -> None:
    """Also once the first of them are closed."""
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        tabs = [page, *(page.context.new_page() for _ in range(7))]
        for tab in tabs:
            tab.goto(f"{url}/trials")
            tab.locator("#pause").wait_for()
        wait_on(page, lambda: watching(url) == 1, "they do not share a stream")
        more(database_url, "came")
        for tab in tabs:
            wait_for(tab, "came")
        for tab in tabs[:5]:
            tab.close()
        more(database_url, "later")
        for tab in tabs[5:]:
            wait_for(tab, "later")
        assert watching(url) == 1
        for tab in tabs[5:]:
            turn(tab, hidden=True)
        wait_on(tabs[7], lambda: watching(url) == 0, "nobody is seen, and a stream is held")

    browse(work)


def test_a_stream_whose_holder_died_is_held_anew_and_shared(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        tabs = [page, page.context.new_page()]
        for tab in tabs:
            tab.goto(f"{url}/trials")
            tab.locator("#pause").wait_for()
        wait_on(page, lambda: watching(url) == 1, "they do not share a stream")
        assert page.context.browser is not None
        debugger = page.context.browser.new_browser_cdp_session()
        (holder,) = [one for one in debugger.send("Target.getTargets")["targetInfos"] if one["type"] == "shared_worker"]
        debugger.send("Target.closeTarget", {"targetId": holder["targetId"]})
        wait_on(page, lambda: watching(url) == 0, "the holder lives")
        wait_on(page, lambda: watching(url) == 1, "nobody holds the stream")
        more(database_url, "came")
        for tab in tabs:
            wait_for(tab, "came")
        assert watching(url) == 1

    browse(work)


@pytest.mark.parametrize("way", ["there is none", "it does not start", "it answers no more"])
def test_without_a_shared_stream_a_page_has_one_of_its_own(
    opened: Open, browse: Browse, database_url: str, way: str
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        page.add_init_script(SPOILT[way])
        page.goto(f"{url}/trials")
        page.locator("#pause").wait_for()
        wait_on(page, lambda: watching(url) == 1, "it is not watched")
        more(database_url, "came")
        wait_for(page, "came")

    browse(work)


def test_a_page_that_is_one_too_many_to_be_watched_says_so(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()
    where = urlsplit(url)
    held: list[socket.socket] = []
    try:
        for _ in range(MOST):
            held.append(socket.create_connection((where.hostname, where.port), timeout=60))
            held[-1].sendall(f"GET /changes HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
            assert held[-1].recv(12) == b"HTTP/1.1 200"

        def work(page: Page) -> None:
            page.goto(f"{url}/trials")
            banner = page.locator("p[role=status]")
            banner.wait_for(state="visible")
            wait_on(page, lambda: f"{MOST} pages are being watched" in banner.inner_text(), "it does not say why")
            assert "what is shown is what it was" in banner.inner_text()

        browse(work)
    finally:
        for one in held:
            one.close()


def test_what_a_proxy_answers_for_a_dashboard_that_is_away_is_told(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, [report("run", "t00")])
    _, url = opened()

    def work(page: Page) -> None:
        banner = page.locator("p[role=status]")
        # what a worker asks for can't be answered from here
        page.add_init_script(SPOILT["there is none"])
        for name, part in (("first", "**/changes"), ("second", "**/trials")):
            page.goto(f"{url}/trials")
            page.locator("#pause").wait_for()
            # of the page itself: the answer to what is asked for behind the first
            page.route(part, lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad</h1>"))
            if part == "**/changes":
                page.reload()
            more(database_url, name)
            banner.wait_for(state="visible")
            wait_on(page, lambda: "answers 502" in banner.inner_text(), "it does not say what is wrong")
            assert left_of(banner) == left_of(page.locator("h1"))
            page.unroute(part)
            if part == "**/trials":
                wait_for(page, name)
                banner.wait_for(state="hidden")

    browse(work)


def test_a_page_that_could_not_be_shown_is_whole_once_it_can(
    opened: Open, browse: Browse, database_url: str, proxy: Proxy
) -> None:
    fill(database_url, [report("run", f"t{at:02}", at, metrics={"accuracy": at / 100}) for at in range(20)])
    _, url = opened(**through(proxy, database_url))

    def work(page: Page) -> None:
        proxy.refuse()
        proxy.cut()
        page.goto(f"{url}/charts")
        assert page.locator("h1").inner_text() == "Not now"
        banner = page.locator("p[role=status]")
        banner.wait_for(state="visible")
        assert "what is shown" not in banner.inner_text()
        proxy.restore()
        page.locator("svg.chart").first.wait_for()
        sheets = "[...document.styleSheets].map((one) => new URL(one.href).pathname)"
        wait_on(page, lambda: "/static/charts.css" in page.evaluate(sheets), "the charts have no style")

    browse(work)


def test_after_going_back_a_form_names_what_is_drawn(opened: Open, browse: Browse, database_url: str) -> None:
    metrics = {"accuracy": 0.5, "loss": 0.1}
    fill(database_url, [report("run", f"t{at}", at, metrics=metrics, parameters={"lr": at}) for at in range(5)])
    _, url = opened()

    def work(page: Page) -> None:
        for path, button in (("charts", "Draw"), ("compare", "Compare")):
            page.goto(f"{url}/{path}")
            before = page.input_value("#metric")
            other = page.locator("#metric option:not(:checked)").first.get_attribute("value")
            page.select_option("#metric", other)
            page.select_option("#better", "lower")
            page.get_by_role("button", name=button, exact=True).click()
            page.wait_for_url("**metric=*")
            page.go_back()
            page.wait_for_url(f"{url}/{path}")
            wait_on(page, partial(chosen, page, before), "the form names another metric")
            assert page.input_value("#better") == ""
        page.goto(f"{url}/runs/run")
        page.locator("summary", has_text="Columns").click()
        box = page.locator("form.columns input[type=checkbox]").first
        ticked = box.is_checked()
        box.click()
        page.get_by_role("button", name="Show these").click()
        page.wait_for_url("**/runs/run?**")
        page.go_back()
        page.wait_for_url(f"{url}/runs/run")
        wait_on(page, lambda: box.is_checked() == ticked, "the boxes are not the columns that are shown")

    browse(work)
