"""The dashboard as who uses it meets it: a real process over HTTP, and in a real Chromium.

    python -m benchmarks.pages [--rows 10000000] [--largest 1000000] [--reps 20] [--streams 200] [--name N]

Pages are asked for one after the other: the first answer, in which nothing is held yet, p50 and p95 of those behind it
(what is dear is held for seconds), bytes of the page and of the files it needs, memory of the process. Those by a
metric or a parameter are asked for first as they are, then all with an index of these (`processor dashboard-index`).
In Chromium (skipped where there is none): the first paint, which of a page that begins before it is there is its head
and a line that it is being read; when the whole page was there; the heap. Live: from the commit of a row to its link on
the page. Then so many streams, each of which asks for its page again whenever something is new, as a browser does: the
transactions of the database beside those for one. Then SIGTERM with 50 streams open. Machines differ by more than what
is wanted, so there is a yardstick: two questions by hand, one for the medians of the arms in SQL, one for the values
that a notebook would need.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg
import httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import RESULTS, circumstances, open_stack
from benchmarks.contestants import ask
from benchmarks.dashboard import CHOSEN, LARGE, NEWEST, SIZES, add_paths, fill, quantiles
from processor.dashboard.pages.app import FILES
from processor.local.files import free_ports
from processor.store.migrations import migrate
from processor.store.session import Session
from tests.support.chromium import find_chromium

#: what is wanted of each page, and of the comparison of a million trials
WANTED_MS, WANTED_COMPARISON_MS = 300, 2000
TIMEOUT_S = 120.0
#: a page whose first answer takes longer is asked for a fifth as often
SLOW_MS = 1000
LIVE_TRIALS = 40
#: between two of them, of no fixed length: the looks of the dashboard for news are a fixed time apart
LIVE_PAUSE_S = (0.3, 1.1)
#: asked at each frame: a locator of Playwright waits for up to half a second between two looks
SHOWN = "name => [...document.querySelectorAll('main a')].some(link => link.textContent === name)"
WATCH_SECONDS, WATCH_COMMITS = 12.0, 10
SIGTERM_STREAMS = 50
INSERT = (
    "insert into cerebros_model_trials (model_run_id, trial_id, status, metrics, parameters, spectral_norm, "
    "schema_version, revision, source_topic, source_partition, source_offset) "
    "select id, '{name}', 'succeeded', '{{\"accuracy\": 0.5}}', '{{}}', true, 3, 1, 'raw', 0, {offset} "
    "from cerebros_model_runs where run_id = '{run}'"
)


#: what somebody without these pages would ask for the comparison of a run
BY_HAND = {
    "medians in SQL": (
        "select spectral_norm, count(value), avg(value), stddev(value), "
        "percentile_cont(0.5) within group (order by value) "
        "from (select spectral_norm, (metrics->>'accuracy')::float8 as value from cerebros_model_trials trial "
        "join cerebros_model_runs run on run.id = trial.model_run_id where run_id = $1) as valued group by 1"
    ),
    "values in a notebook": (
        "select spectral_norm, status, duration_ms, trial.inserted_at, schema_version, (metrics->>'accuracy')::float8, "
        "(parameters->>'lr')::float8, (parameters->>'dropout')::float8, (parameters->>'num_layers')::float8, "
        "parameters->>'optimizer' from cerebros_model_trials trial "
        "join cerebros_model_runs run on run.id = trial.model_run_id where run_id = $1"
    ),
}
BY_HAND_REPS = 3


class Served:
    """A dashboard on the database, and a client of it."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._environment = {
            **os.environ,
            "PROCESSOR_DATABASE_URL": database_url,
            "PROCESSOR_DASHBOARD_LISTEN": self.url.removeprefix("http://"),
            "PROCESSOR_DASHBOARD_TIMEOUT_MS": "60000",
        }
        self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT_S)
        self._offset = 0
        self.pages = pages(self.runs())

    @contextmanager
    def process(self) -> Iterator[psutil.Process]:
        command = [sys.executable, "-m", "processor", "dashboard"]
        child = subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)
        try:
            while not self._ready():
                time.sleep(0.1)
            yield psutil.Process(child.pid)
        finally:
            if child.poll() is None:
                child.terminate()
            child.wait(60)

    def _ready(self) -> bool:
        try:
            return self.client.get("/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def commit_one(self, run: str) -> str:
        """A new trial of the run; its id. It is committed when this returns."""
        self._offset += 1
        name = f"new-{self._offset}"
        text = INSERT.format(name=name, run=run, offset=10**9 + self._offset)

        async def insert() -> None:
            connection = await asyncpg.connect(self.database_url)
            await connection.execute(text)
            await connection.close()

        with ThreadPoolExecutor(1) as thread:  # that of the caller may have Playwright's event loop
            thread.submit(asyncio.run, insert()).result()
        return name

    def runs(self) -> dict[str, str]:
        """A trial of each run of a size of its own."""
        text = (
            "select run_id, min(trial_id) from cerebros_model_runs run join cerebros_model_trials trial "
            "on trial.model_run_id = run.id where run_id = any($1) group by run_id"
        )
        return dict(ask(self.database_url, text, [*SIZES, LARGE]))

    def commits(self) -> int:
        """Of the whole database, as the server counts them; it counts with a delay of a second or so."""
        time.sleep(1.5)
        counted = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        return int(ask(self.database_url, counted)[0][0])


def pages(runs: dict[str, str]) -> dict[str, str]:
    """By what a person opens."""
    found = {
        "runs": "/",
        "trials of all": "/trials",
        "trials of all by accuracy": "/trials?sort=-metrics.accuracy",
        "adoption, 7 days": "/adoption?window=7d",
        "adoption, 30 days": "/adoption?window=30d",
        "health": "/health",
    }
    for run, trial in runs.items():
        path, among = f"/runs/{quote(run)}", urlencode({"q": f'run_id = "{run}"'})
        found |= {
            f"{run}": path,
            f"{run}, by accuracy": f"{path}?sort=-metrics.accuracy",
            f"{run}, lr < 0.00002 and adam": f"{path}?" + urlencode({"q": "lr < 0.00002 and optimizer = adam"}),
            f"{run}, one trial": f"{path}/trials/{trial}",
            f"{run}, charts": f"/charts?{among}",
            f"{run}, comparison": f"/compare?{among}",
        }
    return found


def time_page(client: httpx.Client, path: str, reps: int) -> dict[str, Any]:
    """Milliseconds of the first answer, and of so many behind it; fewer where it took long."""
    began = time.monotonic()
    first = client.get(path)
    found = {"status": first.status_code, "bytes": len(first.content), "first_ms": _since(began)}
    reps = reps if found["first_ms"] < SLOW_MS else max(3, reps // 5)
    taken = []
    for _ in range(reps):
        began = time.monotonic()
        client.get(path)
        taken.append(_since(began))
    return {**found, **quantiles(taken)}


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def time_pages(
    served: Served, process: psutil.Process, reps: int, console: Console, *, by_path: bool = False
) -> dict[str, Any]:
    """All, or those that an index of a metric or parameter would serve."""
    found = {}
    table = Table("page", "status", "KB", "first ms", "p50", "p95", "MiB of the process")
    for name, path in served.pages.items():
        if by_path and "accuracy" not in name and "lr <" not in name:
            continue
        one = {**time_page(served.client, path, reps), "rss_mib": process.memory_info().rss // 2**20}
        found[name] = one
        size = round(one["bytes"] / 1000)
        cells = (one["status"], size, one["first_ms"], one["p50_ms"], one["p95_ms"], one["rss_mib"])
        table.add_row(name, *(f"{cell:,}" for cell in cells))
    console.print(table)
    return found


def time_by_hand(served: Served, console: Console) -> dict[str, Any]:
    """Milliseconds of the questions of `BY_HAND` about the largest run, and the comparison made anew beside them."""

    def by_hand(question: str) -> object:
        return ask(served.database_url, question, LARGE)

    def compare(number: int) -> object:
        """What another filter says of the same trials is held by nobody."""
        asked = urlencode({"q": f'run_id = "{LARGE}" and trial_id != "none {number}"'})
        return served.client.get(f"/compare?{asked}")

    turns = range(BY_HAND_REPS)
    found = {name: _median_ms(partial(by_hand, question) for _ in turns) for name, question in BY_HAND.items()}
    found["comparison made anew"] = _median_ms(partial(compare, number) for number in turns)
    return tell(found, f"of {LARGE}, ms", console)


def _median_ms(works: Iterable[Callable[[], object]]) -> float:
    taken = []
    for work in works:
        began = time.monotonic()
        work()
        taken.append(_since(began))
    return statistics.median(taken)


def weigh_files(served: Served) -> int:
    answers = [served.client.get(f"/static/{name}") for name in FILES]
    return sum(len(one.content) for one in answers if one.status_code == 200)


def in_chromium(served: Served, program: str, console: Console) -> dict[str, Any]:
    """First paint, all of the page, heap, bytes of a first visit; then rows that come while the page is open."""
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with sync_playwright() as playwright:
        # the heap is told to the byte, and after a collection, only where it is asked for
        flags = ["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
        browser = playwright.chromium.launch(executable_path=program, args=flags, timeout=TIMEOUT_S * 1000)
        for name, path in served.pages.items():
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.set_default_timeout(TIMEOUT_S * 1000)
            page.goto(served.url + path, wait_until="load")
            page.wait_for_timeout(400)
            paint, whole, heap, sent = page.evaluate(
                "() => { gc(); const of = kind => performance.getEntriesByType(kind); return ["
                "of('paint').find(one => one.name === 'first-contentful-paint')?.startTime ?? -1, "
                "of('navigation')[0].domContentLoadedEventEnd, "
                "performance.memory.usedJSHeapSize, "
                "[...of('navigation'), ...of('resource')].reduce((sum, one) => sum + one.transferSize, 0)]; }"
            )
            found[name] = {
                "first_paint_ms": round(paint),
                "whole_ms": round(whole),
                "heap_mb": round(heap / 1e6, 1),
                "kb": round(sent / 1000),
            }
            page.context.close()
        found["live"] = {run: tell(time_live(served, browser, run), run, console) for run in ("run of 60", LARGE)}
        browser.close()
    table = Table("page in Chromium", "first paint ms", "whole ms", "heap MB", "KB")
    for name, one in found.items():
        if name != "live":
            table.add_row(name, *(f"{value:,}" for value in one.values()))
    console.print(table)
    return found


def time_live(served: Served, browser: Any, run: str) -> dict[str, float]:
    """Milliseconds from the commit of a row to its link on the open page of the run."""
    page = browser.new_context(bypass_csp=True).new_page()
    page.set_default_timeout(TIMEOUT_S * 1000)
    page.goto(f"{served.url}/runs/{quote(run)}", wait_until="load")
    page.wait_for_timeout(1000)
    taken, draw = [], random.Random(7)
    for _ in range(LIVE_TRIALS):
        name = served.commit_one(run)
        began = time.monotonic()
        page.wait_for_function(SHOWN, arg=name)
        taken.append((time.monotonic() - began) * 1000)
        time.sleep(draw.uniform(*LIVE_PAUSE_S))
    page.context.close()
    return quantiles(taken)


async def watch(url: str, path: str, streams: int, seconds: float) -> dict[str, Any]:
    """So many watch a page, and ask for it again when they are told; answers, and the longest wait for one."""
    limits = httpx.Limits(max_connections=None)
    asked: list[float] = []

    async def one(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", f"{url}/changes") as answer:
            if answer.status_code != 200:
                return
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    began = time.monotonic()
                    await client.get(url + path, headers={"x-version": line.removeprefix("data: ")})
                    asked.append((time.monotonic() - began) * 1000)

    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits) as client:
        tasks = [asyncio.create_task(one(client)) for _ in range(streams)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {"answers": len(asked), **quantiles(asked or [0.0])}


def time_crowds(served: Served, process: psutil.Process, streams: int, console: Console) -> dict[str, Any]:
    """Transactions of the database while nobody, one and many watch the same page, and rows are committed."""
    path, found = f"/runs/{quote('run of 60')}", {}
    for watching in (0, 1, streams):
        before, cpu = served.commits(), sum(process.cpu_times()[:2])
        told = asyncio.run(_watched_while_rows_come(served, path, watching))
        spent = sum(process.cpu_times()[:2]) - cpu
        found[str(watching)] = tell(
            {
                **told,
                "transactions": served.commits() - before,
                "cpu_s": round(spent, 2),
                "rss_mib": process.memory_info().rss // 2**20,
            },
            f"{watching} watch",
            console,
        )
    return found


async def _watched_while_rows_come(served: Served, path: str, watching: int) -> dict[str, Any]:
    async def rows() -> None:
        for _ in range(WATCH_COMMITS):
            await asyncio.sleep(WATCH_SECONDS / (WATCH_COMMITS + 2))
            await asyncio.to_thread(served.commit_one, "run of 60")

    coming = asyncio.create_task(rows())
    told = await watch(served.url, path, watching, WATCH_SECONDS)
    await coming
    return told


def time_end(served: Served, streams: int) -> dict[str, Any]:
    """SIGTERM with so many streams open."""

    async def end(pid: int) -> tuple[float, int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits) as client:
            opened = [await client.send(client.build_request("GET", f"{served.url}/changes"), stream=True)
                      for _ in range(streams)]  # fmt: skip
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            code = await asyncio.to_thread(psutil.Process(pid).wait, 60)
            took = time.monotonic() - began
            for one in opened:
                await one.aclose()
        return took, int(code)

    with served.process() as process:
        took, code = asyncio.run(end(process.pid))
    return {"streams": streams, "seconds": round(took, 2), "exit": code}


def tell(result: dict[str, Any], name: str, console: Console) -> dict[str, Any]:
    console.print(f"{name}: {json.dumps(result)}", soft_wrap=True, highlight=False)
    return result


async def index(url: str) -> None:
    """What `fill` has left out, so that it is quick."""
    connection = await asyncpg.connect(url)
    for name, columns in NEWEST.items():
        await connection.execute(f"create index {name} on cerebros_model_trials {columns}")
    await connection.execute("vacuum analyze")
    await connection.close()


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="trials in all")
    parser.add_argument("--largest", type=int, default=1_000_000, help="trials of the largest run")
    parser.add_argument("--runs", type=int, default=1000, help="runs")
    parser.add_argument("--reps", type=int, default=20, help="times that each page is asked for")
    parser.add_argument("--streams", type=int, default=200, help="who watch at once")
    parser.add_argument("--name", default="pages", help="name of the result file")
    return parser.parse_args()


def main() -> None:
    arguments, console = read_arguments(), Console()
    browser = find_chromium()
    with open_stack(console) as stack:
        with Session(stack.database_url) as session:
            migrate(session)
        filling = asyncio.run(fill(stack.database_url, arguments.rows, arguments.largest, arguments.runs))
        console.print(f"filled in {filling:.0f} s")
        asyncio.run(index(stack.database_url))
        served = Served(stack.database_url)
        steps: dict[str, Callable[[psutil.Process], Any]] = {
            "pages": lambda process: time_pages(served, process, arguments.reps, console),
            "by_hand": lambda _: time_by_hand(served, console),
            "files_bytes": lambda _: weigh_files(served),
            "chromium": lambda _: in_chromium(served, browser, console) if browser else None,
            "crowds": lambda process: time_crowds(served, process, arguments.streams, console),
        }
        with served.process() as process:
            result = {"without_indexes": time_pages(served, process, arguments.reps, console, by_path=True)}
        began = time.monotonic()
        add_paths(stack.database_url, CHOSEN)
        result["indexes"] = {"of": CHOSEN, "made_in_s": round(time.monotonic() - began, 1)}
        with served.process() as process:
            result |= {name: step(process) for name, step in steps.items()}
            result["rss_mib"] = process.memory_info().rss // 2**20
        result["sigterm"] = tell(time_end(served, SIGTERM_STREAMS), "SIGTERM", console)
        document = {
            **circumstances("benchmarks.pages", stack),
            "rows": arguments.rows,
            "largest": arguments.largest,
            "wanted_ms": {"page": WANTED_MS, "comparison": WANTED_COMPARISON_MS},
            **result,
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: benchmarks/results/{arguments.name}.json")


if __name__ == "__main__":
    main()
