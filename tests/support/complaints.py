"""What a command that cannot go on has to say: one sentence, with an exit code."""

from __future__ import annotations

import subprocess

Done = subprocess.CompletedProcess[str]


def assert_one_sentence(done: Done, code: int, *words: str) -> None:
    """Nothing but one line on stderr, which names each of `words`: what was tried, and what to do."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("processor: ")
    assert [word for word in words if word not in done.stderr] == [], done.stderr
