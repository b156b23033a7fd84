"""`processor parked`: messages that the broker would not take."""

from __future__ import annotations

import typer

from processor.cli.context import load, open_database
from processor.cli.output import Format, check_format, show

app = typer.Typer(help="Messages that the broker would not take.", no_args_is_help=True)


@app.command("list")
def list_parked(format_: Format = "table") -> None:
    """What is parked, and why."""
    check_format(format_)
    from processor.cli.tables import parked_table
    from processor.core.settings import DatabaseSettings
    from processor.store.outbox import Outbox

    with open_database(load(DatabaseSettings), "cerebros-parked") as store:
        rows = Outbox(store).parked()
    show(format_, rows, lambda: [parked_table(rows) if rows else "nothing is parked"])


@app.command("publish")
def publish_parked() -> None:
    """Have everything parked published, once its cause is mended. The relay puts it back into the outbox, in order.

    The relay asks what the topics take by now before it parks anything again: it need not be started anew.
    """
    from processor.core.settings import DatabaseSettings
    from processor.store.outbox import Outbox

    with open_database(load(DatabaseSettings), "cerebros-parked") as store:
        total = Outbox(store).want_parked()
    print(f"{total} messages go back into the outbox as soon as a relay leads" if total else "nothing is parked")
