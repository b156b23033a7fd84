"""The fast way for one metric at one step: of all that is reported, the most frequent; pure.

As `fast`, what this does not take is no error: None, and the other ways look at it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from processor.contracts.catalogue import Catalogue
from processor.core.fields import METRIC
from processor.core.messages import Progress, RawRecord
from processor.core.numbers import LONG_MAX
from processor.decode.envelope import NO_ENVELOPE, Envelope
from processor.decode.identity import find_run_id
from processor.decode.rawjson import UNREADABLE
from processor.decode.refused import Refused
from processor.decode.rules import LONGEST_METRIC_NAME

_UNSET: Any = msgspec.UNSET
_Id = Annotated[str, msgspec.Meta(min_length=1)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_METRIC_NAME)]
_Step = Annotated[int, msgspec.Meta(ge=0, le=LONG_MAX)]
#: what stands in the bytes of what may go this way: looked for in a fraction of the time that reading takes
MARK = b'"ml.run.metric"'
#: more bytes are no plain metric: three texts and two numbers
MAX_PLAIN_BYTES = 8192
#: the fields that the plain form has, whose every value here is valid by the schema and left alone by its rule
PLAIN = ("trial_id", "run_id", "metric_name", "metric_value", "step")


class _Metric(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event: Literal["ml.run.metric"]
    trial_id: _Id
    metric_name: _Name
    metric_value: float
    step: _Step | None = None
    run_id: _Id | msgspec.UnsetType = _UNSET
    model_run_id: _Id | msgspec.UnsetType = _UNSET


class MetricReader:
    """For bytes of which `may_need_mending` said no."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._read = msgspec.json.Decoder(_Metric).decode
        self._version = catalogue.version_of(METRIC.subject, PLAIN)
        # a later version's field has a default that the other way knows
        self._usable = set(catalogue.fields(METRIC.subject)) <= {*PLAIN, "spectral_norm", "parameters"}

    def read(self, record: RawRecord, index: int, value: bytes, envelope: Envelope = NO_ENVELOPE) -> Progress | None:
        """A value of more digits than a double has is the double, as in the thorough way."""
        if not self._usable or (envelope is not NO_ENVELOPE and envelope.kept):
            return None
        try:
            metric = self._read(value)
            run_id: Any = metric.run_id if metric.run_id is not _UNSET else metric.model_run_id
            if metric.run_id is not _UNSET and metric.model_run_id is not _UNSET:
                return None  # the other one is kept with the rest
            if run_id is _UNSET:
                run_id, _, found = find_run_id(record, {}, envelope.fields)
                if found is not run_id:
                    return None
        except (*UNREADABLE, Refused):
            return None
        content = {
            "trial_id": metric.trial_id,
            "run_id": run_id,
            "metric_name": metric.metric_name,
            "metric_value": metric.metric_value,
            "step": metric.step,
        }
        return Progress(record, index, run_id, metric.trial_id, content, {}, self._version)
