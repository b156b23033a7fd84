"""The links as values of this room, over rows of whoever keeps them (`store.mlflow_links`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from processor.mlflow.content import Moment, Progress, key_of
from processor.mlflow.ports import Link, LinkState, Trial


class Rows(Protocol):
    """What is asked of the tables."""

    def begin(self, given: Sequence[tuple[str, str, str, str]]) -> tuple[list[dict[str, Any]], set[str]]: ...

    def record(self, links: Sequence[Mapping[str, Any]]) -> set[Trial]: ...

    def replace(self, id_: str, mlflow_run_id: str, key: str, superseded: str | None) -> None: ...

    def settle(self, links: Sequence[Mapping[str, Any]]) -> None: ...

    def refuse(self, id_: str, state: str, detail: str, moment: tuple[int, int]) -> None: ...

    def doubtful(self, older_s: float, limit: int) -> list[dict[str, Any]]: ...

    def doubtful_count(self) -> int: ...

    def trust(self, ids: Sequence[str]) -> None: ...

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]: ...


class Memory:
    """Implements `ports.Links`, and what `reconcile` asks."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def begin(self, trials: Mapping[Trial, str]) -> dict[Trial, Link]:
        found, fresh = self._rows.begin([(key_of(*trial), *trial, key) for trial, key in trials.items()])
        links = [link_of(row, fresh=row["id"].hex in fresh) for row in found]
        return {link.trial: link for link in links}

    def record(self, made: Sequence[Link]) -> set[Trial]:
        return self._rows.record([row_of(link) for link in made]) if made else set()

    def replace(self, link: Link, free: Link) -> None:
        self._rows.replace(key_of(*link.trial), link.mlflow_run_id or "", free.key, free.superseded)

    def settle(self, done: Sequence[Link]) -> None:
        if done:
            self._rows.settle([row_of(link) for link in done])

    def refuse(self, link: Link, state: LinkState, detail: str, moment: Moment) -> None:
        self._rows.refuse(key_of(*link.trial), state.value, detail.replace("\0", ""), moment)

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]:
        return self._rows.progress(trials) if trials else {}

    def doubtful(self, older_s: float, limit: int) -> list[Link]:
        return [link_of(row) for row in self._rows.doubtful(older_s, limit)]

    def doubtful_count(self) -> int:
        return self._rows.doubtful_count()

    def trust(self, links: Sequence[Link]) -> None:
        self._rows.trust([key_of(*link.trial) for link in links])


def link_of(row: Mapping[str, Any], *, fresh: bool = False) -> Link:
    """Of a row of `mlflow_links`."""
    synced = row["synced_ms"], row["synced_revision"]
    return Link(
        row["run_id"],
        row["trial_id"],
        row["key"],
        experiment_id=row["experiment_id"],
        mlflow_run_id=row["mlflow_run_id"],
        reported=row["reported"],
        state=LinkState(row["state"]),
        moment=None if synced[0] is None else Moment(*synced),
        shape=row["shape"],
        superseded=row["superseded"],
        held=tuple(row["held"]),
        fresh=fresh,
    )


def row_of(link: Link) -> dict[str, Any]:
    moment = link.moment
    return {
        "id": key_of(*link.trial),
        "key": link.key,
        "experiment_id": link.experiment_id,
        "mlflow_run_id": link.mlflow_run_id,
        "reported": link.reported,
        "state": link.state.value,
        "synced_ms": moment and moment.time_ms,
        "synced_revision": moment and moment.revision,
        "shape": link.shape,
        "superseded": link.superseded,
        "held": link.held,
    }
