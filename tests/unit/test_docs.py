"""The documentation is held to the code: what a person can set, call, read or watch is in it, and what is in it exists.

Links and anchors are looked at here too, so that a dead one fails before `make docs` does.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from typer.main import get_command

import processor
from processor.cli.main import app
from processor.contracts.catalogue import Catalogue
from processor.core.fields import EVENTS
from processor.core.messages import Reason, Rejection, TrialReport
from processor.core.metrics import REGISTRY
from processor.core.settings import PREFIX, Settings
from processor.decode.decoder import Decoder
from processor.decode.rules import STATUSES
from processor.events.bodies import EventWriter
from processor.events.headers import cloud_event_headers, dead_letter_message, event_id
from tests.factories import record

ROOT = Path(__file__).parents[2]
CATALOGUE = Catalogue.load(ROOT / "schemas")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
#: the text of every page by its path: `README`, `docs/howto/replay`
PAGES = {path.relative_to(ROOT).with_suffix("").as_posix(): path.read_text(encoding="utf-8") for path in sorted(FILES)}
#: all that is said of the present
EVERYTHING = "\n".join(text for name, text in PAGES.items() if name != "CHANGELOG")


def page(name: str) -> str:
    """The text of a page under docs/, such as `reference/settings`."""
    return PAGES[f"docs/{name}"]


def prose(text: str) -> str:
    return FENCED.sub("", text)


def chapter(text: str, title: str) -> str:
    """What stands below a heading, its sub-headings included."""
    text = prose(text)
    match = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert match, f"the page has no chapter {title}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row in a page or a chapter, headings and rulers left out."""
    lines = [line for line in prose(text).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rulers = {number for number, row in enumerate(cells) if set("".join(row)) <= set("-:")}
    return [row for number, row in enumerate(cells) if number not in rulers and number + 1 not in rulers]


def code(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def first_codes(text: str) -> list[str]:
    return [name for row in rows(text) for name in code(row[0])]


# settings


def setting_row(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default if field.default is not PydanticUndefined else {}
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    shown = "" if default is None else f" `{default}`"
    meaning = (field.description or "").replace("|", r"\|")
    return f"| `{PREFIX}{name.upper()}` |{shown} | {meaning} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_listed_with_the_default_and_the_meaning_it_has_in_the_code(name: str) -> None:
    assert setting_row(name) in page("reference/settings").splitlines()


def test_no_variable_is_named_that_is_no_setting() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", EVERYTHING)) == known


# commands


def commands(command: Any, path: str = "processor") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what a person types."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(get_command(app)))


def names_of(command: Any) -> list[set[str]]:
    """The names of each option; a switch may be named by what turns it off."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    names = [{*parameter.opts, *parameter.secondary_opts} for parameter in shown]
    return [one for one in names if "--help" not in one and any(name.startswith("-") for name in one)]


def offered_by(command: Any) -> set[str]:
    return set().union(*names_of(command))


def test_every_command_is_listed_once_and_no_other() -> None:
    assert sorted(COMMANDS) == sorted(first_codes(page("reference/commands")))


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_listed_with_all_of_its_options_and_no_other(path: str) -> None:
    (row,) = (row for row in rows(page("reference/commands")) if row[0] == f"`{path}`")
    listed = {option for option in code(row[2]) if option.startswith("-")}
    assert [names for names in names_of(COMMANDS[path]) if not names & listed] == []
    assert listed <= offered_by(COMMANDS[path])


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_only_use_options_that_the_command_has(path: str) -> None:
    examples = re.findall(rf"{path} ([^`#\n]*)", EVERYTHING)
    used = {option for example in examples for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", example)}
    assert used - {"--help"} <= offered_by(COMMANDS[path])


def test_each_way_to_say_where_a_replay_starts_is_explained() -> None:
    ways = {one for one in offered_by(COMMANDS["processor replay"]) if re.match("--(to|by|shift|from)-", one)}
    assert ways == {way.split()[0] for way in first_codes(chapter(page("howto/replay"), "By resetting the group"))}


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", EVERYTHING, re.MULTILINE)) <= targets


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split()) - {"help", "clean"}
    assert targets <= set(re.findall(r"make ([a-z-]+) ", "\n".join(re.findall(r"^\t@echo .*$", text, re.MULTILINE))))


# metrics and logs


def metric_row(metric: Metric) -> tuple[str, str, set[str]]:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    collector: Any = REGISTRY._names_to_collectors[metric.name]
    return name, metric.type, set(collector._labelnames)


def test_every_metric_is_listed_with_its_type_and_labels_and_no_other() -> None:
    listed = [(code(row[0])[0], row[1], set(code(row[2]))) for row in rows(page("reference/metrics"))]
    assert sorted(metric_row(metric)[:2] for metric in REGISTRY.collect()) == sorted(row[:2] for row in listed)
    assert {row[0]: row[2] for row in map(metric_row, REGISTRY.collect())} == {row[0]: row[2] for row in listed}


def test_every_alert_is_about_a_metric_that_exists() -> None:
    names = {metric_row(metric)[0] for metric in REGISTRY.collect()}
    known = names | {f"{name}{suffix}" for name in names for suffix in ("_count", "_sum", "_bucket")}
    assert set(re.findall(r"\bprocessor_[a-z_]+", EVERYTHING)) - {"processor_migrations"} <= known


def logged(path: Path) -> Iterator[str]:
    """The first argument of every log.info, log.warning, ... of structlog: one word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "log":
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.isidentifier():
                yield first.value


def test_every_log_line_is_listed_and_no_other() -> None:
    said = {event for path in (ROOT / "processor").rglob("*.py") for event in logged(path)}
    assert sorted(said) == sorted(first_codes(page("reference/log-lines")))


# rooms


def test_every_room_is_listed_and_no_other() -> None:
    rooms = [path.parent.name for path in (ROOT / "processor").glob("*/__init__.py")]
    assert sorted(rooms) == sorted(row[0].strip("`") for row in rows(page("explanation/rooms")))


def test_the_order_of_the_rooms_is_the_one_that_is_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert "```\n" + "\n".join(layers) + "\n```" in page("explanation/rooms")


# reports, tables, events, dead letters


def test_every_reason_is_listed_with_a_meaning_and_no_other() -> None:
    reasons = chapter(page("reference/dead-letters"), "Reasons")
    assert sorted(Reason) == sorted(first_codes(reasons))
    assert [row for row in rows(reasons) if not row[1]] == []


NORMALISATION = chapter(page("reference/raw-topic"), "Normalisation")


def test_every_field_of_a_report_has_its_rule() -> None:
    assert sorted(CATALOGUE.fields("trial_report")) == sorted(first_codes(NORMALISATION))


@pytest.mark.parametrize(("title", "subject"), [("Life of a run", "run_report"), ("Progress", "trial_progress")])
def test_every_field_of_life_and_progress_has_its_rule(title: str, subject: str) -> None:
    assert sorted(CATALOGUE.fields(subject)) == sorted(first_codes(chapter(page("reference/raw-topic"), title)))


def test_every_word_for_a_status_is_listed() -> None:
    table = rows(chapter(page("reference/raw-topic"), "Status words"))
    assert {word: status.strip("`") for status, words in table for word in words.split(", ")} == STATUSES


def test_every_schema_file_is_linked() -> None:
    files = [schema.path for subject in CATALOGUE.subjects() for schema in CATALOGUE.versions(subject)]
    text = page("reference/schemas")
    assert [path for path in files if f"](../../{path.relative_to(ROOT).as_posix()})" not in text] == []


TABLES = [
    "cerebros_model_runs",
    "cerebros_model_trials",
    "cerebros_run_reports",
    "cerebros_trial_progress",
    "cerebros_trial_metrics",
]


def columns(table: str) -> set[str]:
    """The columns that the migrations make, read from their SQL."""
    files = sorted((ROOT / "processor" / "store" / "sql" / "migrations").glob("*.sql"))
    sql = re.sub(r"--.*", "", "\n".join(path.read_text() for path in files))
    (created,) = re.findall(rf"create table (?:if not exists )?{table} \((.*?)\n\);", sql, re.DOTALL)
    added = "".join(re.findall(rf"alter table {table}\s+add column.*?;", sql, re.DOTALL))
    names = re.findall(r'^    "?([a-z_]+)"? +[a-z]', created, re.MULTILINE)
    return {*names, *re.findall(r"add column (?:if not exists )?([a-z_]+) ", added)} - {"unique", "primary"}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_table_is_listed_and_no_other(table: str) -> None:
    assert sorted(columns(table)) == sorted(first_codes(chapter(page("reference/tables"), table)))


@pytest.mark.parametrize(
    ("title", "tables"),
    [
        ("outbox, outbox_parked", ("outbox", "outbox_parked")),
        ("dead_letter_records, dead_letters", ("dead_letter_records", "dead_letters")),
    ],
)
def test_every_column_of_two_tables_is_listed_and_no_other(title: str, tables: tuple[str, str]) -> None:
    listed: dict[str, set[str]] = {}
    table = ""
    for row in rows(chapter(page("reference/tables"), title)):
        table = row[0].strip("`") or table  # named in its first row only
        listed.setdefault(table, set()).update(code(row[1]))
    assert {table: columns(table) for table in tables} == listed


@pytest.mark.parametrize("subject", EVENTS)
def test_every_field_of_an_event_is_listed_and_no_other(subject: str) -> None:
    (row,) = (row for row in rows(page("reference/events")) if len(row) == 3 and row[1] == f"`{subject}`")
    assert list(CATALOGUE.fields(subject)) == code(row[2])


def test_every_header_of_an_event_is_listed_and_no_other() -> None:
    (report,) = Decoder(CATALOGUE)(record())
    assert isinstance(report, TrialReport)
    message = EventWriter()(report, 1)
    assert message is not None
    assert sorted(name for name, _ in cloud_event_headers(message, b"/")) == sorted(
        first_codes(page("reference/events"))
    )


def test_the_id_that_is_given_as_an_example_is_right() -> None:
    example = re.search(r"`(\[[^`]+\])` gives `([0-9a-f-]{36})`", page("reference/events"))
    assert example
    assert event_id(*json.loads(example[1])) == example[2]


def test_every_header_of_a_dead_letter_is_listed() -> None:
    message = dead_letter_message(Rejection(record(), 0, Reason.NOT_JSON, "detail"), 1)
    topic = chapter(page("reference/dead-letters"), "The dead letter topic")
    assert {name for name, _ in message.headers} | {"dead_letter_value"} == set(first_codes(topic))


# the pages themselves


def slug(heading: str) -> str:
    """The anchor of a heading, as repository hosts and Sphinx make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)}


LINKS = sorted({(name, link) for name, text in PAGES.items() for link in re.findall(r"\]\(([^)]+)\)", prose(text))})


@pytest.mark.parametrize(("name", "link"), [one for one in LINKS if "://" not in one[1]])
def test_every_link_leads_somewhere(name: str, link: str) -> None:
    file, _, anchor = link.partition("#")
    here = ROOT / f"{name}.md"
    there = (here.parent / file).resolve() if file else here
    assert there.is_file()
    assert there.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(there.read_text(encoding="utf-8"))


def in_toctree() -> list[str]:
    """The pages that the index hands to the navigation, in its order."""
    entries = "\n".join(re.findall(r"^```\{toctree\}$(.*?)^```$", page("index"), re.MULTILINE | re.DOTALL))
    files = [ROOT / "docs" / f"{entry}.md" for entry in entries.split("\n") if entry and not entry.startswith(":")]
    return [file.resolve().relative_to(ROOT).with_suffix("").as_posix() for file in files]


def test_every_page_is_in_the_navigation_once_and_no_other() -> None:
    assert sorted(PAGES.keys() - {"docs/index"}) == sorted(in_toctree())


def test_every_page_is_linked_in_the_index() -> None:
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for name, link in LINKS if name == "docs/index"}
    assert [name for name in in_toctree() if ROOT / f"{name}.md" not in linked] == []


def test_the_readme_leads_to_every_page_and_is_short() -> None:
    linked = {link for name, link in LINKS if name == "README"}
    assert "docs/index.md" in linked
    assert len(PAGES["README"].encode()) <= 10 * 1024


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("benchmarks/")])
def test_lines_outside_of_tables_are_at_most_120_characters(name: str) -> None:
    assert [line for line in PAGES[name].splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_each_promise_names_the_tests_that_break_when_it_does() -> None:
    promises = rows(chapter(PAGES["README"], "Promises"))
    assert [row[0] for row in promises] == [str(number) for number in range(1, 9)]
    assert [row for row in promises if "](tests/" not in row[2]] == []


def test_the_changelog_has_this_version() -> None:
    assert f"## [{processor.__version__}]" in PAGES["CHANGELOG"]
