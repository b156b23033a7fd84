"""Every exception of the client::

    ClientError
    ├── UndeliveredError   reports that are not confirmed: each with its bytes
    └── SourceError        an import's source can't be read (`backfill.items`)

Wrong ids, words and settings are a `ValueError` or a `TypeError` at once, naming the field.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

log = logging.getLogger("cerebros_client")
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


@contextmanager
def on_the_way(what: str) -> Iterator[None]:
    """What is told before the end, and can't even be queued, is told by the log: no training stops for it."""
    try:
        yield
    except UndeliveredError as error:
        log.error("%s is not delivered: %s", what, error)


@contextmanager
def beside(error: BaseException | None, what: str) -> Iterator[None]:
    """What goes wrong here while `error` is raised does not take its place: that may be what a search goes by, as
    Optuna's `TrialPruned`. It is told in the log and by a note of the error. Without an error it is raised.
    """
    try:
        yield
    except Exception as other:
        if error is None:
            raise
        said = f"{what} is not delivered: {other}"
        error.add_note(said)
        log.error("%s", said)
