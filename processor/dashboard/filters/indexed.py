"""Which metrics and parameters have an index, by which many trials are ordered and filtered (`processor
dashboard-index`), and how such a path is named by who makes one."""

from __future__ import annotations

from typing import NamedTuple

from processor.core.errors import UsageError
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.paths import path_of
from processor.dashboard.filters.text import write_path
from processor.dashboard.filters.tokens import tokenize
from processor.dashboard.filters.tree import FilterError, Path
from processor.store.path_indexes import JsonPath, index_names


class Indexed(NamedTuple):
    """The names of the indexes that are whole."""

    names: frozenset[str] = frozenset()

    def serving(self, path: Path) -> Path | None:
        """The path whose number stands for that of `path` wherever `path` has one, and has an index; None: none has.

        What has the metric has it under the shorthand too (which takes the metric first), so an index of the shorthand
        serves both; a parameter may stand behind a metric of its name, and has only its own.
        """
        if not self.names or path.place in COLUMNS:
            return None
        candidates = [path, Path("either", path.keys)] if path.place == "metrics" else [path]
        for one in candidates:
            if self.names.issuperset(index_names(json_path(one))):
                return one
        return None


NOTHING = Indexed()


def json_path(path: Path) -> JsonPath:
    return JsonPath(path.place, path.keys)


def read_indexable(text: str) -> Path:
    """`metrics.accuracy`, `parameters."layer 1".units`, `lr`: what can have an index. Raises `UsageError`."""
    try:
        tokens = tokenize(text)
        path = path_of(tokens[0]) if len(tokens) == 2 and tokens[0].kind == "word" else None
    except FilterError as error:
        raise UsageError(f"a path: {error}") from None
    if path is None or path.place in COLUMNS:
        raise UsageError(f"{text or 'nothing'} is no metric and no parameter: metrics.accuracy, parameters.lr")
    return path


def show_path(path: Path) -> str:
    """As a person would type it: without quotes where it is read the same."""
    bare = ".".join(path.keys if path.place == "either" else (path.place, *path.keys))
    try:
        return bare if read_indexable(bare) == path else write_path(path)
    except UsageError:
        return write_path(path)
