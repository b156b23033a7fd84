"""Pictures of every page of the dashboard, for its documentation: `make pictures`.

A Kafka, a Postgres, ingest, relay and the dashboard are started, made-up searches report through the client as any
trainer does, and a Chromium of this machine looks at each page. The searches are the same each time; the times of their
trials are turned back afterwards, as no one has a day to wait. No MLflow is asked: the links are written by the
mirror's own memory, as it would have written them.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cerebros_client import TrialReporter, connect
from msgspec.structs import replace
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from processor.core.errors import ProcessorError, SetupError
from processor.dashboard.pages.paths import run_path, trial_path
from processor.demo.board import open_board
from processor.demo.workers import Worker, run
from processor.local import LocalStack
from processor.mlflow.content import Moment
from processor.mlflow.memory import Memory
from processor.mlflow.ports import LinkState
from processor.store.mlflow_links import MlflowLinks
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.support.chromium import NAMES, find_chromium

FOLDER = Path(__file__).parent / "pictures"
ARRIVAL_SECONDS = 300.0
EPOCHS = 12
SERVER, TRACKING = "pictures", "http://mlflow.example:5000"
#: a day that ends now: the first trial of each run so many hours ago, and the minutes between two of them
TURN_BACK = """
update cerebros_model_trials trial set inserted_at = made.at, updated_at = made.at
from (select one.id, now() - given.hours * interval '1 hour'
             + given.minutes * row_number() over (partition by one.model_run_id order by one.trial_id)
             * interval '1 minute' as at
      from cerebros_model_trials one join cerebros_model_runs run on run.id = one.model_run_id
      join unnest($1::text[], $2::float8[], $3::float8[]) as given (run_id, hours, minutes)
        on given.run_id = run.run_id) as made
where made.id = trial.id
"""
TURN_BACK_RUNS = """
update cerebros_model_runs run set inserted_at = ends.first, started_at = ends.first, updated_at = ends.last,
    finished_at = case when run.finished_at is null then null else ends.last end
from (select model_run_id, min(inserted_at) as first, max(inserted_at) as last
      from cerebros_model_trials group by model_run_id) as ends
where ends.model_run_id = run.id
"""
ARRIVED = """
select (select count(*) from cerebros_model_trials) as trials,
       (select count(*) from cerebros_model_runs where state = 'succeeded') as stopped,
       (select count(*) from cerebros_trial_metrics where step = $1) as curves,
       (select count(*) from dead_letters) as letters,
       (select coalesce(sum(messages), 0)::bigint from outbox) as waiting
