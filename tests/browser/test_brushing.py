"""In a real browser: a band across a chart is a narrower filter in the address, by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page

from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.terms import Term, terms_of
from tests.browser.conftest import Browse
from tests.browser.test_live import listen, more, wait_on, wait_told
from tests.support.dashboards import Open
from tests.support.pages import fill, report
from tests.support.trials import START
from tests.unit.dashboard.test_brushes import HOSTILE

pytestmark = pytest.mark.timeout(400)
METRIC = 'metrics."accuracy"'
OPTIMIZERS = ("adam", "rmsprop", "sgd")


def trials(number: int = 40) -> list[dict[str, Any]]:
    """lr over powers of ten, units that are whole, a text; better with every trial."""
    return [
        report(
            "run", f"t{at:02}", at,
            metrics={"accuracy": 0.5 + at / 100},
            parameters={"lr": 1e-5 * 1.3**at, "units": 8 * (at + 1), "optimizer": OPTIMIZERS[at % 3], HOSTILE: at / 7},
            spectral_norm=at % 2 == 0,
        )
        for at in range(number)
    ]  # fmt: skip


def chart(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True).locator("svg.brushable")


def brush_of(page: Page, name: str, path: str) -> Locator:
    """The strip of an axis, in the middle of the window."""
    found = chart(page, name).locator(".brush").filter(has=page.locator(f"xpath=self::*[@data-path='{path}']"))
    found.wait_for()
    found.evaluate("element => element.scrollIntoView({ block: 'center', inline: 'center' })")
    return found


def box_of(found: Locator) -> dict[str, float]:
    box = found.bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


@contextmanager
def dragging(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> Iterator[None]:
    """The button is down meanwhile."""
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.locator("svg .brushed rect").wait_for()
    yield
    page.mouse.up()


def drag_along(page: Page, found: Locator, low: float, high: float) -> None:
    """Over a part of a vertical axis, from 0 at its foot to 1."""
    ends = pixels(found, low, high)
    with page.expect_navigation(), dragging(page, ends[0], ends[1]):
        pass


def pixels(found: Locator, *parts: float) -> list[tuple[float, float]]:
    box = box_of(found)
    x = box["x"] + box["width"] / 2
    height = box["height"] * 256 / 268  # the strip is 6 pixels longer than its axis at each end
    foot = box["y"] + box["height"] * 262 / 268
    return [(x, foot - part * height) for part in parts]


def filter_of(page: Page) -> list[Term]:
    return terms_of(parse(asked(page)["q"]))


def asked(page: Page) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(page.url).query).items()}


def shown(url: str, page: Page) -> list[dict[str, Any]]:
    """The trials of the page's address, asked for afresh and as JSON."""
    address = urlsplit(page.url)
    found: list[dict[str, Any]] = httpx.get(f"{url}/charts.json?{address.query}", timeout=60).json()["sample"]
    return found


def names_of(found: list[dict[str, Any]]) -> list[str]:
    return [one["trial_id"] for one in found]


