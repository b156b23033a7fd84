"""What the mirror needs of others: a tracking server, and the memory of which run belongs to which trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from processor.core.errors import ProcessorError, SetupError, TransientError
from processor.mlflow.content import Metric, Moment, Progress


class Refused(ProcessorError):  # noqa: N818 - of one request: the trial is told and put aside, the others go on
    """The tracking server will never take this request; its own words, `status` as in HTTP."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Forbidden(SetupError):  # noqa: N818 - as Refused
    """HTTP 403: the server does not let us in, or not to this one run."""


class Doubtful(TransientError):  # noqa: N818 - as Refused
    """HTTP 500: the server is broken, or this one request breaks it; `request` is the same for the same request."""

    def __init__(self, text: str, request: str = "") -> None:
        super().__init__(text)
        self.request = request


class Busy(TransientError):  # noqa: N818 - as Refused
    """The server asks to come back later: in `after_s` seconds."""

    def __init__(self, text: str, after_s: float) -> None:
        super().__init__(text)
        self.after_s = after_s


class Run(msgspec.Struct, frozen=True):
    """A run as the server has it; `metrics` are the newest values."""

    run_id: str
    experiment_id: str
    status: str
    active: bool
    start_ms: int
    end_ms: int | None
    artifact_uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


class Experiment(NamedTuple):
    id: str
    active: bool
    tags: Mapping[str, str]


class Tracking(Protocol):
    """A tracking server; every method may be called from several threads.

    Raises `TransientError` (`Doubtful`, `Busy`) when it is down, `SetupError` (`Forbidden`) where it lets us not in,
    `Refused` for what it will never take.
    """

    def experiment(self, name: str) -> Experiment | None: ...

    def create_experiment(self, name: str, tags: Mapping[str, str]) -> Experiment:
        """The experiment of that name, whoever made it."""

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None: ...

    def create_run(self, experiment_id: str, name: str, start_ms: int, tags: Mapping[str, str]) -> Run:
        """Made anew by every call: the server knows no way to make a run once."""

    def run(self, run_id: str) -> Run | None: ...

    def search(
        self, experiment_ids: Sequence[str], filter_: str, *, page: str = "", most: int = 1000, deleted: bool = False
    ) -> tuple[list[Run], str]:
        """Runs, oldest first, and the token of the next page, "" where there is none."""

    def log(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]
    ) -> None:
        """At most 100 params, 100 tags and 1000 in all."""

    def update_run(self, run_id: str, status: str, end_ms: int | None) -> None: ...

    def delete_run(self, run_id: str) -> None:
        """Softly: a person can restore it. One that is gone already is no error."""

    def put_file(self, run: Run, path: str, content: bytes) -> bool:
        """False where the server hands artifacts on to a store of its own, to which we have no way."""


class LinkState(StrEnum):
    """What became of a trial's link; released words keep their meaning."""

    LINKED = "linked"
    PENDING = "pending"  # intended, and no run known yet
    MISSING = "missing"  # the reported run is not there
    DELETED = "deleted"  # the run was deleted by a person
    FOREIGN = "foreign"  # the reported run belongs to another trial
    MALFORMED = "malformed"  # what was reported is no run id
    REFUSED = "refused"  # the server will never take what the trial holds
    FORBIDDEN = "forbidden"  # the server does not let the mirror write into the reported run
    FAILING = "failing"  # the server fails at what the trial holds: tried again from time to time


class Link(msgspec.Struct, frozen=True):
    """One row of `mlflow_links`; `fresh` where it was made just now, so that no run of its key can exist.

    `held` are metrics that we wrote into a reported run; `superseded` is a run that is to be deleted.
    """

    run_id: str
    trial_id: str
    key: str
    experiment_id: str | None = None
    mlflow_run_id: str | None = None
    reported: bool = False
    state: LinkState = LinkState.PENDING
    moment: Moment | None = None
    shape: str | None = None
    superseded: str | None = None
    held: Sequence[str] = ()
    fresh: bool = False

    @property
    def trial(self) -> tuple[str, str]:
        return self.run_id, self.trial_id


Trial = tuple[str, str]


class Links(Protocol):
    """The memory, in Postgres; used from one thread. Raises `TransientError` when it is down."""

    def begin(self, trials: Mapping[Trial, str]) -> dict[Trial, Link]:
        """1. Writes an intent where there is no link yet, with this key; the link of each."""

    def record(self, made: Sequence[Link]) -> set[Trial]:
        """3. Remembers runs where none is remembered yet under that key; those trials for which ours is the one."""

    def replace(self, link: Link, free: Link) -> None:
        """The link's run is to be superseded, or was never ours: from now on it is as `free` says, without a run."""

    def settle(self, done: Sequence[Link]) -> None:
        """5. Writes how far each has come: state, moment, shape and what is left to delete."""

    def refuse(self, link: Link, state: LinkState, detail: str, moment: Moment) -> None:
        """Writes why there is no run, or none that can be written, of that moment; never over what is newer."""

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]:
        """What these trials said by step while they ran."""
