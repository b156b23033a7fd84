"""What a trial's user attributes say: a finished trial takes no more of them, so all is written before it ends."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from optuna import Trial

from cerebros_client import words

SPECTRAL_NORM = "spectral_norm"
MLFLOW_RUN_ID = "mlflow_run_id"
ARTIFACT_URI = "artifact_uri"
ERROR = "cerebros_error"
ORIGIN = "cerebros_origin"  # of a trial that warm_start added: where its row came from
OURS = frozenset((SPECTRAL_NORM, MLFLOW_RUN_ID, ARTIFACT_URI, ERROR, ORIGIN))

# a storage's column may end at 64 KiB (MySQL's TEXT), and the text is JSON there: the end says most
MAX_STACKTRACE = 16_000
MAX_MESSAGE = 4_000


def suggest_spectral_norm(trial: Trial, name: str = SPECTRAL_NORM) -> bool:
    """Lets the sampler choose: False or True, as the parameter `spectral_norm`.

    The choices are always [False, True]: Optuna refuses a study whose choices change.
    """
    return bool(trial.suggest_categorical(name, [False, True]))


@dataclass(frozen=True)
class Failure:
    """Why a trial failed; Optuna itself keeps no exception."""

    error_type: str
    message: str
    stacktrace: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """From an exception; a message or a stack trace that is too long is cut, the trace at its beginning."""
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__qualname__, words.message(error)[:MAX_MESSAGE], trace[-MAX_STACKTRACE:])

    def as_attribute(self) -> dict[str, Any]:
        return {"type": self.error_type, "message": self.message, "stacktrace": self.stacktrace}


def read_failure(attributes: dict[str, Any]) -> Failure | None:
    """The failure that `watch` left; None where there is none, or something else under its name."""
    said = attributes.get(ERROR)
    if not isinstance(said, dict) or not said.get("message"):
        return None
    trace = said.get("stacktrace")
    return Failure(str(said.get("type") or "error"), str(said["message"]), str(trace) if trace else None)
