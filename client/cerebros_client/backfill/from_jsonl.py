"""A file of JSON lines, each one report in any form that the processor reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cerebros_client.backfill.items import Item, Skipped, SourceError, to_ms

# what programs call the moment a trial ended, the surest first
TIMES = ("at", "completed_at", "datetime_complete", "finished_at", "ended_at", "timestamp", "ts", "time", "inserted_at")
MAX_LINE = 64 * 1024 * 1024
_RUNS = ("run_id", "model_run_id", "study_name", "study_id")
_BETWEEN = re.compile(r"[\s,]*")
#: ids and times are all that is read here. A longer integer is neither, but no fault of the line: Python reads none of
#: more than 4300 digits, or takes a time that grows with their square
_READER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= 400 else digits)
_SECONDS_END = 100_000_000_000  # seconds until the year 5138; a greater number is milliseconds


class JsonLines:
    """The time of a report is the first of `TIMES` that it has, else that of the file's last change."""

    def __init__(self, path: Path, *, run_id: str | None = None) -> None:
        """`run_id`: of lines that name no run. Raises `SourceError` where there is no such file."""
        if not path.is_file():
            raise SourceError(f"{path} is no file")
        self._path, self._run_id = path, run_id
        self._changed_ms = to_ms(path.stat().st_mtime)

    def count(self) -> int | None:
        with self._path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def __iter__(self) -> Iterator[Item | Skipped]:
        with self._path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                where = f"{self._path}, line {number}"
                if len(line) > MAX_LINE:
                    raise SourceError(f"{where}: more than {MAX_LINE // 2**20} MiB without an end of line")
                if stripped := line.strip().removeprefix(b"\xef\xbb\xbf"):
                    yield from self._items(stripped, where)

    def _items(self, line: bytes, where: str) -> Iterator[Item | Skipped]:
        """One; of a list, as the raw topic takes it too, one each: its reports may be of several runs."""
        try:
            text = line.decode()
            report = _READER.decode(text)
            listed = _apart(text) if isinstance(report, list) else None
        except (ValueError, RecursionError):
            yield Skipped(where, "no JSON")
            return
        if listed is None:
            yield self._item(report, text, where)
            return
        for number, (one, value) in enumerate(listed, 1):
            yield self._item(one, value, f"{where}, number {number}")

    def _item(self, report: Any, text: str, where: str) -> Item | Skipped:
        """Sent as the text it came as: read and written again a number would keep the digits of a double only."""
        if not isinstance(report, Mapping):
            return Skipped(where, "no JSON object")
        run_id = next((report[name] for name in _RUNS if report.get(name)), self._run_id)
        trial_id = report.get("trial_id", report.get("number"))
        if run_id is None or trial_id in (None, ""):
            return Skipped(where, "no run_id" if run_id is None else "no trial_id")
        if run_id is self._run_id:
            # at the end: of a name that is there twice the last one counts
            text = f'{text[:-1]}{", " if report else ""}"run_id": {json.dumps(run_id)}}}'
        return Item(str(run_id), str(trial_id), self._moment(report), value=text.encode())

    def _moment(self, report: Mapping[str, Any]) -> int:
        for name in TIMES:
            if (found := read_moment(report.get(name))) is not None:
                return found
        return self._changed_ms


def _apart(text: str) -> list[tuple[Any, str]]:
    """Each value of a JSON list, with the text it came as."""
    found: list[tuple[Any, str]] = []
    at = _BETWEEN.match(text, 1).end()  # type: ignore[union-attr] # it matches nothing too
    while text[at] != "]":
        value, end = _READER.raw_decode(text, at)
        found.append((value, text[at:end]))
        at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
    return found


def read_moment(value: Any) -> int | None:
    """Milliseconds since 1970 of ISO 8601 (local, where it has no zone), or of a number of seconds or milliseconds."""
    try:
        if isinstance(value, str):
            return to_ms(datetime.fromisoformat(value).timestamp())
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return to_ms(value if value < _SECONDS_END else value / 1000)
    except (ValueError, OverflowError, OSError):
        return None
    return None
