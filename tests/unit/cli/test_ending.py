"""The end of a process while threads of C still call back: its own exit code, and everything it said."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.patience import patient


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def started(script: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    source = "import atexit, sys\nfrom processor.cli.ending import end_with\n" + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


def run(script: str, stdout: int = subprocess.PIPE) -> Done:
    process = started(script, stdout)
    printed, said = process.communicate(timeout=patient(60))
    return Done(process.returncode, printed, said)


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("sys.exit('a sentence')", 1, "a sentence\n"),
        ("raise SystemExit(None)", 0, ""),
    ],
)
def test_the_exit_code_is_what_the_command_asks_for(ends: str, code: int, said: str) -> None:
    done = run(f"""
        def main():
            atexit.register(print, "and this")
            print("printed")
            {ends}
        end_with(main)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (code, "printed\nand this\n", said)


def test_a_fault_of_ours_shows_its_traceback() -> None:
    done = run("""
        def main():
            raise RuntimeError("a fault")
        end_with(main)
    """)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: a fault\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_what_can_not_be_written_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = run("end_with(lambda: print('a table'))", stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr == "processor: what was printed can't be written: No space left on device\n"


def test_a_client_that_waits_for_an_answer_harms_no_end() -> None:
    """Its request is given up by a thread of C when no interpreter is left: C's exit handlers wait for that here."""
    script = """
        import ctypes, socket
        from confluent_kafka import TopicCollection
        from confluent_kafka.admin import AdminClient
        def main():
            silent = socket.create_server(("127.0.0.1", 0))
            admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{silent.getsockname()[1]}", "log_level": 0})
            asked = admin.describe_topics(TopicCollection(["t"]), request_timeout=1)
            for kept in (silent, admin, asked):  # as a cycle of objects would
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
            libc = ctypes.CDLL(None)
            libc.__cxa_atexit(libc.getchar, None, None)
            sys.exit(3)
        end_with(main)
    """
    process = started(script)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patient(5))
    _, said = process.communicate("go on")
    assert (process.returncode, said) == (3, "")
