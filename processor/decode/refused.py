"""How a rule says no, or nothing, inside of decode."""

from __future__ import annotations

from typing import Any

from processor.contracts.catalogue import Problem
from processor.core.messages import RawRecord, Reason, Rejection
from processor.core.text import one_line

#: what a rule returns for a value that it can't read and does not refuse: the field gets its default, and the value as
#: it came is kept beside the fields
DEFAULT: Any = object()


class Refused(Exception):  # noqa: N818 - not an error: the report's own fault, a Rejection in the making
    """The value can't be bent into what the schema wants; it stays inside decode, where it becomes a `Rejection`."""

    def __init__(self, reason: Reason, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.path = reason, detail, path

    def at(self, path: str) -> Refused:
        """The same, with the place where it was found."""
        return Refused(self.reason, self.detail, path)

    def rejection(self, record: RawRecord, index: int) -> Rejection:
        return Rejection(record, index, self.reason, one_line(self.detail), self.path)


_PROBLEM_REASONS = {
    "unknown_schema": Reason.AVRO_UNKNOWN_SCHEMA,
    "unreadable": Reason.AVRO_UNREADABLE,
    "too_deep": Reason.TOO_DEEP,
    "too_large": Reason.TOO_LARGE,
}


def refusal(problem: Problem) -> Refused:
    """What a schema says no to."""
    reason = _PROBLEM_REASONS.get(problem.kind, Reason.SCHEMA_MISMATCH)
    return Refused(reason, problem.message, problem.path)
