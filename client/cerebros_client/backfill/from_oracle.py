"""What a search of Cerebros' core has written: oracle.csv has one row an epoch, and beside it are models."""

from __future__ import annotations

import ast
import csv
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cerebros_client.backfill.items import Item, Skipped, SourceError, to_ms
from cerebros_client.cerebros.describing import metrics_of, trial_id_of
from cerebros_client.cerebros.outcome import Outcome
from cerebros_client.spectral import has_spectral_norm

COLUMNS = ("trial_number", "subtrial_number", "model_name")
MAX_EPOCHS = 100_000  # of one trial, held in memory
_CLASS = re.compile(r"<class '(?:[\w.]*\.)?(\w+)'>")
_MAX_TEXT = 4 * 1024 * 1024
History = dict[str, list[float]]


class Oracles:
    """Every trial of every oracle.csv below a folder; the run is the project's folder.

    A project's name that was used again has a second header in the same file, and trials that begin at 0 again: that
    is a run of its own, `NAME (2)`, without the files, which belong to the last search. A trial that was not reported
    then has no time of its own: that of its model's file, else of oracle.csv.
    """

    def __init__(self, folder: Path, *, run_id: str | None, rank_by: str | None, direction: str) -> None:
        """`rank_by`: the metric whose best epoch is reported, by default val_loss, else loss.

        Raises `SourceError` where there is no oracle.csv.
        """
        self._files = sorted(folder.rglob("oracle.csv")) if folder.is_dir() else []
        if not self._files:
            raise SourceError(f"{folder} holds no oracle.csv")
        if run_id and len(self._files) > 1:
            raise SourceError(f"one --run-id for {len(self._files)} projects: name one project's folder")
        self._run_id, self._rank_by, self._direction = run_id, rank_by, direction

    def count(self) -> int | None:
        return None

    def __iter__(self) -> Iterator[Item | Skipped]:
        for path in self._files:
            run_id = self._run_id or path.absolute().parent.name
            last = _count_searches(path)
            for found in _searches(path):
                if isinstance(found, Skipped):
                    yield found
                else:
                    name = run_id if found.search == 1 else f"{run_id} ({found.search})"
                    yield self._item(path, name, found, has_files=found.search == last)

    def _item(self, path: Path, run_id: str, found: _Found, *, has_files: bool) -> Item:
        trial_id, history = trial_id_of(*found.numbers), found.history
        model = path.parent / "models" / f"{trial_id}.keras"
        has_model = has_files and model.exists()
        ranked_by = self._rank_by or ("val_loss" if "val_loss" in history else "loss")
        outcome = Outcome.of(None, history, ranked_by)
        spec = _specification(path.parent / "model_architectures" / f"{trial_id}.txt") if has_files else None
        fields = {
            **outcome.fields(),
            "metrics": metrics_of(history, ranked_by, self._direction),
            "parameters": {"spec": spec} if spec is not None else {},
            "spectral_norm": _has_spectral_norm(model) if has_model else None,
            "artifact_uri": str(model.absolute()) if has_model else None,
            "warnings": outcome.warnings,
        }
        return Item(run_id, trial_id, to_ms((model if has_model else path).stat().st_mtime), fields)


class _Found(NamedTuple):
    """A trial: the number of the search in its file, those of trial and sub-trial, one list a metric."""

    search: int
    numbers: tuple[int, int]
    history: History


def _count_searches(path: Path) -> int:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return sum(row[-3:] == list(COLUMNS) for row in csv.reader(file))


def _searches(path: Path) -> Iterator[_Found | Skipped]:
    """Trials in the order they ended; what comes before the first header, or has another length, is skipped."""
    search, header = 0, list[str]()
    current: tuple[int, int] | None = None
    history: History = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file):
            if not row:
                continue
            if is_header := row[-3:] == list(COLUMNS):
                numbers = None
            elif (numbers := _numbers(row)) is None or len(row) != len(header):
                yield Skipped(f"{path}, line of {row[-1][:80]}", "no row of an oracle.csv")
                continue
            if current is not None and (is_header or numbers != current):
                yield _Found(search, current, history)
                current = None
            if is_header:
                search, header = search + 1, row
                continue
            if current is None:
                current, history = numbers, {name: [] for name in header[:-3]}
            for name, value in zip(header[:-3], row, strict=False):
                if len(history[name]) < MAX_EPOCHS:
                    history[name].append(_number(value))
    if current is not None:
        yield _Found(search, current, history)


def _numbers(row: list[str]) -> tuple[int, int] | None:
    try:
        return int(float(row[-3])), int(float(row[-2]))
    except (ValueError, IndexError, OverflowError):
        return None


def _number(value: str) -> float:
    """pandas writes NaN as nothing."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def _specification(path: Path) -> Any:
    """Python's repr of a dictionary with classes in it; None where there is none, or something else."""
    try:
        if path.stat().st_size > _MAX_TEXT:
            return None
        return ast.literal_eval(_CLASS.sub(r"'\1'", path.read_text()))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _has_spectral_norm(model: Path) -> bool | None:
    """A .keras file is a zip whose config.json describes every layer; None where it can't be read."""
    try:
        with zipfile.ZipFile(model) as archive:
            if archive.getinfo("config.json").file_size > _MAX_TEXT:
                return None
            return has_spectral_norm(archive.read("config.json").decode())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
