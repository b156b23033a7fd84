"""The course of the demo: search, tables, replay, verdict."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from typing import Any, Literal

from cerebros_client import TrialReporter
from rich.console import Console

from processor.demo import show
from processor.demo.board import open_board
from processor.demo.by_optuna import search_with_optuna
from processor.demo.door import Door
from processor.demo.ledger import Observed, reconcile
from processor.demo.scene import Scene, open_scene
from processor.demo.search import retry, search
from processor.demo.traffic import Traffic, malformed
from processor.demo.training import Result
from processor.demo.workers import Worker
from processor.local.postgres import find_programs

DELIVERY_SECONDS = 20.0
MALFORMED_EVERY = 4  # trials
RANKED = 3  # the best trials of a run get their rank when the run is over
SEED = 7


def play(trials: int, keep: bool, console: Console, *, mlflow: bool = False) -> int:
    """Plays it once; the exit code: 0, or 1 where anything differs from what must be. Raises `ProcessorError`."""
    say = show.Steps(console)
    with open_scene(say, mlflow=mlflow) as scene:
        search_all(scene, trials, console)
        say(
            f"{scene.ledger.sent} reports sent, and {scene.ledger.life.total} starts, stops and metrics: to Kafka, and "
            "those of one search over HTTP; waiting until ingest and relay have dealt with all of them"
        )
        scene.settle()
        first, before = scene.observe(), scene.fingerprint()
        console.print(
            show.trials_table(scene.by_status()),
            show.events_table(first.events),
            show.dead_letters_table(first.dead_letters),
        )
        say("stopping ingest, resetting its offsets to the beginning, starting it again")
        scene.read_all_again()
        scene.settle()
        second, after = scene.observe(), scene.fingerprint()
        facts = summary(before, first), summary(after, second)
        say("everything was read again")
        console.print(show.replay_table(*facts))
        differences = reconcile(scene.ledger, second)
        differences += [f"the replay changed: {name}" for name in facts[0] if facts[0][name] != facts[1][name]]
        differences += look_at_mlflow(scene, say, console)
        show.verdict(console, scene.ledger, differences)
        if keep:
            # a stack of our own brings its psql along; with given servers it is the user's
            bundled = scene.addresses and not shutil.which("psql")
            psql = str(find_programs(None) / "psql") if bundled else "psql"
            with open_board(scene.environment, scene.folder) as (board, address):
                show.ways_to_look(console, scene.addresses, psql, str(scene.folder), address)
                wait_for_interrupt(scene, board)
    return 1 if differences else 0


def look_at_mlflow(scene: Scene, say: show.Steps, console: Console) -> list[str]:
    """What differs between the tables and MLflow, where there is one; waits until the mirror has read everything."""
    if scene.mirror is None:
        return []
    say("waiting until MLflow has every trial, then comparing")
    found = scene.mirrored()
    console.print(show.mlflow_table(found))
    return [f"MLflow: {kind} {number}" for kind, number in found["kinds"].items()]


def search_all(scene: Scene, trials: int, console: Console) -> None:
    """Four searches, trial by trial, one over HTTP, one by Optuna's wrapper; returns when Kafka has every report.

    Raises `UndeliveredError`, `DemoError` where it has not.
    """
    settings, wrong = scene.settings, malformed()
    reporter = TrialReporter(
        settings.kafka_bootstrap_servers,
        topic=settings.raw_topic,
        options=settings.kafka_options,
        close_timeout_s=DELIVERY_SECONDS,
    )
    with reporter, Door(scene.door) as door, show.SearchProgress(console, trials) as progress:
        traffic = Traffic(reporter, scene.ledger, door, frozenset([scene.runs.adam]))
        for number, run_id in enumerate(_searches(scene, traffic, trials)):
            if number % MALFORMED_EVERY == 0 and (next_wrong := next(wrong, None)):
                traffic.send_malformed(run_id, *next_wrong)
            progress.reach(scene.counts(), trials=1)
        for next_wrong in wrong:
            traffic.send_malformed(scene.runs.old, *next_wrong)
        reporter.flush(DELIVERY_SECONDS)
        progress.reach(scene.counts())


def _searches(scene: Scene, traffic: Traffic, trials: int) -> Iterator[str]:
    """Every trial of the four searches, reported; yields the run it belongs to."""
    old = optuna = trials // 7
    sgd = (trials - old - optuna) // 2
    yield from _report_all(traffic, scene.runs.sgd, "sgd", sgd)
    yield from _report_all(traffic, scene.runs.adam, "adam", trials - old - optuna - sgd)
    for trial_id, content in search_with_optuna(traffic.reporter, scene.runs.optuna, optuna, seed=SEED + 2):
        scene.ledger.expect(scene.runs.optuna, trial_id, content)
        yield scene.runs.optuna
    results = []
    for result in search("adam", old, spectral_norm=False, seed=SEED + 1):
        results.append(result)
        if len(results) <= old // 2:
            traffic.report_old_style(scene.runs.old, result)
        yield scene.runs.old
    traffic.report_envelope(scene.runs.old, results[old // 2 :])


def _report_all(traffic: Traffic, run_id: str, optimiser: Literal["sgd", "adam"], trials: int) -> Iterator[str]:
    """A search from start to stop: each trial while it is trained and as it ends, then what comes afterwards."""
    done: list[Result] = []
    traffic.start(run_id, trials)
    for result in search(optimiser, trials, seed=SEED, watch=traffic.watch(run_id)):
        traffic.report(run_id, result)
        done.append(result)
        yield run_id
    traffic.report(run_id, done[-1])  # as after a crash, not knowing that it had arrived: must change nothing
    if diverged := next((result for result in done if result.diverged), None):
        traffic.report(run_id, retry(diverged))  # the same trial again: its second revision
    succeeded = [result for result in done if result.status == "succeeded"]
    best = sorted(succeeded, key=lambda result: result.accuracy, reverse=True)[:RANKED]
    for rank, result in enumerate(best, start=1):
        traffic.report(run_id, result, rank=rank)
    traffic.stop(run_id, done)


def summary(fingerprint: dict[str, Any], observed: Observed) -> dict[str, Any]:
    """What a replay must not change."""
    content = [(event.key, event.headers, event.value) for event in observed.events]
    return {
        "rows": fingerprint["rows"],
        "revisions": fingerprint["revisions"],
        "last updated_at": fingerprint["last_change"],
        "hash of all columns": fingerprint["hash"],
        "hash of runs' life and progress": fingerprint["told"],
        "events": len(observed.events),
        "hash of all events": hashlib.md5(repr(content).encode(), usedforsecurity=False).hexdigest()[:16],
        "dead letters": len(observed.dead_letters),
        "dead letters in Kafka": len(observed.dead_letter_records),
    }


def wait_for_interrupt(scene: Scene, board: Worker) -> None:
    """Returns on Ctrl-C; raises `DemoError` when a process ends by itself."""
    try:
        while True:
            scene.ingest.check()
            scene.relay.check()
            scene.gateway.check()
            board.check()
            if scene.mirror is not None:
                scene.mirror.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
