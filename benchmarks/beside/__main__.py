"""The dashboard beside Optuna Dashboard and the MLflow UI: the same trials, the same Chromium, in turns.

    make bench-beside                    or, where .venv-beside is there:
    python -m benchmarks.beside [--sizes 60,1000,10000,100000,1000000] [--reps 5] [--name beside]

Each has a store of its own for each size, filled in bulk and asked by its own interface what it then holds: ours a
database in PostgreSQL, the others a SQLite file in memory, as their own documentation begins; they read it in their
own process. Each is started as its users start it. Every look has a browser context of its own, so nothing is held;
the first look at a view finds a server that has not read what it shows, those behind it (in turns) a warm one. A view
that is not there within 60 s is that, and its server is started anew. CPU seconds are the server's (and PostgreSQL's,
for ours) until its page is at rest; memory is that of the server's processes, after the look.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import RESULTS, circumstances, open_stack
from benchmarks.beside import looking
from benchmarks.beside.checking import check
from benchmarks.beside.contestants import LIMIT_BYTES, Contestant, Mlflow, OptunaDashboard, Ours
from benchmarks.beside.views import views
from processor.core.errors import SetupError
from processor.local.mlflow import install_mlflow
from processor.local.stack import LocalStack
from tests.support.chromium import find_chromium

OPTUNA_DASHBOARD = Path(__file__).parents[2] / ".venv-beside" / "bin" / "optuna-dashboard"
#: in memory where there is such a folder: their stores shall not wait for a disk
MEMORY = Path("/dev/shm")
SIZES = (60, 1000, 10_000, 100_000, 1_000_000)
#: from so many on fewer looks: they say the same of one that takes seconds
LARGE, LARGE_REPS = 100_000, 1
Figures = dict[str, Any]


def main() -> None:
    arguments, console = read_arguments(), Console()
    program = find_chromium()
    if program is None or not OPTUNA_DASHBOARD.exists():
        raise SetupError("a Chromium and .venv-beside are wanted: make bench-beside")
    result: Figures = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and stores go with it then
    with ExitStack() as opened:
        stack = opened.enter_context(open_stack(console))
        folder = opened.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None))
        playwright = opened.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program, args=looking.FLAGS)
        for size in arguments.sizes:
            reps = arguments.reps if size < LARGE else min(arguments.reps, LARGE_REPS)
            found = measure(contestants(size, Path(folder), stack), browser, reps, console)
            result = write(arguments.name, size, {**about(stack, browser), "of": found})
    console.print(table(result))
    console.print(f"written: benchmarks/results/{arguments.name}.json")


def read_arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(one) for one in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=numbers, default=list(SIZES), help="trials of the run, separated by commas")
    parser.add_argument("--reps", type=int, default=5, help="looks at each view after the first")
    parser.add_argument("--name", default="beside", help="name of the result file")
    return parser.parse_args()


def contestants(size: int, folder: Path, stack: LocalStack) -> list[Contestant]:
    python = install_mlflow(lambda _: None)
    return [Ours(size, folder, stack), OptunaDashboard(size, folder, OPTUNA_DASHBOARD), Mlflow(size, folder, python)]


def measure(those: list[Contestant], browser: Browser, reps: int, console: Console) -> Figures:
    """All of one size; their servers and stores are gone afterwards."""
    found: Figures = {one.name: {"views": {}} for one in those}
    with ExitStack() as opened:
        for one in those:
            began = time.monotonic()
            one.fill()
            found[one.name]["fill_s"] = round(time.monotonic() - began, 1)
            opened.callback(one.drop)
            opened.callback(one.stop)
            one.start()
            found[one.name]["read_back"] = check(one)
            found[one.name]["idle_mib"] = one.memory_mib()
            tell(console, one, "store", {key: found[one.name][key] for key in ("fill_s", "read_back", "idle_mib")})
        for name in dict.fromkeys(name for one in those for name in views(one)):
            look_at(name, [one for one in those if name in views(one)], browser, reps, found)
            for one in those:
                if name in found[one.name]["views"]:
                    tell(console, one, name, found[one.name]["views"][name])
        for one in those:
            found[one.name]["live"] = with_server(one, lambda at: looking.watch(browser, at, reps))
            tell(console, one, "live", found[one.name]["live"])
    return found


def look_at(name: str, those: list[Contestant], browser: Browser, reps: int, found: Figures) -> None:
    """The first look of each, then in turns those that got there; each round begins with another."""
    looks: dict[str, list[Figures]] = {one.name: [] for one in those}
    there = list(those)
    for number in range(reps + 1):
        turn = number % len(those)
        for one in those[turn:] + those[:turn]:
            if one in there:
                seen = with_server(one, lambda at: looking.look(browser, at, views(at)[name]))
                looks[one.name].append(seen)
                if seen["ready_ms"] is None:
                    there.remove(one)
    for one in those:
        found[one.name]["views"][name] = sum_up(looks[one.name])


def with_server(one: Contestant, look: Callable[[Contestant], Figures]) -> Figures:
    """A server that did not get there is at work on what nobody waits for: the next look finds a new one."""
    seen = look(one)
    if seen.get("why"):
        one.stop()
        one.start()
    return seen


def sum_up(looks: list[Figures]) -> Figures:
    """The first look, and the medians of those behind it; of none of these where the first was in vain."""
    first, *rest = looks
    found: Figures = {"first": first}
    if rest and all(one["ready_ms"] is not None for one in rest):
        keys = ("ready_ms", "shown", "heap_mb", "requests", "kb", "cpu_s", "server_mib")
        found |= {"looks": len(rest), **{key: round(statistics.median(one[key] for one in rest), 2) for key in keys}}
        found["ready_ms_of_each"] = [one["ready_ms"] for one in rest]
    elif rest:
        found["in_vain"] = [one for one in rest if one["ready_ms"] is None]
    return found


def tell(console: Console, one: Contestant, what: str, figures: Figures) -> None:
    console.print(f"{one.size}, {one.name}, {what}: {json.dumps(figures)}", soft_wrap=True, highlight=False)


def about(stack: LocalStack, browser: Browser) -> Figures:
    own = {"chromium": browser.version, "patience_s": looking.PATIENCE_S, "limit_gib": LIMIT_BYTES // 2**30}
    with ThreadPoolExecutor(1) as thread:  # that of the caller has Playwright's event loop
        return {**thread.submit(circumstances, "benchmarks.beside", stack).result(), **own}


def write(name: str, size: int, found: Figures) -> Figures:
    """All that the file has then, by size: sizes may be measured one after the other, the last ones take long."""
    path = RESULTS / f"{name}.json"
    held = json.loads(path.read_text()) if path.exists() else {}
    held[str(size)] = found
    sorted_by_size = dict(sorted(held.items(), key=lambda item: int(item[0])))
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(sorted_by_size, indent=1) + "\n")
    return sorted_by_size


def table(result: Figures) -> Table:
    shown = Table(
        "trials", "view", "of", "first ms", "then ms", "on the page", "KB", "requests", "heap MB", "CPU s", "MiB"
    )
    for size, measured in result.items():
        found = measured["of"]
        for name in dict.fromkeys(name for one in found.values() for name in one["views"]):
            for contestant, one in found.items():
                shown.add_row(f"{int(size):,}", name, contestant, *cells(one["views"].get(name)))
        for contestant, one in found.items():
            shown.add_row(f"{int(size):,}", "live", contestant, "", live_cell(one["live"]))
    return shown


def live_cell(live: Figures) -> str:
    if not live["ms"]:
        return "-"
    return f"{statistics.median(live['ms']):,.0f}" + (" by reloading" if live["reloaded"] else "")


def cells(view: Figures | None) -> Iterable[str]:
    if view is None:
        return ("there is none",)
    first = view["first"]["ready_ms"]
    one = view if "ready_ms" in view else view["first"]
    then = f"{view['ready_ms']:,.0f}" if "ready_ms" in view else "-"
    rest = (one.get(key, "-") for key in ("shown", "kb", "requests", "heap_mb", "cpu_s", "server_mib"))
    began = f"> {looking.PATIENCE_S * 1000:,.0f}" if first is None else f"{first:,.0f}"
    return (began, then, *(str(value) for value in rest))


if __name__ == "__main__":
    main()
