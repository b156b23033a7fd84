"""An import sends each trial once, remembers what was confirmed, and goes on where it was interrupted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from cerebros_client import UndeliveredError
from cerebros_client.backfill import importing
from cerebros_client.backfill.bar import Bar
from cerebros_client.backfill.importing import run_import
from cerebros_client.backfill.items import Item, Skipped, SourceError
from cerebros_client.backfill.journal import Journal

from tests.support.sink import SinkReporter, as_reporter


class Trials:
    """So many trials of one run, one of them not finished."""

    def __init__(self, count: int, *, ends_at: int | None = None, value: float = 1.0) -> None:
        self._count, self._ends_at, self._value = count, ends_at, value

    def count(self) -> int | None:
        return self._count

    def __iter__(self) -> Iterator[Item | Skipped]:
        for number in range(self._count):
            if number == self._ends_at:
                raise KeyboardInterrupt
            if number == 3:
                yield Skipped("run/3", "running, not finished")
                continue
            yield Item("run", str(number), 1_000 + number, {"metrics": {"value": self._value}})


@pytest.fixture
def sink(tmp_path: Path) -> SinkReporter:
    return SinkReporter(tmp_path / "reports.jsonl")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "state" / "imports.db") as opened:
        yield opened


def test_each_trial_is_sent_once_with_its_time(sink: SinkReporter, journal: Journal) -> None:
    result = run_import(Trials(10), as_reporter(sink), journal, "here")
    assert (result.sent, result.known, dict(result.skipped)) == (9, 0, {"running, not finished": 1})
    assert [(one["trial_id"], one["at"]) for one in sink.reports][:2] == [("0", 1000), ("1", 1001)]
    again = run_import(Trials(10), as_reporter(sink), journal, "here")
    assert (again.sent, again.known) == (0, 9)
    assert len(sink.reports) == 9


def test_another_target_and_another_content_are_sent(sink: SinkReporter, journal: Journal) -> None:
    run_import(Trials(10), as_reporter(sink), journal, "here")
    assert run_import(Trials(10), as_reporter(sink), journal, "there").sent == 9
    assert run_import(Trials(10, value=2.0), as_reporter(sink), journal, "here").sent == 9
    assert run_import(Trials(12), as_reporter(sink), journal, "here").sent == 2


def test_what_was_confirmed_can_be_sent_again(sink: SinkReporter, journal: Journal) -> None:
    run_import(Trials(10), as_reporter(sink), journal, "here")
    assert run_import(Trials(10), as_reporter(sink), journal, "here", again=True).sent == 9


def test_an_interrupted_import_goes_on_behind_the_last_confirmed_portion(
    sink: SinkReporter, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PORTION", 4)
    with pytest.raises(KeyboardInterrupt):
        run_import(Trials(20, ends_at=11), as_reporter(sink), journal, "here")
    assert len(sink.reports) == 10
    result = run_import(Trials(20), as_reporter(sink), journal, "here")
    assert (result.sent, result.known) == (11, 8)
    assert len(sink.rows) == 19


def test_what_is_not_confirmed_is_not_remembered(sink: SinkReporter, journal: Journal) -> None:
    sink.away = True
    with pytest.raises(UndeliveredError):
        run_import(Trials(10), as_reporter(sink), journal, "here")
    sink.away = False
    assert run_import(Trials(10), as_reporter(sink), journal, "here").sent == 9


def test_many_skipped_are_counted_and_only_the_first_are_named(
    sink: SinkReporter, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    class Unfinished(Trials):
        def __iter__(self) -> Iterator[Item | Skipped]:
            yield from (Skipped(f"run/{number}", "running") for number in range(self._count))

    result = run_import(Unfinished(500), as_reporter(sink), journal, "here")
    assert result.skipped == {"running": 500}
    assert len(caplog.records) == 20


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("something else" * 100)
    with pytest.raises(SourceError, match=r"state\.db can't keep what was sent: .*name another file with --state"):
        Journal(tmp_path / "state.db")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_writes_over_its_line_and_ends_it() -> None:
    bar = Bar(stream := Terminal(), 2, "optuna")
    bar.advance()
    bar.advance()
    bar.end()
    assert stream.getvalue().startswith("\roptuna [##############################] 2 of 2, ")
    assert stream.getvalue().endswith("\033[K\n")


def test_elsewhere_it_writes_a_line_without_sequences() -> None:
    bar = Bar(stream := io.StringIO(), None, "jsonl")
    for _ in range(1234):
        bar.advance()
    bar.end()
    assert stream.getvalue().startswith("jsonl: 1,234, ")
    assert "\r" not in stream.getvalue()
