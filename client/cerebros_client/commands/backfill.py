"""`cerebros-client import`: trials of the past, from where they are now to the raw topic."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from cerebros_client.backfill.bar import Bar
from cerebros_client.backfill.importing import Imported, run_import
from cerebros_client.backfill.items import Source
from cerebros_client.backfill.journal import Journal, default_path
from cerebros_client.backfill.retention import watch_age
from cerebros_client.connecting import checked_url, connect, target_of


def add(commands: Any) -> None:
    parser = commands.add_parser("import", help="report trials of the past; again is harmless")
    sources = parser.add_subparsers(required=True, metavar="SOURCE")
    one = _source(sources, "optuna", _studies, "every study of an Optuna storage")
    one.add_argument("storage", help="a database's URL, an SQLite file or a journal's file")
    one.add_argument("--study", action="append", default=[], help="only this study; may be repeated")
    one = _source(sources, "mlflow", _experiment, "the runs of an MLflow experiment")
    one.add_argument("uri", help="the tracking server, http://127.0.0.1:5000")
    one.add_argument("experiment", help="its name or id")
    one.add_argument("--run-id", help="the run they become; default the experiment's name")
    one.add_argument("--histories", action="store_true", help="every value of each metric: one more request a metric")
    one = _source(sources, "oracle-csv", _oracles, "what Cerebros' own core has written")
    one.add_argument("folder", type=Path, help="a project's folder, or one that holds some")
    one.add_argument("--run-id", help="the run it becomes; default the project's name")
    one.add_argument("--rank-by", metavar="METRIC", help="whose best epoch is reported; default val_loss, else loss")
    one.add_argument("--direction", choices=("minimize", "maximize"), default="minimize")
    one = _source(sources, "jsonl", _lines, "a file of JSON lines, each a report")
    one.add_argument("file", type=Path)
    one.add_argument("--run-id", help="of lines that name no run")


def _source(sources: Any, name: str, opened: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = sources.add_parser(name, help=text)
    parser.add_argument("--url", help="kafka://host:9092 or https://gateway; default CEREBROS_URL")
    parser.add_argument("--state", type=Path, help=f"remembers what was confirmed; default {default_path()}")
    parser.add_argument("--again", action="store_true", help="send also what was confirmed before")
    parser.set_defaults(run=run, opened=opened, what=name)
    return parser


def run(given: argparse.Namespace) -> int:
    """0: all is reported and confirmed; what was skipped is told. An interrupted import goes on where it was."""
    url = checked_url(given.url or os.environ.get("CEREBROS_URL"))
    source: Source = given.opened(given)
    target = target_of(url)
    with Journal(given.state or default_path()) as journal:
        bar = Bar(sys.stderr, source.count(), given.what)
        with connect(url, close_timeout_s=10.0) as reporter:
            result = run_import(
                source,
                reporter,
                journal,
                target.name,
                again=given.again,
                advance=bar.advance,
                before=watch_age(target),
            )
        bar.end()
    print(_summary(result))
    return 0


def _summary(result: Imported) -> str:
    lines = [f"{result.sent} sent and confirmed, {result.known} known from before"]
    lines += [f"{count} skipped: {reason}" for reason, count in result.skipped.most_common()]
    return "\n".join(lines)


def _studies(given: argparse.Namespace) -> Source:
    from cerebros_client.backfill.from_optuna import Studies

    return Studies(given.storage, given.study)


def _experiment(given: argparse.Namespace) -> Source:
    from cerebros_client.backfill.from_mlflow import Experiment

    return Experiment(given.uri, given.experiment, run_id=given.run_id, histories=given.histories)


def _oracles(given: argparse.Namespace) -> Source:
    from cerebros_client.backfill.from_oracle import Oracles

    return Oracles(given.folder, run_id=given.run_id, rank_by=given.rank_by, direction=given.direction)


def _lines(given: argparse.Namespace) -> Source:
    from cerebros_client.backfill.from_jsonl import JsonLines

    return JsonLines(given.file, run_id=given.run_id)
