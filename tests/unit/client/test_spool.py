"""A report is on disk before `report` returns, and leaves it when it is confirmed; no disk stops a search."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import TrialReporter, UndeliveredError, spool_file
from cerebros_client import spool_sender as module
from cerebros_client.spool import listing, new_file, orphans
from cerebros_client.spool_file import SpoolFile
from cerebros_client.transport import Report, Trouble

from tests.support.patience import patient
from tests.unit.client.sending import Recorder, recorded

TARGET = "nowhere:9092/cerebros.trials.raw"


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + patient(timeout_s)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def report(number: int, run_id: str = "run") -> Report:
    return Report(run_id, str(number), json.dumps({"trial_id": number}).encode(), 1000 + number, True)


def left_behind(folder: Path, numbers: range, target: str = TARGET) -> Path:
    """A file as a killed process leaves it: reports in it, its lock gone with the process."""
    file = new_file(folder, target, 16)
    for number in numbers:
        file.put(report(number))
    os.close(file._lock_file)
    file._database.close()
    return file.path


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    reporters: list[TrialReporter] = []

    def make(**answers: Any) -> tuple[TrialReporter, Recorder]:
        reporter, recorder = recorded(monkeypatch, tmp_path / "spool")
        reporter._close_timeout_s = 0.2
        for name, value in answers.items():
            setattr(recorder, name, value)
        reporters.append(reporter)
        return reporter, recorder

    yield make
    for reporter in reporters:
        reporter.close()


def test_a_confirmed_report_leaves_nothing_behind(opened: Any, tmp_path: Path) -> None:
    reporter, recorder = opened()
    for number in range(500):
        reporter.report("run", number)
    reporter.flush(10)
    assert [document["trial_id"] for document in recorder.documents] == [str(number) for number in range(500)]
    reporter.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_report_is_on_disk_before_report_returns(opened: Any, tmp_path: Path) -> None:
    """Another process reads it while the network is away, and sees that somebody looks after it."""
    reporter, recorder = opened(is_down=True)
    reporter.report("run", 1, metrics={"accuracy": 0.5})
    [listed] = listing(tmp_path / "spool")
    assert (listed.live, listed.target, listed.counts) == (True, TARGET, (1, 0))
    with pytest.raises(UndeliveredError, match=r"run/1: no confirmation yet; it is in the spool") as caught:
        reporter.flush(0.1)
    assert json.loads(caught.value.trials[0].value)["metrics"] == {"accuracy": 0.5}
    recorder.is_down = False
    reporter.flush(10)


def test_what_is_not_confirmed_stays_is_told_and_sent_by_the_next(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving the search raises nothing: the reports are safe. They keep their times and their order."""
    reporter, down = opened(is_down=True)
    for number in range(5):
        reporter.report("run", number)
    reporter.close()
    assert down.reports == []
    assert "5 reports stay in" in caplog.text
    _, recorder = opened()
    until(lambda: len(recorder.reports) == 5)
    assert [one.trial_id for one in recorder.reports] == ["0", "1", "2", "3", "4"]
    assert recorder.reports[0].timestamp_ms <= time.time() * 1000 - 200
    until(lambda: not list((tmp_path / "spool").glob("*.db")))


def test_reports_of_a_dead_process_are_taken_over_while_others_report(opened: Any, tmp_path: Path) -> None:
    path = left_behind(tmp_path / "spool", range(1000))
    reporter, recorder = opened()
    reporter.report("run", "new")
    reporter.flush(10)
    until(lambda: not path.exists())
    assert sorted(one.timestamp_ms for one in recorder.reports if one.trial_id != "new") == list(range(1000, 2000))


def test_a_file_of_a_live_process_is_nobody_elses(tmp_path: Path) -> None:
    live = new_file(tmp_path, TARGET, 16)
    live.put(report(1))
    assert list(orphans(tmp_path, TARGET)) == []
    live.close()
    [found] = orphans(tmp_path, TARGET)
    assert list(orphans(tmp_path, TARGET)) == []
    found.close()


