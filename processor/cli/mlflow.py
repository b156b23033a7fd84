"""`processor mlflow`: the mirror, and looking whether it holds what it shall."""

from __future__ import annotations

from typing import Annotated

import typer

from processor.cli.context import load
from processor.cli.output import Format, check_format, meter, show
from processor.cli.processes import WithStdin
from processor.core.errors import ProcessorError

app = typer.Typer(
    help="Mirror trials into an MLflow tracking server. Without a command it mirrors until a signal.\n\n"
    "PROCESSOR_MLFLOW_TRACKING_URI says where the server is.",
    invoke_without_command=True,
)


@app.callback()
def mlflow(
    context: typer.Context,
    create_missing: Annotated[
        bool, typer.Option("--create-missing", help="a trial whose named run can't be linked gets one of its own")
    ] = False,
    with_stdin: WithStdin = False,
) -> None:
    """Mirror every succeeded and failed trial into an MLflow tracking server, until a signal."""
    if context.invoked_subcommand is not None:
        return
    from processor.core.settings import MlflowSettings

    settings = load(MlflowSettings, "mlflow")
    from processor.service.mlflow import run_mlflow

    run_mlflow(settings, create_missing=create_missing, with_stdin=with_stdin)


@app.command("verify")
def verify_mlflow(
    mend: Annotated[
        bool, typer.Option("--mend", help="mirror from the tables what is missing, delete what is doubled")
    ] = False,
    format_: Format = "table",
) -> None:
    """Compare the tables with the tracking server. Exit 1 where they differ (with --mend: where they still may)."""
    check_format(format_)
    from processor.cli.tables import mlflow_findings
    from processor.core.settings import MlflowSettings
    from processor.service import mlflow_verify

    settings = load(MlflowSettings, "verify")
    document = mlflow_verify.verify_mlflow(settings, lambda what, total: meter(what, total, "trials"), mend=mend)
    show(format_, document, lambda: mlflow_findings(document))
    if document["differences"]:
        again = "; run it once more without --mend" if mend else ""
        number, where = document["differences"], document["where"]
        raise ProcessorError(f"{number:,} differences between the tables and {where}{again}")
