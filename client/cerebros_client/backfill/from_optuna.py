"""Studies of an Optuna storage: a database's URL, an SQLite file, or a journal's file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cerebros_client.backfill.items import Item, Skipped, SourceError, some, to_ms

_SQLITE = b"SQLite format 3\x00"


class Studies:
    """Every finished trial of each study, under the study's name, as `cerebros_client.optuna` reports it."""

    def __init__(self, storage: str, studies: Sequence[str] = ()) -> None:
        """`studies`: only these. Raises `SourceError` without Optuna, for no storage, and for a study not there."""
        try:
            import optuna
        except ImportError:
            raise SourceError("Optuna is missing: pip install 'cerebros-client[optuna]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._storage = _opened(storage)
            names = optuna.get_all_study_names(self._storage)
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001 - of whatever driver the storage has
            raise SourceError(f"{_without_secret(storage)} can't be read as a storage: {error}"[:600]) from None
        if missing := [name for name in studies if name not in names]:
            raise SourceError(f"no study {some(missing)}; there are: {some(names) or 'none'}")
        self._names = list(studies) or names

    def count(self) -> int | None:
        import optuna

        wanted = set(self._names)
        return sum(one.n_trials for one in optuna.get_all_study_summaries(self._storage) if one.study_name in wanted)

    def __iter__(self) -> Iterator[Item | Skipped]:
        import optuna

        from cerebros_client.optuna.attributes import ORIGIN
        from cerebros_client.optuna.describing import FINISHED, describe

        for name in self._names:
            study = optuna.load_study(study_name=name, storage=self._storage)
            for trial in study.get_trials(deepcopy=False):
                where = f"{name}/{trial.number}"
                if trial.state not in FINISHED:
                    yield Skipped(where, f"{trial.state.name.lower()}, not finished")
                elif ORIGIN in trial.user_attrs:
                    yield Skipped(where, "added by warm_start: it is a row of another run")
                else:
                    fields = describe(study, trial)
                    trial_id, at = str(fields.pop("trial_id")), fields.pop("at")
                    yield Item(name, trial_id, to_ms(at.timestamp()) if at else 0, fields)


def _opened(storage: str) -> Any:
    """What `optuna.load_study` takes; a file is told by how it begins. A missing file would be made: refused."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = Path(storage.removeprefix("sqlite:///")) if storage.startswith("sqlite:///") else Path(storage)
    if "://" in storage and not storage.startswith("sqlite:///"):
        return storage
    if not path.is_file():
        raise SourceError(f"{path} is no file; a database is named by its URL, postgresql://user@host/name")
    with path.open("rb") as file:
        is_sqlite = file.read(len(_SQLITE)) == _SQLITE
    return f"sqlite:///{path}" if is_sqlite else JournalStorage(JournalFileBackend(str(path)))


def _without_secret(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if "@" in rest else url
