"""The processes themselves, and what one asks before and beside them: `migrate`, `status`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.context import check_extra, load, open_database, unset_addresses
from processor.cli.output import Format, check_format, fail, show

if TYPE_CHECKING:
    from processor.web.tokens import Door

WithStdin = Annotated[bool, typer.Option("--stop-with-stdin", hidden=True, help="stop when standard input ends")]


def ingest(with_stdin: WithStdin = False) -> None:
    """Read the raw topic and write it to Postgres. It runs until a signal."""
    from processor.core.settings import IngestSettings

    settings = load(IngestSettings, "ingest")
    from processor.service.ingest import run_ingest

    run_ingest(settings, with_stdin=with_stdin)


def relay(with_stdin: WithStdin = False) -> None:
    """Publish events and dead letters to Kafka. It runs until a signal; a second one stands by."""
    from processor.core.settings import RelaySettings

    settings = load(RelaySettings, "relay")
    from processor.service.relay import run_relay

    run_relay(settings, with_stdin=with_stdin)


def gateway(with_stdin: WithStdin = False) -> None:
    """Take reports over HTTP, for the raw topic. It runs until a signal.

    PROCESSOR_GATEWAY_LISTEN says where it listens (127.0.0.1:8080), PROCESSOR_GATEWAY_TOKENS_FILE who may report.
    """
    from processor.core.settings import GatewaySettings

    settings = load(GatewaySettings, "gateway")
    check_extra("gateway", "starlette", "uvicorn", "httptools", "uvloop")
    from processor.service.gateway import run_gateway

    run_gateway(settings, with_stdin=with_stdin)


def gateway_token(
    name: Annotated[str, typer.Argument(help="whose token it is")],
    rights: Annotated[
        list[str] | None,
        typer.Option("--right", help="what it may do: report, metrics; default: both", metavar="RIGHT"),
    ] = None,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="hash the token on standard input, make none")] = False,
) -> None:
    """Make a token for the gateway. It is printed on stderr, once; the line for the tokens file on stdout."""
    from processor.web.tokens import GATEWAY

    _make_token(GATEWAY, name, rights, from_stdin)


def dashboard(with_stdin: WithStdin = False) -> None:
    """Show runs, trials, comparisons and charts in a browser. It changes nothing, and runs until a signal.

    PROCESSOR_DASHBOARD_LISTEN says where it listens (127.0.0.1:8090), PROCESSOR_DASHBOARD_TOKENS_FILE who may look.
    """
    from processor.core.settings import DashboardSettings

    settings = load(DashboardSettings, "dashboard")
    check_extra("dashboard", "starlette", "uvicorn", "httptools", "uvloop", "jinja2", "numpy", "scipy")
    from processor.service.dashboard import run_dashboard

    run_dashboard(settings, with_stdin=with_stdin)


def dashboard_token(
    name: Annotated[str, typer.Argument(help="whose token it is")],
    rights: Annotated[
        list[str] | None,
        typer.Option("--right", help="what it may do: read, metrics; default: both", metavar="RIGHT"),
    ] = None,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="hash the token on standard input, make none")] = False,
) -> None:
    """Make a token for the dashboard. It is printed on stderr, once; the line for the tokens file on stdout."""
    from processor.web.tokens import DASHBOARD

    _make_token(DASHBOARD, name, rights, from_stdin)


def _make_token(door: Door, name: str, rights: list[str] | None, from_stdin: bool) -> None:
    from processor.core.errors import UsageError
    from processor.web.tokens import line_for, make_token

    chosen = frozenset(rights or door.rights)
    if not chosen <= door.rights:
        raise UsageError(f"--right is one of {', '.join(sorted(door.rights))}")
    token = sys.stdin.readline().rstrip("\r\n") if from_stdin else make_token()
    line = line_for(name, token, frozenset() if chosen == door.rights else chosen)
    if not from_stdin:
        print(token, file=sys.stderr)
    print(line)
    if sys.stdout.isatty():  # both on one screen: which is which?
        shown = "" if from_stdin else f"Above it is {name}'s token, which is not shown again. "
        print(f"{shown}The last line belongs into the file of PROCESSOR_{door.setting}.", file=sys.stderr)


def run() -> None:
    """Run `ingest` and `relay` at once, on one machine.

    `gateway` and `dashboard` too where PROCESSOR_GATEWAY_LISTEN and PROCESSOR_DASHBOARD_LISTEN are set. Each is a
    process of its own; when one ends the others are stopped.
    """
    from processor.core.settings import Settings
    from processor.service.together import run_together

    sys.exit(run_together(load(Settings, "run")))


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="change nothing; exit 1 when something is pending or lost")
    ] = False,
    count: Annotated[bool, typer.Option("--recount", help="count all trials anew, where triggers missed some")] = False,
    mend: Annotated[
        bool, typer.Option("--mend", help="make again what of keys, indexes, constraints and triggers was dropped")
    ] = False,
) -> None:
    """Bring the database up to date. Safe to repeat, and on a database that other programs already use."""
    from processor.core.errors import UsageError
    from processor.core.settings import DatabaseSettings
    from processor.service.wiring import open_session
    from processor.store import migrations, parts
    from processor.store.counts import recount

    settings = load(DatabaseSettings)
    if check and (count or mend):
        raise UsageError(f"--check changes nothing, and {'--recount' if count else '--mend'} does: choose one")
    if check:
        with open_database(settings, "cerebros-migrate") as session:
            parts.check_parts(session)
            print(f"{session.where} is up to date")
        return
    with open_session(settings, "cerebros-migrate") as session:
        tell = partial(print, file=sys.stderr, flush=True)
        done = migrations.migrate(session, tell)
        print(f"{session.where}: {', '.join(done) if done else 'nothing to do'}")
        if mend:
            made = ", ".join(map(str, parts.mend_parts(session, tell)))
            print(f"{session.where}: {f'made again: {made}' if made else 'nothing was lost'}")
        if count:
            of_runs, of_time = recount(session)
            wrong = f"{of_runs + of_time:,} counts were not right ({of_runs:,} by run, {of_time:,} by time)"
            print(f"{session.where}: {wrong}")


def status(format_: Format = "table") -> None:
    """Show lag, rows, the outbox, and dead letters by reason."""
    check_format(format_)
    from processor.cli.tables import status_table
    from processor.core.settings import StatusSettings
    from processor.service.status import collect_status

    document = collect_status(load(StatusSettings))
    if format_ == "json" or not document.keys().isdisjoint(("lag", "outbox")):
        show(format_, document, lambda: [status_table(document)])
    if document["problems"]:
        fail("; ".join(f"{problem}{unset_addresses(problem)}" for problem in document["problems"]), 1)
