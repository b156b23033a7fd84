"""Whatever streams a command is started with, what it prints is there, and its exit code is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.patience import patient

TEXT = "naïve 日本 😀 \udcff ß│…"
PRINT = f"from processor.cli.ending import end_with; end_with(lambda: print({TEXT!a}))"
VERSION = [sys.executable, "-m", "processor", "--version"]


def run(command: Sequence[str], shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """As it is, or with the redirections of `shell`."""
    arguments = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.run(
        arguments, capture_output=True, timeout=patient(60), check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "shift_jis", "utf-8"])
def test_characters_that_a_terminal_lacks_are_escapes_of_json(encoding: str) -> None:
    done = run([sys.executable, "-c", PRINT], PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(f'"{done.stdout.decode(encoding).strip()}"') == TEXT


def test_a_closed_stdout_takes_nothing_and_says_so() -> None:
    done = run(VERSION, ">&-")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"processor: what was printed can't be written: Bad file descriptor\n"


def test_a_closed_stderr_is_no_reason_to_fail() -> None:
    done = run(VERSION, "2>&-")
    assert (done.returncode, done.stdout[:10]) == (0, b"processor ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("command", ["--version", "--help", "schemas list", "schemas list -f json"])
def test_a_disk_that_is_full_is_told_in_one_sentence(command: str) -> None:
    done = run([*VERSION[:-1], *command.split()], ">/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        b"processor: what was printed can't be written: No space left on device\n",
    )


def test_no_connection_becomes_a_stream_that_was_closed(tmp_path: Path) -> None:
    """What is printed there, by a library of C too, would be sent to whoever is at its other end."""
    script = """
        import os, socket, sys
        from processor.cli.ending import end_with
        def main():
            ours, theirs = socket.socketpair()
            open(sys.argv[1], "w").write(f"{ours.fileno() > 2 and theirs.fileno() > 2} {sys.stdin.read()!r}")
        end_with(main)
    """.replace("\n        ", "\n")
    said = tmp_path / "said"
    done = run([sys.executable, "-c", script, str(said)], "<&- >&- 2>&-")
    assert done.returncode == 0
    assert said.read_text() == "True ''"
