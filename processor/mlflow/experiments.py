"""Which experiment a Cerebros run belongs to, and which tracking server this is."""

from __future__ import annotations

import uuid
from collections import OrderedDict

from processor.core.errors import SetupError
from processor.mlflow.names import experiment_name
from processor.mlflow.ports import Experiment, Refused, Tracking

#: an experiment of this name holds, as a tag, what this server is recognised by: MLflow itself has no such thing, and
#: one that comes back with another database knows none of the runs that are remembered
IDENTITY_EXPERIMENT, IDENTITY_TAG = "cerebros-processor", "cerebros.server"
_WHY = "Recognises this tracking server: keep it. The runs are in the other experiments."
#: experiments whose ids are kept; more are asked for again
MAX_KNOWN = 10_000


def identify(tracking: Tracking) -> str:
    """The server's id, 32 hexadecimal digits; written the first time. Also where the experiment was deleted softly."""
    found = tracking.experiment(IDENTITY_EXPERIMENT)
    if found is None:
        tags = {IDENTITY_TAG: uuid.uuid4().hex, "mlflow.note.content": _WHY}
        found = tracking.create_experiment(IDENTITY_EXPERIMENT, tags)
    identity = found.tags.get(IDENTITY_TAG)
    if not identity:
        raise SetupError(
            f"MLflow's experiment {IDENTITY_EXPERIMENT} lacks the tag {IDENTITY_TAG}: it is somebody else's, rename it"
        )
    return identity


class Experiments:
    """Experiments by the template, made when they are needed; their names are the only thing unique in MLflow."""

    def __init__(self, tracking: Tracking, template: str) -> None:
        self._tracking, self._template = tracking, template
        self._known: OrderedDict[str, Experiment] = OrderedDict()

    def name_of(self, run_id: str) -> str:
        return experiment_name(self._template, run_id)

    def of(self, run_id: str) -> Experiment:
        """Raises `Refused` where somebody deleted it."""
        name = self.name_of(run_id)
        if name not in self._known:
            found = self._tracking.experiment(name)
            if found is None:
                tags = {"mlflow.experimentKind": "custom_model_development"}
                if "{run_id}" in self._template:
                    tags["cerebros.run_id"] = run_id[:5000]
                found = self._tracking.create_experiment(name, tags)
            if not found.active:
                raise Refused(f"MLflow's experiment {name!r:.200} is deleted: restore it, or set another template")
            self._known[name] = found
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return self._known[name]

    def forget(self) -> None:
        """What was known may be of another database."""
        self._known = OrderedDict()
