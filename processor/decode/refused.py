"""How a rule says no, inside of decode."""

from __future__ import annotations

from processor.core.messages import RawRecord, Reason, Rejection
from processor.core.text import one_line


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
