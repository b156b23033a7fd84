"""The command line: `processor COMMAND`. It only wires; whatever a command needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from processor.cli import dashboard_index, dead_letters, local, mlflow, parked, processes, replay, schemas, topics
from processor.cli.context import unset_addresses
from processor.cli.ending import end_with
from processor.cli.output import fail
from processor.core.errors import ProcessorError, UsageError

app = typer.Typer(
    help="Kafka in, Postgres rows and exactly-once events out: the stream processor for Cerebros trial reports.",
    epilog="Settings are environment variables with the prefix PROCESSOR_ (or a .env file); docs/reference lists them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich for a help text takes three times as long as all the rest
)
app.command()(processes.ingest)
app.command()(processes.relay)
app.command()(processes.gateway)
app.command("gateway-token")(processes.gateway_token)
app.command()(processes.dashboard)
app.command("dashboard-token")(processes.dashboard_token)
app.add_typer(dashboard_index.app, name="dashboard-index")
app.add_typer(mlflow.app, name="mlflow")
app.command()(processes.run)
app.command()(processes.migrate)
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.command()(processes.status)
app.command()(replay.replay)
app.command()(replay.verify)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(parked.app, name="parked")
app.add_typer(local.app, name="local")
app.command()(local.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        from processor import __version__

        print(f"processor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Kafka in, Postgres rows and exactly-once events out: the stream processor for Cerebros trial reports."""


def run() -> NoReturn:
    """Entry point of a process."""
    end_with(main)


def main() -> None:
    """One clear sentence on stderr for what a person can mend, exit code 0 done, 1 failed, 2 wrong use."""
    try:
        app()
    except UsageError as error:
        fail(str(error), 2)
    except ProcessorError as error:
        fail(f"{error}{unset_addresses(str(error))}", 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `processor ... | head`
        sys.stderr.close()
        sys.exit(1)
