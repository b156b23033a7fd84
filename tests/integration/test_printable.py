"""Somebody else's text can't work on a terminal: whatever ids hold, every command prints it as text."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress

import asyncpg
import pytest
from rich.console import Console

from processor.core.messages import RawRecord
from processor.core.settings import Settings
from processor.demo import show
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import produce, report
from tests.support.legacy import AS_DESIGNED
from tests.support.processes import COMMAND, Process, run_command, wait_until
from tests.support.settle import lag

#: sets the clipboard, sets the title, clears the screen, C1's way to begin the same, a line over the last one, DEL,
#: text that runs backwards, marks nobody sees, a bell, and what rich takes for markup
HOSTILE = (
    "\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x07\x1b[2J\x9b2J\x9d0;t\x9c\rover\x7f\x08"
    "\u202etxet\u2066\u200f\ufeff\u00ad\u2028\x0b[red]red[/red]\u00e9\u65e5\U0001f600"
)
#: what rich itself writes to a terminal: colours, its cursor, and the lines of a progress bar
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r\x1b\[2K|\r(?=\n)")
COMMANDS = [
    "status",
    "parked list",
    "verify --window ..",
    "replay --window .. --dry-run",
    "replay --window ..",
    "replay --to-earliest",
    "dead-letters list",
    "dead-letters list --all",
    "dead-letters list --reason not_json",
    "dead-letters list --reason unknown_status",
    "dead-letters show 1",
    "dead-letters show 2",
    "dead-letters show 3",
    "dead-letters export",
    "dead-letters redrive --dry-run",
    "parked publish",
]


def left_over(said: str) -> list[str]:
    """Characters that do something instead of being seen."""
    return [one for one in said if one != "\n" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs")]


@pytest.fixture
def hostile(
    settings: Settings, store: Session, environment: dict[str, str], start: Callable[..., Process]
) -> dict[str, str]:
    """Rows, dead letters and parked messages full of it; rows differ from the topic, which holds further reports."""
    good = json.dumps(report(run_id=f"run{HOSTILE}", trial_id=f"trial{HOSTILE}")).encode()
    status = json.dumps(report(run_id=f"run{HOSTILE}", trial_id=f"x{HOSTILE}", status=f"s{HOSTILE}")).encode()
    place = json.dumps(report(run_id=f"run{HOSTILE}", metrics={f"m{HOSTILE}": [HOSTILE]}, rank=HOSTILE)).encode()
    sent = [(HOSTILE, good), (HOSTILE, status), (HOSTILE, f"no json {HOSTILE}".encode()), (HOSTILE, place)]
    header = [(f"h{HOSTILE}", HOSTILE.encode())]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, sent, headers=header)
    ingest = start("ingest")
    wait_until(lambda: lag(settings) == 0, "all is written")
    assert ingest.stop() == 0
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [(HOSTILE, good.replace(b'"trial', b'"later'))])

    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute("update cerebros_model_trials set candidate_id = $1", HOSTILE)
        await connection.execute("update dead_letters set last_detail = $1, attempts = 2", HOSTILE)
        park = (b"x", f"{HOSTILE}#1", "events", HOSTILE)
        await connection.executemany(load_queries()["park_message"], [park])

    store.run(work)
    return environment


def on_terminal(environment: dict[str, str], *command: str) -> str:
    """What the command writes to a terminal of its own, on both outputs."""
    ours, theirs = pty.openpty()
    wide = {"COLUMNS": "250", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*COMMAND, *command], env={**os.environ, **wide, **environment}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = bytearray()
    with suppress(OSError):  # Linux says so when the last one has closed it
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    process.wait(30)
    return said.decode(errors="strict")


def test_no_command_passes_a_control_character_on(hostile: dict[str, str]) -> None:
    found, seen = {}, ""
    for command in COMMANDS:
        done = run_command({**hostile, "COLUMNS": "400"}, *command.split())
        assert "Traceback" not in done.stderr, command
        if (rest := left_over(done.stdout + done.stderr)) != []:
            found[command] = rest
        seen += done.stdout
    assert found == {}
    for shown in (r"trial\x1b]52", "[red]red[/red]", r"\x9b2J", r"\u202e"):
        assert shown in seen


def test_no_command_passes_a_control_character_on_to_a_terminal(hostile: dict[str, str]) -> None:
    found = {}
    for command in COMMANDS[1:5] + COMMANDS[9:13]:
        said = on_terminal(hostile, *command.split())
        assert "Traceback" not in said, command
        if (rest := left_over(OWN.sub("", said))) != []:
            found[command] = rest
    assert found == {}


def test_a_terminal_that_lacks_characters_and_room_fails_no_command(hostile: dict[str, str]) -> None:
    poor = {"PYTHONIOENCODING": "ascii", "COLUMNS": "20", "NO_COLOR": "1"}
    for command in COMMANDS[:-1]:
        done = run_command({**hostile, **poor}, *command.split())
        assert done.returncode in (0, 1), command
        assert done.stdout.isascii() or command == "dead-letters export", command  # that writes bytes of UTF-8
        assert "Traceback" not in done.stderr, command


@pytest.mark.parametrize("command", ["parked list", "verify --window ..", "dead-letters show 1", "dead-letters list"])
def test_json_says_it_in_escapes_of_json(command: str, hostile: dict[str, str]) -> None:
    done = run_command(hostile, *command.split(), "-f", "json")
    assert left_over(done.stdout) == []
    assert "52;c;cm0" in json.dumps(json.loads(done.stdout))
    on_ascii = run_command({**hostile, "PYTHONIOENCODING": "ascii"}, *command.split(), "-f", "json")
    assert (on_ascii.returncode, json.loads(on_ascii.stdout)) == (done.returncode, json.loads(done.stdout))


def test_a_sentence_about_rows_is_printed_as_text(empty_database_url: str) -> None:
    """`migrate` names the trials that are there twice."""
    run = "00000000-0000-0000-0000-000000000001"
    insert = f"insert into cerebros_model_trials (model_run_id, trial_id, status) values ('{run}', E'{{}}', 'failed')"
    trial = HOSTILE.encode("unicode_escape").decode()
    trial = re.sub(r"\\x([0-9a-f]{2})", r"\\u00\1", trial)
    execute(empty_database_url, AS_DESIGNED, insert.format(trial), insert.format(trial))
    done = run_command({"PROCESSOR_DATABASE_URL": empty_database_url}, "migrate")
    assert done.returncode == 1
    assert r"\x1b]52" in done.stderr
    assert left_over(done.stderr) == []


def test_the_demos_tables_and_verdict_print_it_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    headers = (("ce_type", HOSTILE.encode()), ("ce_subject", HOSTILE.encode()))
    facts = {"status": HOSTILE, "spectral_norm": HOSTILE, "trials": 1, "best": 0.5, "mean": None}
    console = Console(width=400, force_terminal=False)
    console.print(
        show.trials_table([facts]),
        show.events_table([RawRecord("t", 0, 0, 0, b"", b"", headers)]),
        show.dead_letters_table([{"reason": HOSTILE, "detail": HOSTILE}]),
        show.replay_table({HOSTILE: HOSTILE}, {HOSTILE: "other"}),
    )
    show.verdict(console, None, [HOSTILE])  # type: ignore[arg-type] # it differs: the sum is not looked at
    show.Steps(console)(HOSTILE)
    show.ways_to_look(console, {"URL": HOSTILE}, "psql", HOSTILE, HOSTILE)
    said = capsys.readouterr().out
    assert left_over(said) == []
    assert said.count("[red]red[/red]") >= 10


LOGS = """
import logging, sys, structlog
from processor.core.logs import configure_logs
from processor.core.settings import ProcessSettings

hostile = sys.argv[1]
configure_logs(ProcessSettings(log_format=sys.argv[2]), "test")
log = structlog.get_logger()
log.warning("rejected", detail=hostile, many=[hostile], mapped={hostile: hostile}, raw=hostile.encode())
logging.getLogger("asyncio").error(hostile)
try:
    raise ValueError(hostile)
except ValueError:
    log.error("broken", exc_info=True)
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_log_prints_it_as_text(form: str) -> None:
    command: Sequence[str] = [sys.executable, "-c", LOGS, HOSTILE, form]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert left_over(OWN.sub("", said)) == []
    assert said.count("52;c;cm0") >= 6
