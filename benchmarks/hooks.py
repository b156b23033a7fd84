"""`python -m benchmarks.hooks`: what the Optuna wrapper and `report_search` add to a trial of one second.

The same study and the same search, with and without, in turn; the broker is librdkafka's own, in this process, so that
its share counts too. A trial waits and computes nothing: what is added is all that there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from cerebros_client import TrialReporter
from cerebros_client.cerebros import report_search
from cerebros_client.optuna import optimize
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import RESULTS, commit
from tests.support.core import SimpleCerebrosRandomSearch

EPOCHS = 10
ALLOWED = 0.01  # of a trial's time
#: makes a study or a search, whose tables or folders are no trial's; what it returns runs the trials
Work = Callable[[TrialReporter | None, Path], Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hooks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=10, help="of each study and search")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a trial takes")
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Console()
    rows = [
        compare(name, work(given.trials, given.seconds), given, spooled=spooled, console=console)
        for name, work in (("Optuna, memory", in_memory), ("Optuna, SQLite", in_sqlite), ("report_search", a_search))
        for spooled in (False, True)
    ]
    console.print(table(rows))
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks.hooks --trials {given.trials} --seconds {given.seconds:g} "
        f"--repetitions {given.repetitions}",
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("optuna", "confluent-kafka")},
        "commit": commit(),
        "allowed": ALLOWED,
        "rows": rows,
    }
    (RESULTS / "hooks.json").write_text(json.dumps(document, indent=1) + "\n")


def compare(name: str, work: Work, given: argparse.Namespace, *, spooled: bool, console: Console) -> dict[str, Any]:
    """Milliseconds a trial, with and without in turn; the least of each, since whatever else runs only adds."""
    plain: list[tuple[float, float]] = []
    hooked: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        reporter = TrialReporter(
            "mock:9092", options={"test.mock.num.brokers": 1}, spool=f"{folder}/spool" if spooled else None
        )
        with reporter:
            for repetition in range(given.repetitions):
                for used, into in ((None, plain), (reporter, hooked)):
                    into.append(
                        measured(work, used, Path(folder, f"{repetition}-{len(plain) + len(hooked)}"), given.trials)
                    )
    wall = min(one[0] for one in hooked) - min(one[0] for one in plain)
    cpu = min(one[1] for one in hooked) - min(one[1] for one in plain)
    row = {
        "what": name,
        "spool": spooled,
        "plain_ms": min(one[0] for one in plain),
        "hooked_ms": min(one[0] for one in hooked),
        "added_ms": wall,
        "added_cpu_ms": cpu,
        "share": wall / (given.seconds * 1000),
    }
    console.print(f"{name}{', spool' if spooled else ''}: {wall:+.2f} ms a trial, {cpu:+.2f} of processor time")
    return row


def measured(work: Work, reporter: TrialReporter | None, folder: Path, trials: int) -> tuple[float, float]:
    """Milliseconds a trial: elapsed, and of this process's processor time."""
    folder.mkdir()
    run = work(reporter, folder)
    began, began_cpu = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - began) / trials * 1000, (time.process_time() - began_cpu) / trials * 1000


def objective(seconds: float) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
        trial.suggest_categorical("spectral_norm", [False, True])
        for epoch in range(EPOCHS):
            trial.report(rate / (epoch + 1), epoch)
        time.sleep(seconds)
        return rate

    return objective


def in_memory(trials: int, seconds: float) -> Work:
    return _study(trials, seconds, lambda _: None)


def in_sqlite(trials: int, seconds: float) -> Work:
    return _study(trials, seconds, lambda folder: f"sqlite:///{folder}/study.db")


def _study(trials: int, seconds: float, storage: Callable[[Path], str | None]) -> Work:
    def work(reporter: TrialReporter | None, folder: Path) -> Callable[[], object]:
        sampler = optuna.samplers.RandomSampler(seed=1)
        study = optuna.create_study(storage=storage(folder), study_name=folder.name, sampler=sampler)
        if reporter is None:
            return lambda: study.optimize(objective(seconds), n_trials=trials)
        return lambda: optimize(study, objective(seconds), reporter, n_trials=trials)

    return work


def a_search(trials: int, seconds: float) -> Work:
    """The stand-in of the tests, whose seams are the core's; what a real network would add to both is left out."""

    def at_epoch(_trial: int, _subtrial: int, epoch: int) -> float:
        time.sleep(seconds / EPOCHS)
        return 1.0 / (epoch + 1)

    def work(reporter: TrialReporter | None, folder: Path) -> Callable[[], object]:
        search = SimpleCerebrosRandomSearch(
            str(folder / "project"), at_epoch, number_of_architecture_moities_to_try=trials, epochs=EPOCHS
        )
        if reporter is not None:
            report_search(search, reporter, spectral_norm="alternate")
        return search.run_random_search

    return work


def table(rows: list[dict[str, Any]]) -> Table:
    drawn = Table("", "spool", "ms a trial", "reported", "added", "of it processor", "share")
    for row in rows:
        drawn.add_row(
            row["what"],
            "yes" if row["spool"] else "no",
            f"{row['plain_ms']:.1f}",
            f"{row['hooked_ms']:.1f}",
            f"{row['added_ms']:+.2f}",
            f"{row['added_cpu_ms']:+.2f}",
            f"{row['share']:.2%}",
        )
    return drawn


if __name__ == "__main__":
    main()
