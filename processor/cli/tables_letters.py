"""Dead letters on a terminal: the record as it came, with the exact place marked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from processor.core.tables import add_row, make_table
from processor.core.text import brief, printable
from processor.core.times import timestamp_text
from processor.replay.reading import Reading, Step
from processor.store.dead_letters import DeadLetter

#: entries of a list or object that are printed, those on the way to the marked place apart
MAX_ENTRIES = 20
MAX_TEXT, MAX_BRIEF = 200, 100
#: levels of nesting that are printed beside the way to the marked place
LEVELS = 3
#: bytes around the place in a value that can't be read
BEFORE, BEHIND = 64, 192

Lines = Iterator[tuple[bool, str]]


def _bytes(value: bytes | None) -> str:
    if value is None:
        return "none"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = f"hex {value.hex()}"
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(value):,} bytes)"


def groups_table(rows: Sequence[Mapping[str, Any]], resolved_too: bool) -> Table:
    """By reason; `rows` as `DeadLetters.groups` gives them."""
    more = ("resolved",) if resolved_too else ()
    columns = ("reason", "count", *more, "first seen", "last seen", "example")
    title = "dead letters" if resolved_too else "unresolved dead letters"
    table = make_table(columns, title=title, right=("count", "resolved"), whole=("reason",))
    for row in rows:
        example = f"{row['example_id']}: {row['example']}"
        add_row(table, row["reason"], row["count"], *map(row.get, more), row["first_seen"], row["last_seen"], example)
    return table


def letters_table(rows: Sequence[Mapping[str, Any]], reason: str, resolved_too: bool) -> Table:
    """One by one; `rows` as `DeadLetters.latest` gives them."""
    more = ("resolved",) if resolved_too else ()
    columns = ("ID", "record", "report", "place", "sentence", "attempts", "last seen", *more)
    table = make_table(columns, title=f"dead letters: {reason}")
    for row in rows:
        record = f"{row['topic']}[{row['partition']}]@{row['offset']}"
        place = _place_in_record(row["report_index"])
        resolved = [row["resolved_at"]] if resolved_too else []
        cells = (str(row["id"]), record, place, row["path"], row["detail"], row["attempts"], row["last_seen"])
        add_row(table, *cells, *resolved)
    return table


def _place_in_record(index: int) -> str:
    return "whole record" if index < 0 else str(index)


def facts_table(letter: DeadLetter) -> Table:
    """All but the value; where the place is the key or a header, it is marked."""
    record = letter.record
    table = make_table(("", f"dead letter {letter.id}"))
    table.show_edge = False
    resolved = "no" if letter.resolved_at is None else f"{letter.resolved_at:%Y-%m-%d %H:%M:%S}"
    seen = f"{letter.first_seen:%Y-%m-%d %H:%M:%S} .. {letter.last_seen:%Y-%m-%d %H:%M:%S}"
    facts = {
        "reason": letter.reason,
        "sentence": letter.detail,
        "place": letter.path or "-",
        "attempts": f"{letter.attempts} ({seen})",
        **({"said last": letter.last_detail} if letter.last_detail else {}),
        "resolved": resolved,
        "record": f"{record.topic}, partition {record.partition}, offset {record.offset}",
        "timestamp": timestamp_text(record.timestamp_ms),
        "report": _place_in_record(letter.index),
        "key": _bytes(record.key),
    }
    headers = [(f"headers.{name}", _bytes(value)) for name, value in record.headers]
    for name, fact in (*facts.items(), *headers):
        add_row(table, name, fact, style="bold red" if name == letter.path else None)
    return table


def value_lines(letter: DeadLetter, reading: Reading) -> Lines:
    """The record's value line by line; True for the line that holds the exact place."""
    value = letter.record.value or b""
    note = f": {reading.note}" if reading.note else ""
    yield False, f"value: {len(value):,} bytes, {reading.kind}{note}"
    if reading.kind in ("json", "avro"):
        lines: Lines = document_lines(reading.document, reading.place)
    elif reading.kind == "text":
        lines = text_lines(value, reading.at or 0)
    else:
        lines = hex_lines(value, reading.at)
    yield from ((marked, printable(line)) for marked, line in lines)


