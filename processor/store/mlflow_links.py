"""Which MLflow run belongs to which trial: the memory that makes a mirror's runs once."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from processor.store.queries import load_queries
from processor.store.session import Session

Trial = tuple[str, str]
#: of one trial's progress, read into memory
MAX_POINTS = 50_000
#: links of a server that are counted by state one by one, linked ones and all others: what more there are is told as
#: about so many, from a sample, and takes no longer
LINKS_COUNTED = 50_000

Row = Mapping[str, Any]


class MlflowLinks:
    """The links of one tracking server, as rows. Use it in one thread only."""

    def __init__(self, store: Session, server: str) -> None:
        self._store, self._server = store, server

    def begin(self, given: Sequence[tuple[str, str, str, str]]) -> tuple[list[dict[str, Any]], set[str]]:
        """Intents for (id, run_id, trial_id, key) that have none; all rows, and the ids of those that are new.

        Rows that were there without a run are in doubt from now on.
        """
        queries, server = load_queries(), self._server
        ids = [uuid.UUID(one[0]) for one in given]

        async def work(connection: asyncpg.Connection) -> tuple[list[dict[str, Any]], set[str]]:
            async with connection.transaction():
                columns = [list(column) for column in zip(*[one[1:] for one in given], strict=True)]
                made = await connection.fetch(queries["intend_links"], server, ids, *columns)
                fresh = {row["id"] for row in made}
                await connection.execute(queries["doubt_links"], server, [one for one in ids if one not in fresh])
                rows = await connection.fetch(queries["look_at_links"], server, ids)
                return [dict(row) for row in rows], {one.hex for one in fresh}

        return self._store.run(work)

    def record(self, links: Sequence[Row]) -> set[Trial]:
        """Remembers runs where there is none yet; the trials for which it is the one that is given."""
        names = ("key", "mlflow_run_id", "experiment_id", "reported", "synced_ms", "synced_revision", "shape")
        rows = self._store.fetch("record_links", self._server, _ids(links), *_columns(links, names))
        return {(row["run_id"], row["trial_id"]) for row in rows}

    def replace(self, id_: str, mlflow_run_id: str, key: str, superseded: str | None) -> None:
        self._store.execute("replace_link", self._server, uuid.UUID(id_), mlflow_run_id, key, superseded)

    def settle(self, links: Sequence[Row]) -> None:
        names = ("state", "synced_ms", "synced_revision", "shape", "superseded", "reported")
        held = [msgspec.json.encode(list(link["held"])) for link in links]
        runs = [link["mlflow_run_id"] for link in links]
        self._store.execute("settle_links", self._server, _ids(links), *_columns(links, names), held, runs)

    def refuse(self, id_: str, state: str, detail: str, moment: tuple[int, int]) -> None:
        """`moment`: (event time in milliseconds, revision) of what has no run; nothing where more is settled."""
        self._store.execute("refuse_link", self._server, uuid.UUID(id_), state, detail, *moment)

    def failing(self, older_s: float, limit: int) -> list[dict[str, Any]]:
        """Trials that MLflow shall hold, at which it failed so long ago; as `page`."""
        return self._store.fetch("failing_trials", self._server, older_s, limit)

    def doubtful(self, older_s: float, limit: int) -> list[dict[str, Any]]:
        """Links with a run that have been in doubt for so long."""
        return self._store.fetch("doubtful_links", self._server, older_s, limit)

    def doubtful_count(self) -> int:
        return int(self._store.fetch("doubtful_links_count", self._server)[0]["number"])

    def trust(self, ids: Sequence[str]) -> None:
        self._store.execute("trust_links", self._server, [uuid.UUID(one) for one in ids])

    def progress(self, trials: Sequence[Trial]) -> dict[Trial, dict[str, list[tuple[int | None, float, int]]]]:
        """(step, value, milliseconds since the epoch) by metric of each of these trials that said any."""
        found: dict[Trial, dict[str, list[tuple[int | None, float, int]]]] = {}
        runs, names = [one[0] for one in trials], [one[1] for one in trials]
        for row in self._store.fetch("progress_of_trials", runs, names, MAX_POINTS):
            curves = found.setdefault(trials[row["place"]], {})
            curves.setdefault(row["metric"], []).append((row["step"], row["value"], row["at_ms"]))
        return found

    def see(self, tracking_uri: str) -> None:
        """The server answers at this address."""
        self._store.execute("see_server", self._server, tracking_uri)

    def page(self, after: str, limit: int) -> list[dict[str, Any]]:
        """Trials that MLflow shall hold, with their links; `after` is the last page's last `row_id`."""
        return self._store.fetch("trials_to_mirror", self._server, after, limit)

    def doubled(self, runs: Sequence[tuple[str, str, str, bool]]) -> set[str]:
        """Of (MLflow run, id of its trial's link, key, whether the mirror filled it) those that take another's place.

        Not where the link has no run yet: its run is just being made. Nor where a report names the run: then the
        others are those that reports named before, which are their trainers'.
        """
        columns = list(zip(*runs, strict=True)) or [()] * 4
        ids = [uuid.UUID(one) for one in columns[1]]
        rows = self._store.fetch("doubled_runs", self._server, *map(list, (columns[0], ids, columns[2], columns[3])))
        return {row["mlflow_run_id"] for row in rows}

    def experiments(self) -> list[str]:
        return [row["experiment_id"] for row in self._store.fetch("linked_experiments", self._server)]


def mlflow_status(store: Session) -> dict[str, Any] | None:
    """server, tracking_uri, last_seen, links by state, links_about (the states of which these are about so many),
    doubtful, former_servers; None where nothing was ever mirrored.
    """
    servers = store.fetch("mlflow_server")
    if not servers:
        return None
    server = servers[0]["server"]
    states = store.fetch("link_states", server, LINKS_COUNTED)
    doubtful = store.fetch("doubtful_links_count", server)[0]["number"]
    return {
        **servers[0],
        "links": {row["state"]: row["trials"] + row["runs"] for row in states},
        "links_about": [row["state"] for row in states if row["about"]],
        "doubtful": doubtful,
    }


def _ids(links: Sequence[Row]) -> list[uuid.UUID]:
    return [uuid.UUID(link["id"]) for link in links]


def _columns(links: Sequence[Row], names: Sequence[str]) -> list[list[Any]]:
    return [[link[name] for link in links] for name in names]