"""
QUERIES = {"turn_back": TURN_BACK, "turn_back_runs": TURN_BACK_RUNS, "arrived": ARRIVED}


class Search(NamedTuple):
    """A search: trials that it wants and has ended so far, the best it could reach, when it began, and its pace."""

    run_id: str
    wanted: int
    ended: int
    reachable: float
    gain: float
    hours_ago: float
    pace_minutes: float

    @property
    def stopped(self) -> bool:
        return self.wanted == self.ended


SEARCHES = (
    Search("cifar10-resnet", 140, 140, 0.931, 0.012, 23.0, 4.5),
    Search("cifar10-vit", 120, 120, 0.902, 0.016, 14.0, 5.0),
    Search("speech-lstm", 150, 74, 0.878, 0.010, 5.0, 4.0),
)
UNDER_WAY = 3
MALFORMED = (
    b'{"trial_id": "trial-015", "metrics": {"accuracy": 0.9',
    b'{"trial_id": "trial-021", "status": "exploded"}',
    b'{"trial_id": "trial-033", "duration_ms": -5}',
    b"epoch 3: loss 0.412",
)


class Trial(NamedTuple):
    """What becomes of one proposal: `curve` is (accuracy, loss) by epoch, shorter where the trial ended early."""

    trial_id: str
    spectral_norm: bool
    parameters: Mapping[str, Any]
    curve: list[tuple[float, float]]
    status: str
    duration_ms: int


def propose(search: Search) -> Iterator[Trial]:
    """A search that comes nearer to good learning rates; spectral norm helps a little, and diverges less."""
    draw = random.Random(search.run_id)
    for number in range(search.ended + UNDER_WAY):
        near = min(1.0, number / 60)
        rate = 10 ** draw.gauss(-2.6, 1.0 - 0.6 * near)
        arm = draw.random() < 0.5
        parameters = {
            "learning_rate": round(rate, 7), "batch_size": draw.choice([32, 64, 128]), "layers": draw.randint(2, 6),
            "dropout": round(draw.uniform(0, 0.4), 2), "optimizer": draw.choice(["adam", "sgd", "adamw"]),
        }  # fmt: skip
        best = search.reachable - 0.05 * (math.log10(rate) + 2.6) ** 2 - abs(draw.gauss(0, 0.012)) + search.gain * arm
        best -= 0.02 * (parameters["optimizer"] == "sgd")
        diverges = draw.random() < (0.7 if rate > 0.02 else 0.08) * (0.45 if arm else 1)
        pruned = not diverges and number > 10 and best < search.reachable - 0.07 and draw.random() < 0.5
        epochs = draw.randint(1, 4) if diverges else draw.randint(4, 8) if pruned else EPOCHS
        speed = draw.uniform(2.0, 4.0)
        falling = [math.exp(-(step + 1) / speed) for step in range(epochs)]
        curve = [(best - 0.6 * one + draw.gauss(0, 0.004), 0.25 + 1.8 * one + draw.gauss(0, 0.01)) for one in falling]
        status = "failed" if diverges else "skipped" if pruned else "succeeded"
        duration = round(epochs * draw.uniform(8_000, 14_000))
        yield Trial(f"trial-{number:03}", arm, parameters, curve, status, duration)


def report_all(reporter: TrialReporter) -> None:
    """As a trainer reports: starts, a value at each epoch, ends; and four reports that make no sense."""
    for search in SEARCHES:
        reporter.start_run(search.run_id, requested_trials=search.wanted, search_space_version=2, max_params=2_000_000)
        best = 0.0
        for number, trial in enumerate(propose(search)):
            reporter.start_trial(search.run_id, trial.trial_id, spectral_norm=trial.spectral_norm,
                                 parameters=trial.parameters)  # fmt: skip
            ended = number < search.ended
            for step, (accuracy, loss) in enumerate(trial.curve[: None if ended else 3 + number % UNDER_WAY], 1):
                reporter.progress(search.run_id, trial.trial_id, step, accuracy=accuracy, loss=loss)
            if ended:
                report_end(reporter, search.run_id, trial)
                best = max(best, trial.curve[-1][0] if trial.status == "succeeded" else 0.0)
        if search.stopped:
            reporter.stop_run(search.run_id, completed_trials=search.ended, best_metric=round(best, 4))
    for number, value in enumerate(MALFORMED):
        reporter.send(SEARCHES[-1].run_id, f"malformed {number}", value)


def report_end(reporter: TrialReporter, run_id: str, trial: Trial) -> None:
    accuracy, loss = trial.curve[-1]
    failed = trial.status == "failed"
    said: dict[str, Any] = {"metrics": {"accuracy": round(accuracy, 5), "loss": round(loss, 5)}}
    if failed:
        where = f"epoch {len(trial.curve)}, step 118"
        said = {
            "metrics": {"accuracy": round(accuracy, 5), "loss": math.nan}, "error_type": "FloatingPointError",
            "error_message": f"loss is NaN at {where}",
            "stacktrace": 'Traceback (most recent call last):\n  File "train.py", line 88, in fit\n    check(loss)\n'
                          f"FloatingPointError: loss is NaN at {where}",
        }  # fmt: skip
    elif trial.parameters["batch_size"] == 128 and trial.parameters["layers"] == 6:
        said["warnings"] = ["the last batch of each epoch was left out: 128 does not divide 50,000"]
    reporter.report(run_id, trial.trial_id, status=trial.status, parameters=trial.parameters,
                    spectral_norm=trial.spectral_norm, duration_ms=trial.duration_ms, **said)  # fmt: skip


def mirror(store: Session) -> None:
    """Links as `processor mlflow` leaves them, all but a few well."""
    rows = MlflowLinks(store, SERVER)
    rows.see(TRACKING)
    memory, draw = Memory(rows), random.Random(5)
    for experiment, search in enumerate(SEARCHES, 1):
        ended = [one for one in list(propose(search))[: search.ended] if one.status != "skipped"]
        links = memory.begin({(search.run_id, one.trial_id): f"{draw.getrandbits(128):032x}" for one in ended})
        for number, link in enumerate(links.values()):
            moment = Moment(round(time.time() * 1000), 1)
            if number % 37 == 20:
                memory.refuse(
                    link, LinkState.FORBIDDEN, "PERMISSION_DENIED: mirror may not edit the experiment", moment
                )
            elif number % 53 == 30:
                memory.refuse(link, LinkState.DELETED, "the run was deleted in MLflow", moment)
            else:
                of = {"mlflow_run_id": f"{draw.getrandbits(128):032x}", "experiment_id": str(experiment)}
                made = replace(link, **of, state=LinkState.LINKED, moment=moment)
                memory.record([made])
                memory.settle([made])


def wait_for_all(store: Session) -> None:
    """Until all that was reported is in the tables and published."""
    full = sum(len(one.curve) == EPOCHS for search in SEARCHES for one in list(propose(search))[: search.ended])
    expected = {
        "trials": sum(search.ended for search in SEARCHES), "stopped": sum(search.stopped for search in SEARCHES),
        "curves": 2 * full, "letters": len(MALFORMED), "waiting": 0,
    }  # fmt: skip
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while (found := store.fetch("arrived", EPOCHS)[0]) != expected:
        if time.monotonic() > deadline:
            raise SetupError(f"not all that was reported has arrived: {found} instead of {expected}")
        time.sleep(0.2)


FIRST = {"first-visit": ("/", 1200, 620, "light")}
RESNET = SEARCHES[0].run_id
#: by the picture's name: path, width and height of the window, colours
PICTURES: Mapping[str, tuple[str, int, int, str]] = {
    "runs": ("/", 1200, 420, "light"),
    "trials": ("/trials?q=accuracy%20%3E%200.88%20and%20optimizer%20%3D%20adam&sort=-accuracy", 1200, 800, "light"),
    "run": (run_path(SEARCHES[-1].run_id), 1200, 1000, "light"),
    "trial": (trial_path(RESNET, "trial-011"), 1200, 1250, "light"),
    "side-by-side": (
        f"/side-by-side?{'&'.join(f'trial={RESNET}/trial-{n:03}' for n in (11, 12, 14))}", 1200, 1050, "light"
    ),
    "compare": ("/compare?metric=accuracy", 1200, 1150, "light"),
    "charts": (f"/charts?metric=accuracy&x=learning_rate&q=run_id%20%3D%20{RESNET}", 1200, 1450, "light"),
    "adoption": ("/adoption?window=24h", 1200, 720, "light"),
    "health": ("/health", 1200, 1000, "light"),
    "filter-error": ("/trials?q=accuracy%20%3E%200.9%20and%20(lr%20%3C%200.01", 1200, 560, "light"),
    "compare-dark": ("/compare?metric=accuracy", 1200, 700, "dark"),
    "trials-dark": ("/trials?sort=-accuracy&limit=12", 1200, 620, "dark"),
    "run-narrow": (run_path(SEARCHES[-1].run_id), 390, 844, "light"),
}  # fmt: skip


def take(browser: Browser, address: str, name: str, width: int, height: int, scheme: Any) -> int:
    """One picture in 256 colours, the rare ones too; its size in bytes."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state()
    image = Image.open(io.BytesIO(page.screenshot(timeout=120_000))).convert("RGB")
    context.close()
    path = FOLDER / f"{name}.png"
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


