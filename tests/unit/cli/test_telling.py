"""What commands say to who has never seen them: help that is whole, tables of which nothing is cut off."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from processor.cli import context, main, output, processes
from processor.core.settings import DatabaseSettings, KafkaSettings, load_settings
from processor.core.tables import make_table

LONGEST_REASON = "avro_unknown_schema"


def _groups(command: Any, name: str = "processor") -> Iterator[str]:
    if hasattr(command, "commands"):
        yield name
        for below, one in command.commands.items():
            yield from _groups(one, f"{name} {below}")


@pytest.mark.parametrize("name", [*_groups(typer.main.get_command(main.app))])
def test_no_line_of_a_list_of_commands_is_cut_off(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Half a sentence and three dots said to somebody new what he could have guessed from the command's name."""
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(main.app, [*name.split()[1:], "--help"]).stdout.partition("Commands:")[2]
    assert said.strip()
    assert "..." not in said


def _printed(monkeypatch: pytest.MonkeyPatch, columns: int | None, *words: str) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    output.show("table", [], lambda: [make_table(("reason", "example"), [words], whole=("reason",))])
    return stdout.getvalue()


@pytest.mark.parametrize("columns", [None, 250, 80])
def test_a_reason_can_be_copied_from_a_list(monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    said = _printed(monkeypatch, columns, LONGEST_REASON, "word " * 100)
    assert LONGEST_REASON in said
    assert said.count("word") == 100


@pytest.mark.parametrize("columns", [20, 40])
def test_nothing_of_a_table_is_cut_off_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    said = _printed(monkeypatch, columns, LONGEST_REASON, "cerebros.trials.raw[0]@123456789")
    assert "…" not in said
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    assert ["".join(column) for column in zip(*cells, strict=True)] == [
        LONGEST_REASON,
        "cerebros.trials.raw[0]@123456789",
    ]


def test_a_pipe_has_room_for_whole_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dead-letters list | grep` looks for words, which the 80 columns of no terminal would break."""
    assert "x" * 100 in _printed(monkeypatch, None, "x" * 100, "short")
    assert Console(file=io.StringIO()).width <= 100  # what it would be otherwise


def test_a_server_that_nobody_named_is_told_as_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        monkeypatch.delenv(f"PROCESSOR_{name}", raising=False)
    monkeypatch.setattr(context, "_loaded", [load_settings(DatabaseSettings), load_settings(KafkaSettings)])
    refused = "Postgres at localhost:5432/cerebros can't be reached: Connection refused"
    assert context.unset_addresses(refused) == " (PROCESSOR_DATABASE_URL not set, so this is the default)"
    silent = "no Kafka broker answers at localhost:9092: Connection refused"
    assert context.unset_addresses(silent) == " (PROCESSOR_KAFKA_BOOTSTRAP_SERVERS not set, so this is the default)"
    assert context.unset_addresses("there is no dead letter 7") == ""
    monkeypatch.setenv("PROCESSOR_DATABASE_URL", "postgresql://localhost:5432/cerebros")
    monkeypatch.setattr(context, "_loaded", [load_settings(DatabaseSettings)])
    assert context.unset_addresses(refused) == ""


def test_on_a_screen_it_is_said_which_line_is_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processes.gateway_token("ann", None)
    piped = capsys.readouterr()
    assert piped.out.startswith("ann sha256:")
    assert re.fullmatch(r"crb_\S+\n", piped.err)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    processes.gateway_token("ann", None)
    assert "PROCESSOR_GATEWAY_TOKENS_FILE" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["abc", "0", "-1", "9" * 30, "1.5", "\u00b2", "9223372036854775808", ""])
@pytest.mark.parametrize("command", ["show", "redrive"])
def test_what_is_no_number_of_a_dead_letter_is_told_where_numbers_are(command: str, given: str) -> None:
    said = CliRunner().invoke(main.app, ["dead-letters", command, "--", given])
    assert said.exit_code == 2
    assert "no dead letter's number: `processor dead-letters list` shows them" in " ".join(said.output.split())