def document_lines(
    value: Any, place: tuple[Step, ...] | None, label: str = "", indent: str = "", levels: int = LEVELS, tail: str = ""
) -> Lines:
    """Indented JSON; `place` are the steps still to go to the marked spot, None away from it, where less is printed."""
    if not isinstance(value, (dict, list)) or not value or (place is None and levels == 0):
        text = brief(value, MAX_BRIEF) if isinstance(value, (dict, list)) else _scalar(value)
        yield place == (), f"{indent}{label}{text}{tail}"
        return
    is_object = isinstance(value, dict)
    yield place == (), f"{indent}{label}{'{' if is_object else '['}"
    on_way = place[0] if place else None
    for entry in _shown(value, on_way):
        if isinstance(entry, int):
            yield False, f"{indent}  … {entry:,} more"
            continue
        key, item, comma = entry
        name = f"{json.dumps(key, ensure_ascii=False)}: " if is_object else ""
        further = place[1:] if place and key == on_way else None
        # a long list's neighbours only show that they are there
        left = LEVELS if further is not None else 0 if place and not is_object else levels - 1
        yield from document_lines(item, further, name, indent + "  ", left, comma)
    yield False, f"{indent}{'}' if is_object else ']'}{tail}"


def _shown(value: dict[str, Any] | list[Any], on_way: Step | None) -> Iterator[tuple[Step, Any, str] | int]:
    """The first entries, and the one on the way to the marked spot, each with the comma behind it; how many are left
    out where some are."""
    entries: Iterable[tuple[Step, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    left_out = 0
    for number, (key, item) in enumerate(entries, 1):
        if key != on_way and number > MAX_ENTRIES:
            left_out += 1
            continue
        if left_out:
            yield left_out
            left_out = 0
        yield key, item, "," if number < len(value) else ""
    if left_out:
        yield left_out


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"


def text_lines(value: bytes, at: int) -> Lines:
    """What stands around the byte, and a caret below it."""
    before = printable(value[max(0, at - BEFORE) : at].decode(errors="replace"))
    behind = printable(value[at : at + BEFORE].decode(errors="replace"))
    start, end = "…" if at > BEFORE else "", "…" if len(value) > at + BEFORE else ""
    yield False, f"{start}{before}{behind}{end}"
    yield True, " " * len(start + before) + "^"


def hex_lines(value: bytes, at: int | None) -> Lines:
    """A hex dump of what stands around the byte, or of the beginning."""
    start = max(0, (at or 0) - BEFORE) // 16 * 16
    for offset in range(start, min(len(value), start + BEFORE + BEHIND), 16):
        row = value[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        marked = at is not None and offset <= at < offset + 16
        yield marked, f"{offset:08x}  {row.hex(' '):<47}  {text}"


def value_text(letter: DeadLetter, reading: Reading) -> Text:
    """`value_lines` with the marked one in red behind an arrow."""
    lines = value_lines(letter, reading)
    return Text("\n").join(
        Text(f"{'->' if marked else '  '} {line}", style="bold red" if marked else "") for marked, line in lines
    )


def tally_table(document: Mapping[str, Any]) -> Table:
    """What a redrive did, or would do; `document` is `Tally.as_json` and `dry_run`, `resolved_before`."""
    dry = document["dry_run"]
    title = "redrive, dry run: nothing was written" if dry else "redrive"
    table = make_table(("dead letters", ""), [("taken", document["dead_letters"])], title=title)
    if document["resolved_before"]:
        add_row(table, "left alone: resolved already", document["resolved_before"])
    add_row(table, "would be resolved" if dry else "resolved", document["resolved"])
    for reason, count in sorted(document["failed_again"].items()):
        add_row(table, f"rejected again: {reason}", count)
    table.add_section()
    for name, count in document["reports"].items():
        add_row(table, f"reports {name}", count)
    add_row(table, "events", document["events"])
    if document["new_dead_letters"]:
        add_row(table, "new dead letters", document["new_dead_letters"])
    return table
