"""`processor mlflow`: the mirror, and looking whether it holds what it shall."""

from __future__ import annotations

from typing import Annotated

import typer

from processor.cli.context import load
from processor.cli.processes import WithStdin

app = typer.Typer(help="Mirror trials into an MLflow tracking server.", invoke_without_command=True)


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
