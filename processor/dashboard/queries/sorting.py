"""In which order trials come, and the place in it where a page ends.

Values of one metric may be of several types: numbers come first, then texts, then what is not finite, then trials
without a value, in either direction; equal ones are ordered by id, so that a page never shows a trial twice. A cursor
is the last trial's values: the next page starts behind them, however many trials came meanwhile. A text that is too
long for a URL is looked up by the trial's id instead.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from processor.core.errors import UsageError
from processor.core.numbers import MAX_DIGITS
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.text import write_path
from processor.dashboard.filters.tree import Is, Path
from processor.dashboard.queries.assembling import Assembly, indexed_sql, value_sql
from processor.store.path_numbers import double_of

#: columns that every trial has, with their types: compared as they are, so that an index may serve the order
PLAIN = {
    "inserted_at": "timestamptz",
    "updated_at": "timestamptz",
    "trial_id": "text",
    "status": "text",
    "run_id": "text",
    "spectral_norm": "boolean",
    "revision": "bigint",
}
_NUMBERS, _TEXTS = 0, 1
#: bytes of a text that a cursor holds: in base64, and with an id, less than a parameter may have
_HELD = 1200
_INFINITE = """('"NaN"'::jsonb, '"Infinity"'::jsonb, '"-Infinity"'::jsonb)"""
_KIND = (
    "case jsonb_typeof({value}) when 'number' then 0 when 'boolean' then 1 "
    f"when 'string' then case when {{value}} in {_INFINITE} then 2 else 1 end else 3 end"
)
_NUMBER = "case jsonb_typeof({value}) when 'number' then {value}::numeric end"
#: none where the value is not finite: those are equal, and ordered by id alone
_TEXT = (
    "case when jsonb_typeof({value}) = 'boolean' or "
    f"(jsonb_typeof({{value}}) = 'string' and {{value}} not in {_INFINITE}) then {{value}} #>> array[]::text[] end"
)

_TEXT_OF = (
    "(select {text} from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id "
    "where trial.id = {id})"
)


class Sort(NamedTuple):
    path: Path
    down: bool


class Cursor(NamedTuple):
    """The trial behind which a page starts, or before which it ends: its kind, its value as text, its id.

    A text without a value is the one that the trial with this id has.
    """

    kind: int
    value: str | None
    id: str
    back: bool = False


NEWEST = Sort(Path("inserted_at"), True)


def read_sort(text: str) -> Sort:
    """`accuracy`, `-metrics.loss`, `-duration_ms`; empty: the newest first. Raises `UsageError`."""
    if not text.strip():
        return NEWEST
    down, name = text.strip().startswith("-"), text.strip().removeprefix("-")
    found = parse(f"{name} is missing")
    if not isinstance(found, Is) or found.path.place == "warnings":
        raise UsageError(f"{text} is no order: name a column, a metric or a parameter, with - before it for downwards")
    return Sort(found.path, down)


def write_sort(sort: Sort) -> str:
    return ("-" if sort.down else "") + write_path(sort.path)


def write_cursor(cursor: Cursor) -> str:
    """For a URL: nobody has to read it."""
    return urlsafe_b64encode(msgspec.json.encode(tuple(cursor))).decode().rstrip("=")


def read_cursor(text: str, sort: Sort) -> Cursor:
    """Raises `UsageError` for what no page of this order has given out."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = Cursor(*msgspec.json.decode(raw, type=tuple[int, str | None, str, bool]))
        UUID(cursor.id)
        _check(cursor, sort)
    except (ValueError, InvalidOperation, msgspec.MsgspecError) as error:
        raise UsageError("`after` is no place in this order: begin with the first page") from error
    return cursor


def _check(cursor: Cursor, sort: Sort) -> None:
    """What the server would refuse to read."""
    if not 0 <= cursor.kind <= 3 or (cursor.value or "").find("\0") >= 0:
        raise ValueError("no kind, or NUL")
    kind = COLUMNS[sort.path.place].kind if sort.path.place in COLUMNS else None
    if cursor.kind == _NUMBERS and kind in (None, "number"):
        number = Decimal(cursor.value or "")
        whole = number.to_integral_value() == number if number.is_finite() else False
        if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS or (kind and not whole):
            raise ValueError("no number of this order")
    elif cursor.kind == _NUMBERS and kind == "boolean" and cursor.value not in ("true", "false"):
        raise ValueError("no boolean")
    elif cursor.kind == _NUMBERS and kind == "time":
        datetime.fromisoformat(cursor.value or "")


def assemble(
    name: str, assembly: Assembly, sort: Sort, cursor: Cursor | None, limit: int, served: Path | None = None
) -> None:
    """Fills in order, cursor and limit of `trial_ids` and those like it; `served`: whose index `trial_ids_indexed` has
    the numbers from.
    """
    up = sort.down == (cursor is not None and cursor.back)
    way, sign = ("asc", ">") if up else ("desc", "<")
    if name == "trial_ids_plain":
        _plain(assembly, sort, cursor, way, sign)
    elif name == "trial_ids_numbers":
        _numbers(assembly, sort, cursor, way, sign)
    elif name == "trial_ids_indexed" and served is not None:
        _indexed(assembly, sort, served, cursor, way, sign)
    else:
        _mixed(assembly, sort, cursor, way, sign)
    assembly.put("limit", assembly.given(limit, "integer"), "1")