def look(program: str, base: str, pictures: Mapping[str, tuple[str, int, int, str]]) -> None:
    with sync_playwright() as playwright:
        # a container's root has no sandbox to give
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=120_000)
        for name, (path, width, height, scheme) in pictures.items():
            size = take(browser, base.rstrip("/") + path, name, width, height, scheme)
            print(f"docs/pictures/{name}.png  {size / 1024:.0f} KB", flush=True)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="docs.pictures", description="Takes the pictures of every page anew.")
    parser.add_argument("--keep", action="store_true", help="all of it runs on until Enter")
    arguments = parser.parse_args()
    program = find_chromium()
    if program is None:
        raise SetupError(f"pictures need a Chromium in PATH ({', '.join(NAMES)}), and there is none")
    FOLDER.mkdir(exist_ok=True)
    with LocalStack(progress=print) as stack, tempfile.TemporaryDirectory(prefix="cerebros-pictures-") as temporary:
        folder, own = Path(temporary), {"PROCESSOR_DASHBOARD_MLFLOW_URL": TRACKING}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
        environment |= {**stack.environment, **own}
        run(environment, "migrate")
        run(environment, "topics", "create")
        with (
            Worker("ingest", environment, folder),
            Worker("relay", environment, folder),
            open_board(environment, folder) as (_, address),
        ):
            look(program, address, FIRST)
            with connect(f"kafka://{stack.bootstrap_servers}") as reporter:
                report_all(reporter)
            settle(stack.database_url)
            look(program, address, PICTURES)
            if arguments.keep:
                input(f"it runs on at {address} until Enter\n")


def settle(database_url: str) -> None:
    """1. waits for what was reported; 2. turns its times back; 3. links it to MLflow."""
    with Session(database_url, queries={**load_queries(), **QUERIES}) as store:
        wait_for_all(store)
        columns = [[one.run_id, one.hours_ago, one.pace_minutes] for one in SEARCHES]
        store.fetch("turn_back", *map(list, zip(*columns, strict=True)))
        store.fetch("turn_back_runs")
        mirror(store)


if __name__ == "__main__":
    try:
        main()
    except ProcessorError as error:
        sys.exit(f"{error}")
