"""One look at a page in a Chromium that has seen nothing yet."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page
from playwright.sync_api import Error as PlaywrightError

from benchmarks.beside.contestants import Contestant, Mlflow, OptunaDashboard
from benchmarks.beside.filling import mlflow_id
from benchmarks.beside.views import LIST, View, counted, link, views

#: nobody waits longer
PATIENCE_S = 60.0
#: a page is at rest when nothing has come for so long; one that never is, is left after the second
QUIET_S, RESTLESS_S = 0.5, 5.0
#: what says why a page is not there
SAID_MS, SAID_CHARACTERS = 5000, 300
FLAGS = ["--no-sandbox"]
VIEWPORT: Any = {"width": 1400, "height": 900}


class Wire:
    """Requests and bytes of a page, as Chromium counts them: compressed, with their headers."""

    def __init__(self, session: CDPSession) -> None:
        self.requests, self.bytes, self.last = 0, 0, time.monotonic()
        session.on("Network.requestWillBeSent", self._asked)
        session.on("Network.dataReceived", self._came)
        session.on("Network.responseReceived", self._answered)
        session.send("Network.enable")

    def _asked(self, _: Any) -> None:
        self.requests, self.last = self.requests + 1, time.monotonic()

    def _answered(self, event: Any) -> None:
        """What has come by then are the headers."""
        self.bytes, self.last = self.bytes + int(event["response"]["encodedDataLength"]), time.monotonic()

    def _came(self, event: Any) -> None:
        self.bytes, self.last = self.bytes + int(event["encodedDataLength"]), time.monotonic()


def look(browser: Browser, at: Contestant, view: View) -> dict[str, Any]:
    """Milliseconds from navigation to the frame in which `view` is ready; without them why it is not, after 60 s."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    session = context.new_cdp_session(page)
    wire, before = Wire(session), at.cpu_seconds()
    found: dict[str, Any]
    try:
        ready_ms = _open(page, at.url + view.path, view.ready)
        _rest(page, wire)
        found = {"ready_ms": round(ready_ms, 1), "shown": int(page.evaluate(f"() => {view.shown}"))}
        found["heap_mb"] = _heap_mb(session)
    except PlaywrightError as error:
        found = {"ready_ms": None, "why": _why(page, error)}
    found |= {"requests": wire.requests, "kb": round(wire.bytes / 1000), "cpu_s": round(at.cpu_seconds() - before, 2)}
    found |= {"server_mib": at.memory_mib(), "alive": at.alive}
    with suppress(PlaywrightError):
        context.close()
    return found


def _open(page: Page, address: str, ready: str) -> float:
    began = time.monotonic()
    page.goto(address, wait_until="commit", timeout=PATIENCE_S * 1000)
    left = max(1.0, PATIENCE_S - (time.monotonic() - began))
    return wait_until(page, ready, left)


def wait_until(page: Page, ready: str, seconds: float) -> float:
    """Milliseconds since the page was navigated to."""
    text = f"() => ({ready}) && performance.now()"
    return float(page.wait_for_function(text, timeout=seconds * 1000, polling="raf").json_value())


def _rest(page: Page, wire: Wire) -> None:
    """Until nothing comes any more: what a page asks for after that which its reader wants counts as bytes and work."""
    began = time.monotonic()
    while time.monotonic() - wire.last < QUIET_S and time.monotonic() - began < RESTLESS_S:
        page.wait_for_timeout(100)
    page.wait_for_function("() => true", timeout=PATIENCE_S * 1000)  # it may be busy still


def _heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(round(session.send("Runtime.getHeapUsage")["usedSize"] / 1e6, 1))


def _why(page: Page, error: PlaywrightError) -> dict[str, str]:
    """What stands on the page instead, where it still says anything."""
    found = {"error": error.message.splitlines()[0][:SAID_CHARACTERS]}
    with suppress(PlaywrightError):
        found["page"] = " ".join(page.locator("body").inner_text(timeout=SAID_MS).split())[:SAID_CHARACTERS]
    return found


def watch(browser: Browser, at: Contestant, reps: int) -> dict[str, Any]:
    """Milliseconds from the commit of a trial to its row (Optuna Dashboard: to the count above the list), unasked.

    Where it does not come by itself the page is loaded anew, and that is what is timed: `reloaded`.
    """
    context = browser.new_context(viewport=VIEWPORT)
    page, view = context.new_page(), views(at)[LIST]
    try:
        _open(page, at.url + view.path, view.ready)
        page.wait_for_timeout(1000)
        return _times(page, at, reps)
    except PlaywrightError as error:
        return {"ms": [], "why": _why(page, error)}
    finally:
        with suppress(PlaywrightError):
            context.close()


def _times(page: Page, at: Contestant, reps: int) -> dict[str, Any]:
    taken: list[float] = []
    reloaded = False
    for _ in range(reps):
        trial = at.write()
        began = time.monotonic()
        came = link(trial.trial_id)
        if isinstance(at, OptunaDashboard):
            came = counted(trial.number + 1)
        elif isinstance(at, Mlflow):
            came = link(mlflow_id(trial.number))
        if not reloaded:
            try:
                wait_until(page, came, PATIENCE_S)
            except PlaywrightError:
                reloaded = True
        if reloaded:
            began = time.monotonic()
            page.reload(wait_until="commit")
            wait_until(page, came, PATIENCE_S)
        taken.append(round((time.monotonic() - began) * 1000, 1))
    return {"ms": taken, "reloaded": reloaded}
