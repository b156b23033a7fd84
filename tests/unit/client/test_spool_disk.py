"""A disk that is full, damaged or from the past: what is on it is sent and forgotten as far as it can be, or told."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import TrialReporter, UndeliveredError
from cerebros_client.commands.main import main
from cerebros_client.spool import listing, new_file
from cerebros_client.spool_file import SpoolFile
from cerebros_client.spool_log import unread_bytes
from cerebros_client.spooled import Spooled
from cerebros_client.transport import Trouble

from tests.unit.client.sending import Recorder, recorded
from tests.unit.client.test_spool import TARGET, kept_in, left_behind, report, until

FRAME = 24 + 4096  # of SQLite's log, behind its header of 32 bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 8 MiB; only root may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.decode())
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def spooled(reporter: TrialReporter) -> Spooled:
    assert isinstance(reporter._delivery, Spooled)
    return reporter._delivery


def own_file(reporter: TrialReporter) -> SpoolFile:
    file = spooled(reporter)._own
    assert file is not None
    return file


def fill(reporter: TrialReporter, name: str = "r") -> int:
    """How many reports are on disk when it takes no more; those that only memory has are some more."""
    number = 0
    while not spooled(reporter)._direct.is_waiting:
        reporter.report("run", f"{name}-{number}", parameters={"text": os.urandom(600).hex()})
        number += 1
    return number - 1


def killed(folder: Path, numbers: range) -> Path:
    """As a kill leaves it, unlike `left_behind`: the log is not in the database yet."""
    live = new_file(folder / "live", TARGET, 16)
    for number in numbers:
        live.put(report(number))
    for path in (live.path, live.path.with_suffix(".db-wal")):
        shutil.copy(path, folder / path.name)
    live.close()
    shutil.rmtree(folder / "live")
    return folder / live.path.name


def sent_from(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Recorder:
    """What the next reporter sends of what is left there."""
    reporter, recorder = recorded(monkeypatch, folder)
    until(lambda: spooled(reporter).sender.has_looked and not spooled(reporter).sender.files)
    reporter.close()
    return recorder


def wrote(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x55]))


# full


def test_a_spool_that_has_filled_its_disk_empties_itself_and_is_used_again(
    monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    reporter, recorder = recorded(monkeypatch, small_disk / "spool")
    recorder.is_down = True
    count = fill(reporter)
    assert count > 1000
    recorder.is_down = False
    reporter.flush(20)
    assert own_file(reporter).counts() == (0, 0)
    assert len(recorder.reports) == count + 1
    recorder.is_down = True
    assert fill(reporter, "again") > count / 2
    recorder.is_down = False
    reporter.close()
    assert list((small_disk / "spool").iterdir()) == []


def test_what_a_process_left_on_a_full_disk_is_sent_once_and_forgotten(
    monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    """Whoever sends it has no room for a file of its own."""
    folder = small_disk / "spool"
    script = f"""
import sys, pathlib, os, signal, sqlite3
from cerebros_client.spool import new_file
from cerebros_client.transport import Report
file = new_file(pathlib.Path({str(folder)!r}), {TARGET!r}, 16)
try:
    for number in range(100_000):
        file.put(Report("run", str(number), os.urandom(2000), 1, True))
except sqlite3.Error:
    print(number, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    dead = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    recorder = sent_from(monkeypatch, folder)
    assert len(recorder.reports) == int(dead.stdout) > 1000
    assert list(folder.iterdir()) == []


def test_what_was_left_is_sent_though_the_rest_of_the_disk_was_taken_since(
    monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    """Even to look into the file SQLite needs room: its index of the log went with the process that closed it."""
    folder = small_disk / "spool"
    left_behind(folder, range(100))
    [path] = folder.glob("*.db")
    assert not path.with_suffix(".db-shm").exists()
    with contextlib.suppress(OSError), (small_disk / "others").open("wb", buffering=0) as others:
        while others.write(bytes(4096)) == 4096:
            pass
    assert len(sent_from(monkeypatch, folder).reports) == 100
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("says", [errno.EOPNOTSUPP, None])
def test_room_is_kept_where_the_system_has_no_call_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: int | None
) -> None:
    """A file system behind musl's C library, and macOS, whose Python has no such function."""

    def refuses(*_: int) -> None:
        raise OSError(says, "not supported")

    if says is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuses)
    reporter, _ = recorded(monkeypatch, tmp_path)
    reporter.report("run", 1)
    assert own_file(reporter).path.with_suffix(".reserve").stat().st_blocks * 512 >= 2 * 1024 * 1024
    reporter.close()


def test_what_is_confirmed_is_delivered_though_the_disk_can_not_forget_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reporter, recorder = recorded(monkeypatch, tmp_path / "spool")
    with monkeypatch.context() as patched:
        patched.setattr(SpoolFile, "forget", fails("disk I/O error"))
        reporter.report("run", 1)
        reporter.flush(5)
        recorder.is_down = True
        reporter.report("run", 2)
        with pytest.raises(UndeliveredError, match=r"^1 trial .*run/2: no confirmation yet") as caught:
            reporter.flush(0.1)
        assert len(caught.value.trials) == 1
    recorder.is_down = False
    reporter.close()
    assert list((tmp_path / "spool").iterdir()) == []
    assert [one.trial_id for one in recorder.reports] == ["1", "2"]


