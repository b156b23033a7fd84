"""How a sub-trial, or the whole search, ended: by itself, by an exception, by Ctrl-C, or with nothing but NaN."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cerebros_client import words

NAN_OBJECTIVE = "nan_objective"


@dataclass(frozen=True)
class Outcome:
    status: str
    error_type: str | None = None
    error_message: str | None = None
    stacktrace: str | None = None
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, error: BaseException | None, history: Mapping[str, Sequence[float]], ranked_by: str) -> Outcome:
        """From what was raised, else from the metric that the search ranks by."""
        if error is not None:
            trace = "".join(traceback.format_exception(error))
            return cls(_status(error), type(error).__name__, words.message(error), trace)
        values = history.get(ranked_by)
        if values and all(math.isnan(value) for value in values):
            return cls("failed", NAN_OBJECTIVE, f"{ranked_by} is NaN at each of {len(values)} epochs")
        if not values:
            return cls(
                "succeeded", warnings=[f"no metric {ranked_by!r} in the history: {', '.join(history) or 'empty'}"]
            )
        return cls("succeeded")

    def fields(self) -> dict[str, Any]:
        """Arguments of `TrialReporter.report`."""
        return {
            "status": self.status,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "stacktrace": self.stacktrace,
        }


def run_outcome(error: BaseException) -> dict[str, Any]:
    """Fields of `TrialReporter.stop_run` for a search that raised.

    The core looks its best model up by the best value: where that is NaN it raises an IndexError that says nothing.
    """
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, IndexError):
        message += " (the core raises this where the metric it ranks by is NaN in every trial)"
    return {"status": _status(error), "error_message": message}


def _status(error: BaseException) -> str:
    return "failed" if isinstance(error, Exception) else "cancelled"
