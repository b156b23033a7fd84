"""`processor dashboard-index`: indexes of chosen metrics and parameters, for the owner of the tables."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from processor.cli.context import load, open_database
from processor.cli.output import Format, check_format, show

app = typer.Typer(
    help="Make the dashboard quick with many trials. By indexes of what people sort and filter by.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
APPLICATION = "cerebros-dashboard-index"


@app.command("add")
def add_index(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="metrics.accuracy, parameters.lr, or lr")],
) -> None:
    """Make indexes of these paths. Others read and write meanwhile; one that was left half-made is made again."""
    from processor.core.settings import DatabaseSettings
    from processor.dashboard.filters.indexed import json_path, read_indexable, show_path
    from processor.store.path_indexes import add_indexes

    wanted = dict.fromkeys(map(read_indexable, paths))
    with open_database(load(DatabaseSettings), APPLICATION) as store:
        add_indexes(store, [json_path(path) for path in wanted], _tell)
        _say(f"{store.where}: {', '.join(map(show_path, wanted))} can be ordered and filtered by an index")


@app.command("list")
def list_indexes(format_: Format = "table") -> None:
    """Each path that has an index. Its size, whether it is whole, how often it was used."""
    check_format(format_)
    from processor.cli.tables import indexes_table
    from processor.core.settings import DatabaseSettings
    from processor.dashboard.filters.indexed import show_path
    from processor.dashboard.filters.tree import Path
    from processor.store.path_indexes import held_indexes

    with open_database(load(DatabaseSettings), APPLICATION) as store:
        rows = [{**row, "path": show_path(Path(*row["path"]))} for row in held_indexes(store)]
    show(format_, rows, lambda: [indexes_table(rows)])


@app.command("drop")
def drop_index(path: Annotated[str, typer.Argument(metavar="PATH")]) -> None:
    """Drop the index of a path. Whole or half-made, while others read and write."""
    from processor.core.errors import UsageError
    from processor.core.settings import DatabaseSettings
    from processor.dashboard.filters.indexed import json_path, read_indexable, show_path
    from processor.store.path_indexes import drop_indexes

    wanted = read_indexable(path)
    with open_database(load(DatabaseSettings), APPLICATION) as store:
        if not drop_indexes(store, json_path(wanted), _tell):
            raise UsageError(f"there is no index of {show_path(wanted)}: `processor dashboard-index list` has those")
        _say(f"{store.where}: {show_path(wanted)} has no index any more")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    from processor.core.tables import sentence

    print(sentence(text))