def test_a_refusal_that_the_disk_does_not_take_at_first_is_marked_and_told_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reporter, recorder = recorded(monkeypatch, tmp_path / "spool")
    recorder.answer = Trouble("refused: no status", True)
    with monkeypatch.context() as patched:
        patched.setattr(SpoolFile, "refuse", fails("database or disk is full", sqlite3.SQLITE_FULL))
        reporter.report("run", "bad")
        until(lambda: recorder.reports)
        recorder.answer = None
        reporter.report("run", "good")
        until(lambda: len(recorder.confirmed) == 1)
        until(lambda: kept_in(own_file(reporter)) == {"bad"})
    with pytest.raises(UndeliveredError, match=r"^1 trial .*run/bad: refused: no status"):
        reporter.flush(5)
    reporter.close()
    assert [one.counts for one in listing(tmp_path / "spool")] == [(0, 1)]


def fails(words: str, code: int = sqlite3.SQLITE_IOERR, path: Path | None = None) -> Callable[..., Any]:
    """For a method of `SpoolFile`, of one file or of each."""

    def method(file: SpoolFile, *_: Any, **__: Any) -> Any:
        if path is not None and file.path != path:
            return []
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error

    return method


# damaged


@pytest.mark.parametrize(("place", "sent"), [(10, 0), (32 + 20 * FRAME + 100, None), (32 + 20 * FRAME + 10, None)])
def test_a_damaged_log_is_told_and_kept_and_what_is_before_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: int, sent: int | None
) -> None:
    """SQLite says nothing of it. Damaged in its header, in a page, in the header of a page."""
    path = killed(tmp_path, range(50))
    log = path.with_suffix(".db-wal")
    whole = log.stat().st_size
    wrote(log, place)
    before = log.read_bytes()
    recorder = sent_from(monkeypatch, tmp_path)
    assert len(recorder.reports) == sent if sent is not None else 0 < len(recorder.reports) < 50
    [said] = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    unread = whole if place < 32 else whole - 32 - 20 * FRAME
    assert said.startswith(f"spool: {unread} bytes of the log of {path} are damaged")
    assert path.with_suffix(".damaged-wal").read_bytes() == before
    assert [(one.path.suffix, one.counts) for one in listing(tmp_path)] == [(".damaged", None)]


def test_a_log_that_a_kill_cut_short_is_not_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of the last transaction, whose `report` has not returned; at the beginning there is no log."""
    path = killed(tmp_path, range(50))
    log = path.with_suffix(".db-wal")
    whole = log.read_bytes()
    for size in range(0, len(whole), FRAME // 3):
        log.write_bytes(whole[:size])
        assert unread_bytes(log) == 0
    log.write_bytes(whole[:-100] + bytes(100))
    assert len(sent_from(monkeypatch, tmp_path).reports) == 49
    assert caplog.text == ""


def test_pages_of_an_earlier_round_of_the_log_are_no_damage(tmp_path: Path) -> None:
    """It is written from its beginning again, over what has been moved into the database."""
    live = new_file(tmp_path, TARGET, 16)
    for number in range(700):
        live.put(report(number))
        assert number % 20 or unread_bytes(live.path.with_suffix(".db-wal")) == 0
    live.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT])
@pytest.mark.parametrize("method", ["following", "forget", "is_waiting"])
def test_a_file_of_a_dead_process_that_can_not_be_used_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, code: int
) -> None:
    """Neither this process's file, which was set aside for it, nor the reports in it."""
    path = left_behind(tmp_path, range(3))
    real = getattr(SpoolFile, method)
    failing = fails("it fails", code, path)
    monkeypatch.setattr(SpoolFile, method, lambda file, *given: (failing if file.path == path else real)(file, *given))
    reporter, recorder = recorded(monkeypatch, tmp_path)
    until(lambda: "it fails" in caplog.text)
    for number in range(10, 13):
        reporter.report("run", number)
    reporter.flush(10)
    assert {"10", "11", "12"} <= {one.trial_id for one in recorder.confirmed}
    assert f"{path} can't be used (it fails)" in caplog.text
    assert [one.levelname for one in caplog.records].count("ERROR") == 1
    assert path.with_suffix(".damaged").exists() == (code == sqlite3.SQLITE_CORRUPT)
    assert len(list(tmp_path.glob("*.damaged"))) <= 1
    reporter.close()


# of the past


def older(folder: Path, columns: str, values: str) -> Path:
    path = folder / "1700000000000-7-0123abcd.db"
    database = sqlite3.connect(path)
    database.executescript(
        f"create table target (name text not null); insert into target values ('{TARGET}');"
        f"create table reports ({columns}); insert into reports values ({values});"
    )
    database.close()
    return path


def test_a_file_of_before_refusals_were_kept_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    columns = "seq integer primary key autoincrement, run_id text, trial_id text, timestamp_ms integer, single, value"
    older(tmp_path, columns, "1, 'run', '7', 5, 1, x'7b7d'")
    recorder = sent_from(monkeypatch, tmp_path)
    assert recorder.reports == [("run", "7", b"{}", 5, True)]
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_what_a_report_consists_of_is_set_aside_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = older(tmp_path, "seq integer primary key, run_id text, value blob", "1, 'run', x'7b7d'")
    assert sent_from(monkeypatch, tmp_path).reports == []
    assert "is damaged (its table has no single, timestamp_ms, trial_id)" in caplog.text
    assert path.with_suffix(".damaged").exists()


def test_spool_send_fails_where_something_could_not_be_read(tmp_path: Path) -> None:
    older(tmp_path, "seq integer primary key, run_id text, value blob", "1, 'run', x'7b7d'")
    send = ["spool", "send", str(tmp_path), "--url", "http://127.0.0.1:9", "--timeout", "5"]
    assert main(send) == 1
    assert main(send) == 0