def test_a_lock_goes_with_its_process_however_it_ends(tmp_path: Path) -> None:
    """SIGKILL included, and no time has to pass."""
    script = f"""
import sys, pathlib, os, signal
from cerebros_client.spool import new_file
from cerebros_client.transport import Report
new_file(pathlib.Path({str(tmp_path)!r}), {TARGET!r}, 16).put(Report("run", "1", b"{{}}", 1, True))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    [found] = orphans(tmp_path, TARGET)
    assert found.counts() == (1, 0)
    found.close()


@pytest.mark.parametrize("name", ["study.db", "1700000000000-7-0123abcd.db"])
def test_a_database_of_somebody_else_is_left_as_it_is(opened: Any, tmp_path: Path, name: str) -> None:
    """Optuna's study beside the script, with the spool in the same folder; also where the name is a spool's."""
    (tmp_path / "spool").mkdir()
    path = tmp_path / "spool" / name
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table trials (number integer)")
    (tmp_path / "spool" / "notes.db").write_bytes(b"no database at all" * 100)
    before = path.read_bytes()
    reporter, _ = opened()
    reporter.report("run", 1)
    reporter.flush(10)
    assert list(orphans(tmp_path / "spool", None, refused=True)) == []
    reporter.close()
    assert path.read_bytes() == before
    assert {one.name for one in (tmp_path / "spool").iterdir()} - {f"{path.stem}.lock"} == {name, "notes.db"}


def test_reports_for_another_target_are_left_alone_and_told(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_behind(tmp_path / "spool", range(3), target="elsewhere:9092/other")
    reporter, recorder = opened()
    reporter.report("run", 1)
    reporter.flush(10)
    assert len(recorder.reports) == 1
    assert path.exists()
    assert "3 reports in" in caplog.text
    assert "spool send --all" in caplog.text


def test_a_refused_report_is_kept_and_told_and_stops_none_behind_it(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter, recorder = opened(answer=Trouble("refused: unknown_status", True))
    reporter.report("run", "bad")
    until(lambda: recorder.reports)
    recorder.answer = None
    reporter.report("run", "good")
    with pytest.raises(UndeliveredError, match=r"^1 trial .*run/bad: refused: unknown_status") as caught:
        reporter.flush(10)
    assert json.loads(caught.value.trials[0].value)["trial_id"] == "bad"
    assert "run/bad was refused" in caplog.text
    reporter.close()
    [listed] = listing(tmp_path / "spool")
    assert listed.counts == (0, 1)
    assert list(orphans(tmp_path / "spool", TARGET)) == []


def test_what_may_be_taken_later_is_tried_again(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is missing, or rights: the reports wait, each arrives once."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.05)
    reporter, recorder = opened(answer=Trouble("unknown topic", False))
    for number in range(3):
        reporter.report("run", number)
    until(lambda: len(recorder.reports) >= 3)
    recorder.answer = None
    reporter.flush(30)
    assert sorted(one.trial_id for one in recorder.confirmed) == ["0", "1", "2"]


# Ctrl-C and other signals


def test_ctrl_c_in_one_thread_takes_no_report_of_another(opened: Any) -> None:
    """It comes at each place of the writing in turn: what `report` returned for is on disk."""
    reporter, _ = opened(is_down=True)
    reporter.report("run", "first")
    file = reporter._delivery._own
    for place in range(1, 400):
        other = threading.Thread(target=reporter.report, args=("run", f"other-{place}"))
        with spool_file._lock:  # as if the disk were slow: both wait for it
            other.start()
            until(lambda: file._asked)
            interrupted = interrupted_at(place, reporter, f"main-{place}")
        other.join()
        assert f"other-{place}" in kept_in(file)
        if not interrupted:
            break
        reporter.report("run", "between")  # what was left by Ctrl-C is cleared away
    assert 5 < place < 399
    assert f"main-{place}" in kept_in(file)


def interrupted_at(place: int, reporter: TrialReporter, trial_id: str) -> bool:
    """Reports, with Ctrl-C before the line of that number of the writing; whether it came.

    Not in `put`: the interpreter lets no signal in between the end of a `with` and the release of its lock.
    """
    lines = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code not in (SpoolFile._write.__code__, SpoolFile.is_there.__code__):
            return None
        lines += event == "line"
        if lines == place and event == "line":
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        reporter.report("run", trial_id)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def kept_in(file: SpoolFile) -> set[str]:
    return {one.report.trial_id for one in file.first(10_000)}


def test_a_signals_handler_that_reports_while_its_thread_writes_takes_nothing_of_it(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The report of the handler is kept in memory; that of the interrupted call is on disk when it returns."""
    reporter, recorder = opened(is_down=True)
    reporter.report("run", "first")
    file = reporter._delivery._own
    file._database = Handled(file._database, lambda: reporter.report("run", "handler"))
    reporter.report("run", "main")
    assert kept_in(file) == {"first", "main"}
    recorder.is_down = False
    reporter.flush(10)
    assert sorted(one.trial_id for one in recorder.confirmed) == ["first", "handler", "main"]
    assert caplog.text == ""