def expected(keep: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [one["trial_id"] for one in trials() if keep(one["parameters"] | one["metrics"])]


def bounds(page: Page, path: str) -> dict[str, float]:
    """By sign."""
    return {one.sign: one.value for one in filter_of(page) if one.path == path and one.value is not None}


def both(page: Page, path: str) -> tuple[float, float]:
    found = bounds(page, path)
    assert found.keys() == {">=", "<="}
    return found[">="], found["<="]


def test_a_band_along_an_axis_leaves_the_trials_inside(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?by=cost&better=higher")
        drag_along(page, brush_of(page, "Parallel coordinates", 'parameters."lr"'), 0.3, 0.6)
        low, high = both(page, 'parameters."lr"')
        assert names_of(shown(url, page)) == expected(lambda one: low <= one["lr"] <= high)
        assert 0 < len(shown(url, page)) < 30
        # readable, and nothing else of the address is lost; what was drawn unasked is pinned
        assert len(asked(page)["q"]) < 60
        assert asked(page) | {"q": ""} == {
            "q": "", "by": "cost", "better": "higher", "metric": METRIC, "x": asked(page)["x"],
        }  # fmt: skip
        # a further one narrows further: whole numbers are bounded by whole numbers, in the picture as it is now
        drag_along(page, brush_of(page, "Parallel coordinates", 'parameters."units"'), 0.2, 0.7)
        least, most = both(page, 'parameters."units"')
        assert [least.is_integer(), most.is_integer()] == [True, True]
        inside = expected(lambda one: low <= one["lr"] <= high and least <= one["units"] <= most)
        assert names_of(shown(url, page)) == inside != []
        lines = chart(page, "Parallel coordinates").locator("polyline").count()
        page.reload()
        assert chart(page, "Parallel coordinates").locator("polyline").count() == lines == len(inside)
        # one on the same axis takes the place of the one before
        drag_along(page, brush_of(page, "Parallel coordinates", 'parameters."units"'), 0.4, 0.6)
        assert both(page, 'parameters."units"') != (least, most)
        assert len(filter_of(page)) == 4
        page.go_back()
        page.wait_for_url(lambda found: "units" in found)
        assert names_of(shown(url, page)) == inside

    browse(work)


def test_texts_are_chosen_by_a_band_and_hostile_names_are_names(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?q=units+%3E+40+or+optimizer+%3D+sgd")
        # from the top: adam, rmsprop, sgd
        drag_along(page, brush_of(page, "Parallel coordinates", 'parameters."optimizer"'), 0.4, 0.9)
        assert [one.text for one in filter_of(page)] == [
            '("units" > 40 or "optimizer" = "sgd")',
            'parameters."optimizer" in ("adam", "rmsprop")',
        ]
        assert names_of(shown(url, page)) == expected(lambda one: one["units"] > 40 and one["optimizer"] != "sgd")
        odd = page.locator("svg .brush[data-path*=script]").last
        odd.evaluate("element => element.scrollIntoView({ block: 'center' })")
        drag_along(page, odd, 0.5, 1.5)
        (term,) = [one for one in filter_of(page) if one.sign == ">="]
        low = term.value or 0.0
        inside = expected(lambda one: one["units"] > 40 and one["optimizer"] != "sgd" and one[HOSTILE] >= low)
        assert names_of(shown(url, page)) == inside != []

    browse(work)


def test_a_rectangle_is_a_range_of_either_axis(opened: Open, browse: Browse, database_url: str) -> None:
    failed = report("run", "failed", 90, status="failed", metrics={"accuracy": 0.7}, parameters={"lr": 0.001})
    fill(database_url, [*trials(), failed])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?x=lr")
        plot = chart(page, "Metric over a parameter").locator(".plot")
        plot.evaluate("element => element.scrollIntoView({ block: 'center' })")
        box = box_of(plot)
        at = [(box["x"] + box["width"] * part, box["y"] + box["height"] * part) for part in (0.35, 0.65)]
        with page.expect_navigation(), dragging(page, *at):
            pass
        (left, right), (foot, top) = both(page, 'parameters."lr"'), both(page, METRIC)
        assert 'status = "succeeded"' in [one.text for one in filter_of(page)]
        held = expected(lambda one: left <= one["lr"] <= right and foot <= one["accuracy"] <= top)
        assert names_of(shown(url, page)) == held != []
        assert chart(page, "Metric over a parameter").locator("circle.dot").count() == len(held)
        # a mark that is only clicked on is still a link to its trial
        mark = chart(page, "Metric over a parameter").locator("circle.dot").nth(1)
        mark.click(force=True)
        page.wait_for_url(f"**/runs/run/trials/{held[1]}")

    browse(work)


def test_a_finger_along_the_time_is_a_range_of_time(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        hand = page.context.new_cdp_session(page)
        hand.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        page.goto(f"{url}/charts?by=time")
        box = box_of(brush_of(page, "Best so far", "inserted_at"))
        y = box["y"] + box["height"] / 2
        places = [{"x": box["x"] + box["width"] * part, "y": y} for part in (0.3, 0.4, 0.5, 0.6)]
        hand.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:1]})
        for place in places[1:]:
            hand.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
        page.locator("svg .brushed rect").wait_for()
        with page.expect_navigation():
            hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        first, last = both(page, "inserted_at")
        minutes = [START.timestamp() + 60 * at for at in range(40)]
        held = [f"t{at:02}" for at, moment in enumerate(minutes) if first <= moment <= last]
        assert names_of(shown(url, page)) == held
        assert 8 < len(held) < 16

    browse(work)


def test_a_band_over_the_failures_is_the_time_of_their_trials(opened: Open, browse: Browse, database_url: str) -> None:
    states = ("succeeded", "failed", "succeeded")
    fill(database_url, [one | {"status": states[at % 3]} for at, one in enumerate(trials())])
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts")
        box = box_of(brush_of(page, "Failures", "inserted_at"))
        y = box["y"] - 40  # across the marks, where only the time can be narrowed
        begin, end = (box["x"] + box["width"] * part for part in (0.25, 0.5))
        with page.expect_navigation(), dragging(page, (begin, y), (end, y + 2)):
            assert "time first seen" in str(page.locator("svg .brushed text").text_content())
        first, last = both(page, "inserted_at")
        assert {one.path for one in filter_of(page)} == {"inserted_at"}
        seen = [f"t{at:02}" for at in range(40) if first <= START.timestamp() + 60 * at <= last]
        assert names_of(shown(url, page)) == seen
        assert 7 < len(seen) < 14

    browse(work)


def test_by_keyboard_an_axis_is_reached_moved_and_applied(opened: Open, browse: Browse, database_url: str) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts")
        page.locator("html.brushing").wait_for()
        page.get_by_role("region", name="Spread", exact=True).focus()
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert str(focused.get_attribute("aria-label")).startswith("narrow by accuracy: arrow keys move")
        assert focused.evaluate("element => getComputedStyle(element).strokeWidth") == "3px"
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        said = focused.get_attribute("aria-valuetext")
        page.keyboard.press("Shift+ArrowLeft")
        assert focused.get_attribute("aria-valuetext") != said
        page.keyboard.press("Escape")
        assert focused.get_attribute("aria-valuetext") == "all"
        assert (page.locator(".brushed").count(), page.url) == (0, f"{url}/charts")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=*")
        (low,) = bounds(page, METRIC).values()  # the upper one was left where the axis ends
        assert names_of(shown(url, page)) == expected(lambda one: one["accuracy"] >= low)
        # the way back is a link: one condition, or all
        page.get_by_role("link", name="all trials", exact=True).click()
        page.wait_for_url(lambda found: "q=" not in found)
        assert len(shown(url, page)) == 40

    browse(work)


def top_of(page: Page, name: str) -> float:
    return float(page.get_by_role("region", name=name, exact=True).evaluate("one => one.getBoundingClientRect().top"))


def test_the_page_of_a_brush_opens_where_the_one_before_was_left(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts")
        page.locator("html.brushing").wait_for()
        axis = brush_of(page, "Metric over a parameter", METRIC)
        axis.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        before = top_of(page, "Metric over a parameter")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=*")
        wait_on(page, lambda: page.evaluate("document.activeElement.dataset.path") == METRIC, "the axis has no focus")
        assert abs(top_of(page, "Metric over a parameter") - before) < 2
        # by pointer across the marks: what had no focus has none
        before = top_of(page, "Metric over a parameter")
        box = box_of(chart(page, "Metric over a parameter").locator(".plot"))
        at = [(box["x"] + part * box["width"], box["y"] + part * box["height"]) for part in (0.2, 0.8)]
        page.evaluate("document.activeElement.blur()")
        with page.expect_navigation(), dragging(page, at[0], at[1]):
            pass
        wait_on(page, lambda: abs(top_of(page, "Metric over a parameter") - before) < 2, "the page is elsewhere")
        # another way to the same page begins at its top
        page.goto(page.url)
        assert page.evaluate("scrollY") == 0

    browse(work)


def test_escape_and_a_click_beside_marks_leave_everything_as_it_was(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?x=lr")
        axis = brush_of(page, "Metric over a parameter", METRIC)
        begin, end = pixels(axis, 0.2, 0.8)
        with dragging(page, begin, end):
            page.keyboard.press("Escape")
            assert page.locator("svg .brushed").count() == 0
        page.mouse.click(*begin)
        # a drag that ends on a mark is no click on it
        mark = chart(page, "Metric over a parameter").locator("circle.dot").nth(20)
        box = box_of(mark)
        there = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        with dragging(page, (there[0] - 40, there[1] - 30), there):
            page.keyboard.press("Escape")
        page.wait_for_timeout(200)
        assert page.url == f"{url}/charts?x=lr"
        assert page.locator("html[data-held]").count() == 0

    browse(work)


def test_what_comes_meanwhile_takes_no_brush_away_and_can_be_brushed(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?x=lr&metric=accuracy")
        listen(page)
        axis = brush_of(page, "Parallel coordinates", 'parameters."units"')
        lines = chart(page, "Parallel coordinates").locator("polyline")
        begin, end = pixels(axis, 0.3, 0.6)
        with dragging(page, begin, end):
            told = page.evaluate("window.told")
            more(database_url, "came")
            wait_told(page, told)
            page.wait_for_timeout(1500)  # in which the page would have been asked for, and changed
            assert (page.locator("svg .brushed rect").count(), lines.count()) == (1, 40)
            page.keyboard.press("Escape")
        # then it is shown, and the chart that it is in can be brushed as before
        lines.nth(40).wait_for(state="attached")
        drag_along(page, axis, 0.3, 0.6)
        least, most = both(page, 'parameters."units"')
        assert names_of(shown(url, page)) == expected(lambda one: least <= one["units"] <= most)

    browse(work)


def test_a_filter_that_finds_nothing_says_the_way_back_also_without_scripts(
    opened: Open, browse: Browse, database_url: str
) -> None:
    fill(database_url, trials())
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/charts?q=lr+%3E+5+and+units+%3C+100&by=time")
        assert "No trial is like that" in page.inner_text("main")
        page.get_by_role("link", name='without "lr" > 5', exact=True).click()
        page.wait_for_url(lambda found: "lr" not in found)
        assert asked(page) == {"q": '"units" < 100', "by": "time"}
        assert page.locator(".brush-how").is_hidden()
        assert page.locator("svg .brush").first.is_hidden()
        page.get_by_role("link", name="all trials", exact=True).click()
        page.wait_for_url("**/charts?by=time")

    browse(work, scripts=False)


#: bounds as they are written: none inward of its value, none farther from it than its grain (and a double's own)
OUTWARD = """async () => {
  const { outward } = await import("/static/bounds.js");
  const bad = [];
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let at = 0; at < 5000; at += 1) {
    const value = (random() - 0.5) * 10 ** Math.round((random() - 0.5) * 600);
    const grain = Math.abs(value) * 10 ** ((random() - 0.7) * 12);
    for (const up of [true, false]) {
      const text = outward(value, grain, up);
      const found = Number(text);
      const inward = up ? found < value : found > value;
      const far = Math.abs(found - value) > grain * 1.01 + Math.abs(value) * 1e-15;
      if (inward || far || text.length > 26) bad.push([value, grain, up, text]);
    }
  }
  const texts = [[0.0123456, 1e-4, false], [0.0123456, 1e-4, true], [128, 1, true], [-3.14159, 0.01, false],
    [1.7976931348623157e308, 1e306, true], [0.004, 1, false], [-0.004, 1, false], [1e-5, 1e-8, true],
    [1e21, 1e20, false], [9.99, 0.18, false], [9.99, 0.18, true]]
    .map(([value, grain, up]) => outward(value, grain, up));
  return { bad, texts };
}"""


def test_bounds_are_written_outward_and_short(opened: Open, browse: Browse) -> None:
    _, url = opened()

    def work(page: Page) -> None:
        page.goto(f"{url}/static/bounds.js")
        found = page.evaluate(OUTWARD)
        assert found["bad"] == []
        assert found["texts"] == [
            "0.0123",
            "0.0124",
            "128",
            "-3.15",
            "1.8e308",
            "0",
            "-1",
            "0.00001",
            "1e21",
            "9.9",
            "10",
        ]
        for text in found["texts"]:
            parse(f"x >= {text}")

    browse(work)
