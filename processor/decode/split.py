"""A record that holds many reports, taken apart without reading all of it at once; pure.

`FastReader.split` does that for what msgspec reads. This is for the rest: what has fields of its own beside the
reports, NaN, or so many values that a list of them all would be large. Memory is that of the text and of one value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from processor.core.messages import Reason
from processor.core.text import kind_of
from processor.decode.rawjson import BRACKETS, NoJson, check_end, past_space, scan_value, scanned
from processor.decode.refused import Refused

#: reports in one record at the most. Each costs about a kilobyte once it is decoded, however small it was, and all of
#: a record's are in memory together: 50 MB. The largest record (16 MiB) holds as many reports of 335 bytes
MAX_REPORTS = 50_000


class Split(NamedTuple):
    """An envelope's own fields and the texts of its reports; of an object without reports `reports` is None."""

    fields: dict[str, Any]
    reports: list[bytes] | None


class TooMany(Refused):
    """More reports than may be held: found out at the first one beyond, whatever follows."""


def split_leniently(value: bytes, max_field_bytes: int, most: int = MAX_REPORTS) -> Split | None:
    """The parts of a list or an object, None for any other JSON value.

    Raises `Refused` where it is no JSON, or holds more than may be held: what an envelope has beside its reports is
    stored with each of them, so it is no larger than a report may be; `TooMany` for more than `most` reports.
    """
    split: Split | None = scanned(value, lambda text: _split(text, max_field_bytes, most))
    return split


def check_number(reports: int, most: int = MAX_REPORTS) -> None:
    """Raises `TooMany` for more reports than one record may hold."""
    if reports > most:
        raise TooMany(Reason.TOO_LARGE, f"the record holds more than {most:,} reports")


def field_texts(value: bytes) -> dict[str, str] | None:
    """The text of each of an object's fields, None for any other JSON value; what is nested is not read.

    It is found by its brackets, and may be no JSON itself. Raises `Refused` for what is no JSON around that.
    """
    texts: dict[str, str] | None = scanned(value, _texts)
    return texts


def _texts(text: str) -> dict[str, str] | None:
    at = past_space(text, 0)
    if text[at : at + 1] != "{":
        return None
    texts: dict[str, str] = {}

    def read(name: str, _: int, begin: int) -> int:
        end = _end_of_item(text, begin)
        texts[name] = text[begin:end]
        return end

    _walk(text, at, read)
    return texts


def _split(text: str, max_field_bytes: int, most: int) -> Split | None:
    at = past_space(text, 0)
    if text[at : at + 1] == "[":
        reports, end = _items(text, at, most)
        check_end(text, end)
        return Split({}, reports)
    if text[at : at + 1] == "{":
        return _members(text, at, max_field_bytes, most)
    _, end = scan_value(text, at)
    check_end(text, end)
    return None


def _items(text: str, at: int, most: int) -> tuple[list[bytes], int]:
    """The texts of a list's items, and where the list ends."""
    items: list[bytes] = []
    at = past_space(text, at + 1)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        end = _end_of_item(text, at)
        items.append(text[at:end].encode())
        check_number(len(items), most)
        at = past_space(text, end)
        if text[at : at + 1] == "]":
            return items, at + 1
        at = _past(text, at, ",")


def _end_of_item(text: str, at: int) -> int:
    """Where a list's item ends, by its brackets alone: what it holds is read later, or too large to be read at all."""
    if text[at : at + 1] not in ("{", "["):
        return scan_value(text, at)[1]
    level = 0
    for match in BRACKETS.finditer(text, at):
        begin, end = match.span()
        if text[begin] in "[{":
            level += end - begin
        elif text[begin] in "]}":
            if level <= end - begin:
                return begin + level
            level -= end - begin
    raise NoJson(len(text))


def _members(text: str, at: int, max_field_bytes: int, most: int) -> Split:
    fields: dict[str, Any] = {}
    reports: list[bytes] | None = None
    size = 0

    def read(name: str, at: int, begin: int) -> int:
        nonlocal reports, size
        if name == "trials" and text[begin : begin + 1] == "[":
            reports, end = _items(text, begin, most)
            return end
        size += _end_of_item(text, begin) - at
        if size > max_field_bytes:
            detail = f"what the record holds beside its reports exceeds the {max_field_bytes} bytes of a report"
            raise Refused(Reason.TOO_LARGE, detail)
        fields[name], end = scan_value(text, begin)
        if name == "trials":
            raise Refused(Reason.TRIALS_NOT_LIST, f"must be a list, not {kind_of(fields[name])}", "trials")
        return end

    _walk(text, at, read)
    return Split(fields, reports)


def _walk(text: str, at: int, read: Callable[[str, int, int], int]) -> None:
    """Through the members of the object that begins here and ends the text, in order.

    `read` is given a member's name, where that begins and where its value does, and says where the value ends.
    """
    at = past_space(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise NoJson(at)
        name, end = scan_value(text, at)
        at = past_space(text, read(name, at, _past(text, past_space(text, end), ":")))
        if text[at : at + 1] != "}":
            at = _past(text, at, ",")
            if text[at : at + 1] == "}":
                raise NoJson(at)
    check_end(text, at + 1)


def _past(text: str, at: int, mark: str) -> int:
    """Behind the mark that has to stand here, and the white space behind it."""
    if text[at : at + 1] != mark:
        raise NoJson(at)
    return past_space(text, at + 1)
