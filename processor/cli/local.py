"""`processor local` and `processor demo`: servers of one's own on this machine, and what runs on them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="A real Kafka and PostgreSQL here, without Docker.", no_args_is_help=True)


@app.command("up")
def local_up(
    data: Annotated[Path | None, typer.Option(help="keep the data here; without it, it goes when you stop")] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="an MLflow tracking server too")] = False,
    mlflow_on_postgres: Annotated[
        bool, typer.Option("--mlflow-on-postgres", help="the same, its runs in that PostgreSQL, not in a SQLite file")
    ] = False,
) -> None:
    """Start both, print their addresses, stop both on Ctrl-C."""
    from processor.local import serve

    serve(
        data,
        lambda line: print(line, flush=True),
        mlflow=mlflow or mlflow_on_postgres,
        mlflow_store="postgres" if mlflow_on_postgres else "sqlite",
    )


def demo(
    trials: Annotated[int, typer.Option(min=10, help="how many trials the search runs")] = 60,
    keep: Annotated[bool, typer.Option("--keep", help="leave all running and say how to look around")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="mirror the trials into a real MLflow, and compare")] = False,
) -> None:
    """Show all of it in half a minute, on servers of its own.

    A real search reports through a real Kafka into a real PostgreSQL; then all is replayed and reconciled.
    """
    from rich.console import Console

    from processor.demo import run_demo

    sys.exit(run_demo(trials=trials, keep=keep, mlflow=mlflow, console=Console()))