def _plain(assembly: Assembly, sort: Sort, cursor: Cursor | None, way: str, sign: str) -> None:
    column = COLUMNS[sort.path.place].sql
    assembly.put("value", column, "trial.id")
    after = "true"
    if cursor is not None:
        value = assembly.given(cursor.value, "text")
        after = f"({column}, trial.id) {sign} ({value}::{PLAIN[sort.path.place]}, {_id(assembly, cursor)})"
    assembly.put("after", after, "true")
    assembly.put("order", f"{column} {way}, trial.id {way}", "trial.id")


def numbers_alone(sort: Sort, cursor: Cursor | None) -> bool:
    """Whether a page begins among the numbers of a metric or parameter; read backwards it ends there as well."""
    return sort.path.place not in COLUMNS and (cursor is None or cursor.kind == _NUMBERS)


def _numbers(assembly: Assembly, sort: Sort, cursor: Cursor | None, way: str, sign: str) -> None:
    value = value_sql(assembly, sort.path)
    assembly.put("value", value, "null::jsonb")
    assembly.put("typed", value, "null::jsonb")
    after = "true"
    if cursor is not None:
        after = f"({value}, trial.id) {sign} ({_jsonb(assembly.given(cursor.value, 'text'))}, {_id(assembly, cursor)})"
    assembly.put("after", after, "true")
    assembly.put("order", f"{value} {way}, trial.id {way}", "trial.id")


def _indexed(assembly: Assembly, sort: Sort, served: Path, cursor: Cursor | None, way: str, sign: str) -> None:
    """The same order: doubles keep it, and the jsonb beside them tells apart what they make equal.

    An index begins with the doubles, so that only a few neighbours have to be sorted. Those that are finite are those
    of the numbers.
    """
    value, number = value_sql(assembly, sort.path), indexed_sql(assembly, served)
    finite = f"{number} > '-Infinity'::float8 and {number} < 'Infinity'::float8"
    assembly.put("value", value, "null::jsonb")
    assembly.put("finite", finite if served == sort.path else f"{finite} and {_is_number(value)}", "true")
    after = "true"
    if cursor is not None:
        given = assembly.given(cursor.value, "text")
        place = f"({value}, trial.id) {sign} ({_jsonb(given)}, {_id(assembly, cursor)})"
        after = f"{number} {sign}= {double_of(f'{given}::numeric')} and {place}"
    assembly.put("after", after, "true")
    assembly.put("order", f"{number} {way}, {value} {way}, trial.id {way}", "trial.id")


def _jsonb(given: str) -> str:
    """A number as jsonb, made once and not for each trial: it may have a hundred thousand digits."""
    return f"(select to_jsonb({given}::numeric))"


def _is_number(value: str) -> str:
    return f"jsonb_typeof({value}) = 'number'"


def _mixed(assembly: Assembly, sort: Sort, cursor: Cursor | None, way: str, sign: str) -> None:
    kind, number, text = _keys(assembly, sort.path)
    assembly.put("kind", kind, "0")
    assembly.put("number", number, "null::numeric")
    assembly.put("text", text, "null::text")
    assembly.put("after", "true" if cursor is None else _behind(assembly, cursor, sign, text), "true")
    # kinds keep their order in either direction, and are turned round only to read a page backwards
    kinds = "desc" if cursor is not None and cursor.back else "asc"
    order = f'keyed.sort_kind {kinds}, keyed.sort_number {way}, keyed.sort_text collate "C" {way}, keyed.id {way}'
    assembly.put("order", order, "id")


def _keys(assembly: Assembly, path: Path) -> tuple[str, str, str]:
    if path.place in COLUMNS:
        column = COLUMNS[path.place]
        if column.kind == "number":
            return f"case when {column.sql} is null then 3 else 0 end", f"{column.sql}::numeric", "null::text"
        return f"case when {column.sql} is null then 3 else 1 end", "null::numeric", f"{column.sql}::text"
    value = value_sql(assembly, path)
    kind, number, text = (one.replace("{value}", value) for one in (_KIND, _NUMBER, _TEXT))
    return kind, number, text


def _behind(assembly: Assembly, cursor: Cursor, sign: str, text: str) -> str:
    """`text` is the text of a trial that an order goes by."""
    kind, identity = assembly.given(cursor.kind, "integer"), _id(assembly, cursor)
    same = f"keyed.id {sign} {identity}"
    if cursor.kind == _NUMBERS:
        same = f"(sort_number, keyed.id) {sign} ({assembly.given(cursor.value, 'text')}::numeric, {identity})"
    elif cursor.kind == _TEXTS:
        value = _TEXT_OF.format(text=text, id=identity)
        if cursor.value is not None:
            value = assembly.given(cursor.value, "text")
        same = f'(sort_text collate "C", keyed.id) {sign} ({value} collate "C", {identity})'
    return f"(sort_kind {'<' if cursor.back else '>'} {kind} or (sort_kind = {kind} and {same}))"


def _id(assembly: Assembly, cursor: Cursor) -> str:
    return f"{assembly.given(cursor.id, 'text')}::uuid"


def cursor_of(row: dict[str, Any], *, back: bool) -> Cursor:
    """The place of a row of `trial_ids`."""
    number, text = row.get("sort_number"), row["sort_text"]
    if row["sort_kind"] == _TEXTS and text is not None and len(text.encode()) > _HELD:
        text = None
    return Cursor(row["sort_kind"], text if number is None else number, row["id"], back)