def test_a_signals_handler_that_closes_while_its_thread_writes_waits_for_nobody(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else can get on until it returns; what it raises ends the interrupted call, whose report is not kept."""
    reporter, recorder = opened(is_down=True)
    reporter._close_timeout_s = 1000
    reporter.report("run", "first")
    file = reporter._delivery._own

    def handler() -> None:
        with pytest.raises(UndeliveredError, match="run/first: no confirmation yet; it is in the spool"):
            reporter.flush(1000)
        recorder.is_down = False
        reporter.report("run", "handler")
        reporter.close()
        raise SystemExit(3)

    file._database = Handled(file._database, handler)
    with pytest.raises(SystemExit, match="3"):
        reporter.report("run", "main")
    assert [one.trial_id for one in recorder.confirmed if one.trial_id != "first"] == ["handler"]
    assert [one.counts for one in listing(tmp_path / "spool")] == [(1, 0)]
    assert [one.getMessage().partition(" in ")[0] for one in caplog.records] == ["spool: 1 reports stay"]


class Handled:
    """A connection; once, in the middle of a transaction, a signal is handled."""

    def __init__(self, real: sqlite3.Connection, handler: Callable[[], None]) -> None:
        self._real, self._handlers = real, [handler]

    def __getattr__(self, name: str) -> Any:
        if self._real.in_transaction and self._handlers and name == "executemany":
            self._handlers.pop()()
        return getattr(self._real, name)


# the disk


def test_a_folder_that_can_not_be_made_is_told_and_reports_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    reporter, recorder = recorded(monkeypatch, tmp_path / "file" / "spool")
    for number in range(10):
        reporter.report("run", number)
    reporter.flush(5)
    assert len(recorder.reports) == 10
    assert [one.levelno for one in caplog.records] == [logging.ERROR]
    assert "kept in memory only" in caplog.text
    reporter.close()


def test_a_full_spool_falls_back_to_memory_until_there_is_room(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The bound is that of SQLite itself, which says of it what it says of a full disk."""
    reporter, recorder = opened(is_down=True)
    reporter._delivery._max_mib = 1
    for number in range(40):
        recorder.is_down = number < 30
        reporter.report("run", number, metrics={"text": "x" * 50_000})
    assert "full" in caplog.text
    reporter.flush(20)
    assert sorted(int(one.trial_id) for one in recorder.reports) == list(range(40))
    reporter.report("run", "after")
    assert sum(1 for one in caplog.records if one.levelno == logging.ERROR) == 1
    reporter.flush(20)


def test_a_damaged_file_of_the_past_is_set_aside_and_told(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_behind(tmp_path / "spool", range(100))
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(b"this is no database, or no longer one" * 1000)
    reporter, recorder = opened()
    reporter.report("run", 1)
    reporter.flush(10)
    until(lambda: path.with_suffix(".damaged").exists())
    assert len(recorder.reports) == 1
    assert "is damaged" in caplog.text
    assert [(one.path.suffix, one.counts) for one in listing(tmp_path / "spool") if not one.live] == [
        (".damaged", None)
    ]


def test_a_disk_that_fails_under_a_search_does_not_stop_it(
    opened: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reporter, recorder = opened()
    reporter.report("run", 1)
    put = SpoolFile.put

    def fails(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SpoolFile, "put", fails)
    reporter.report("run", 2)
    monkeypatch.setattr(SpoolFile, "put", put)
    reporter.report("run", 3)
    reporter.flush(10)
    assert sorted(one.trial_id for one in recorder.reports) == ["1", "2", "3"]
    assert "disk I/O error" in caplog.text


def test_a_file_that_is_found_damaged_while_it_is_used_makes_room_for_a_new_one(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reporter, recorder = opened()
    reporter.report("run", 1)
    reporter.flush(10)
    put = SpoolFile.put

    def fails(*_: Any) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr(SpoolFile, "put", fails)
    reporter.report("run", 2)
    monkeypatch.setattr(SpoolFile, "put", put)
    reporter.report("run", 3)
    reporter.flush(10)
    assert sorted(one.trial_id for one in recorder.reports) == ["1", "2", "3"]
    assert len(list((tmp_path / "spool").glob("*.damaged"))) == 1


def test_a_spool_that_is_taken_away_is_made_anew(opened: Any, tmp_path: Path) -> None:
    """SQLite would go on writing into a file that has no name any more."""
    reporter, recorder = opened(is_down=True)
    reporter.report("run", 1)
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    reporter.report("run", 2)
    assert [one.counts for one in listing(tmp_path / "spool")] == [(1, 0)]
    recorder.is_down = False
    until(lambda: len(recorder.reports) == 2)


def test_a_folder_that_became_something_else_leaves_reports_undelivered_until_they_are_confirmed(
    opened: Any, tmp_path: Path
) -> None:
    """What `stat` raises then is no `FileNotFoundError`."""
    reporter, recorder = opened(is_down=True)
    reporter.report("run", 1)
    (tmp_path / "spool").rename(tmp_path / "moved")
    (tmp_path / "spool").write_text("no folder")
    with pytest.raises(UndeliveredError, match="run/1: no confirmation yet; its file in the spool was taken away"):
        reporter.flush(0.1)
    reporter.report("run", 2)  # in memory
    recorder.is_down = False
    reporter.flush(10)
    assert {one.trial_id for one in recorder.confirmed} == {"1", "2"}
    recorder.is_down = True
    reporter.report("run", 3)
    with pytest.raises(UndeliveredError, match="run/3"):
        reporter.close()


def test_a_folder_that_can_not_be_looked_into_is_told_once_and_takes_reports_all_the_same(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(tmp_path / "spool", range(1))
    looks = 0

    def look(*what: Any, **how: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks <= 3:
            raise PermissionError(13, "Permission denied")
        return orphans(*what, **how)

    monkeypatch.setattr("cerebros_client.spooled.orphans", look)
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    reporter, recorder = opened(is_down=True)
    until(lambda: "Permission denied" in caplog.text)
    reporter.report("run", 1)
    assert [one.counts for one in listing(tmp_path / "spool") if one.live and one.path.stat().st_size][-1] == (1, 0)
    recorder.is_down = False
    until(lambda: len(recorder.confirmed) == 2)
    assert caplog.text.count("Permission denied") == 1
    assert "kept in memory" not in caplog.text


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_in_a_file_that_was_taken_away_is_undelivered_until_it_is_confirmed(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, goes_on: bool
) -> None:
    reporter, recorder = opened(is_down=True)
    reporter.report("run", 1)
    shutil.rmtree(tmp_path / "spool")
    if goes_on:
        reporter.report("run", 2)
    with pytest.raises(
        UndeliveredError, match=r"run/1: no confirmation yet; its file in the spool was taken"
    ) as caught:
        reporter.flush(0.1)
    assert [one.trial_id for one in caught.value.trials] == ["1", "2"][: 1 + goes_on]
    recorder.is_down = False
    reporter.flush(10)
    recorder.is_down = True
    reporter.report("run", 3)
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(UndeliveredError, match="run/3: no confirmation yet"):
        reporter.close()
    assert "reports stay in" not in caplog.text


def test_what_was_not_confirmed_in_a_damaged_file_is_told(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say of all of it what it was; the file is kept."""
    reporter, recorder = opened()
    reporter.report("run", "confirmed")
    reporter.flush(10)
    recorder.is_down = True
    for number in range(3):
        reporter.report("run", number)

    def fails(*_: Any) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SpoolFile, "first", fails)
        with pytest.raises(UndeliveredError, match=r"spool/.*\.damaged: damaged; not confirmed of what is in it: 3"):
            reporter.flush(0.1)
    recorder.is_down = False
    reporter.report("run", 4)
    reporter.flush(10)


def test_flush_waits_for_what_was_reported_so_far(opened: Any) -> None:
    """Another thread goes on."""
    reporter, _ = opened()
    stop = threading.Event()

    def go_on() -> None:
        number = 0
        while not stop.is_set():
            reporter.report("others", number := number + 1)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        reporter.report("run", 1)
        reporter.flush(patient(5))
    finally:
        stop.set()
        thread.join()
    reporter.flush(patient(20))


def test_nobody_else_may_read_a_spool(opened: Any, tmp_path: Path) -> None:
    reporter, _ = opened(is_down=True)
    reporter.report("run", 1)
    assert [path.name for path in (tmp_path / "spool").iterdir() if path.stat().st_mode & 0o077] == []
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
