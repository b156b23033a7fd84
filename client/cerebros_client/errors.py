"""Every exception of the client::

    ClientError
    ├── UndeliveredError   reports that are not confirmed: each with its bytes
    └── SourceError        an import's source can't be read (`backfill.items`)

Wrong ids, words and settings are a `ValueError` or a `TypeError` at once, naming the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_NAMED = 20  # trials that an exception's text names; its `trials` holds all


class Undelivered(NamedTuple):
    """A report that was not confirmed. Sending `value` again is harmless, even if it did arrive."""

    run_id: str
    trial_id: str
    reason: str
    value: bytes


class ClientError(Exception):
    """Base of all; its text is a sentence a person can act on, never holding a secret."""


class UndeliveredError(ClientError):
    """These reports are not confirmed: `trials` holds each with its bytes, to be kept or sent again."""

    def __init__(self, trials: Sequence[Undelivered]) -> None:
        self.trials = tuple(trials)
        named = "; ".join(f"{lost.run_id}/{lost.trial_id}: {lost.reason}" for lost in self.trials[:_NAMED])
        more = f"; and {len(self.trials) - _NAMED} more" if len(self.trials) > _NAMED else ""
        super().__init__(f"{len(self.trials)} trial report(s) not delivered: {named}{more}")
