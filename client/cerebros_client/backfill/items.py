"""What a source yields: a trial to report, or something that makes none, with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from cerebros_client.errors import ClientError


@dataclass(frozen=True)
class Item:
    """One trial: `fields` are those of `TrialReporter.report`; or `value`, bytes that are a report already.

    `at_ms` is when it ended, in milliseconds since 1970.
    """

    run_id: str
    trial_id: str
    at_ms: int
    fields: dict[str, Any] = field(default_factory=dict)
    value: bytes | None = None

    def digest(self, target: str) -> bytes:
        """16 bytes that stand for this content on its way to `target`."""
        said = self.value or json.dumps(self.fields, sort_keys=True, default=repr).encode()
        key = json.dumps([target, self.run_id, self.trial_id, self.at_ms]).encode()
        return blake2b(key + b"\n" + said, digest_size=16).digest()


class Skipped(NamedTuple):
    """Something that is no finished trial: where it is, and why."""

    where: str
    reason: str


class Source(Protocol):
    """Reads lazily; a source that is opened twice yields the same."""

    def count(self) -> int | None:
        """About how many items there will be; None where only reading tells."""
        ...

    def __iter__(self) -> Iterator[Item | Skipped]: ...


class SourceError(ClientError):
    """The source can't be read; the text says what it is and what to do."""


def to_ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def some(words: Iterable[str], limit: int = 10) -> str:
    """The first few, and how many more there are."""
    found = list(words)
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more
