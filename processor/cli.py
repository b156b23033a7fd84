"""The command line: `processor COMMAND`. It only wires; whatever a command needs is imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from processor import cli_dead_letters
from processor.errors import ProcessorError, UsageError

if TYPE_CHECKING:
    from processor.replay import Choice
    from processor.settings import Settings

app = typer.Typer(
    help="Kafka in, Postgres rows and exactly-once events out: the stream processor for Cerebros trial reports.",
    epilog="Settings are environment variables with the prefix PROCESSOR_ (or a .env file); the README lists them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich for a help text takes three times as long as all the rest
)
topics_app = typer.Typer(help="The three Kafka topics.", no_args_is_help=True)
schemas_app = typer.Typer(help="The versioned Avro schemas.", no_args_is_help=True)
local_app = typer.Typer(
    help="A real Kafka and a real PostgreSQL on this machine, without Docker.", no_args_is_help=True
)
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")
parked_app = typer.Typer(help="Messages that the broker would not take.", no_args_is_help=True)
app.add_typer(local_app, name="local")
app.add_typer(parked_app, name="parked")
app.add_typer(cli_dead_letters.app, name="dead-letters")

Format = Annotated[str, typer.Option("-f", "--format", help="table or json", metavar="table|json")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"processor {version('cerebros-processor')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Kafka in, Postgres rows and exactly-once events out: the stream processor for Cerebros trial reports."""


def main() -> None:
    """Entry point: one clear sentence on stderr for what a person can mend, exit code 0 done, 1 failed, 2 wrong use."""
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except ProcessorError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `processor ... | head`
        sys.stderr.close()
        sys.exit(1)


def _fail(sentence: str, code: int) -> None:
    print(f"processor: {sentence}", file=sys.stderr)
    sys.exit(code)


def _settings(process: str = "cli") -> Settings:
    from processor.logs import configure_logs
    from processor.settings import load_settings

    settings = load_settings()
    configure_logs(settings, process)
    return settings


def _check_format(format_: str) -> None:
    if format_ not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {format_}")


def _show(format_: str, document: Any, table: Callable[[], Any]) -> None:
    """Prints the document as JSON, or the table that `table` makes."""
    _check_format(format_)
    if format_ == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode())
    else:
        from rich.console import Console

        Console(markup=False).print(table())  # an id from a report is no markup


@app.command()
def ingest() -> None:
    """Read the raw topic and write it to Postgres, until a signal."""
    settings = _settings("ingest")
    from processor.service import run_ingest

    run_ingest(settings)


@app.command()
def relay() -> None:
    """Publish events and dead letters from the outbox to Kafka, until a signal; a second one stands by."""
    settings = _settings("relay")
    from processor.service import run_relay

    run_relay(settings)


@app.command()
def run() -> None:
    """`ingest` and `relay` together, each as its own process."""
    settings = _settings("run")
    from processor.service import run_both

    sys.exit(run_both(settings))


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="change nothing; exit 1 when something is pending")] = False,
) -> None:
    """Bring the database up to date; safe to repeat, and on a database that other programs already use."""
    settings = _settings()
    from processor import store
    from processor.service import open_store

    with open_store(settings, "cerebros-migrate") as database:
        if check:
            store.check_migrated(database)
            print(f"{database.where} is up to date")
        else:
            done = store.migrate(database)
            print(f"{database.where}: {', '.join(done) if done else 'nothing to do'}")


@topics_app.command("create")
def create_topics(
    partitions: Annotated[int, typer.Option(min=1, help="partitions of each topic")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition")] = 1,
) -> None:
    """Create those of the topics that are missing."""
    settings = _settings()
    from processor import intake

    created = intake.create_topics(settings, partitions=partitions, replication=replication)
    print(f"created {', '.join(created)}" if created else "nothing to do: all three topics are there")


@schemas_app.command("list")
def list_schemas(format_: Format = "table") -> None:
    """Every schema version with its fields and fingerprint."""
    from processor.catalogue import Catalogue
    from processor.show import schemas_table

    catalogue = Catalogue.load(_settings().schemas_dir)
    rows = [
        {
            "subject": subject,
            "version": schema.version,
            "fingerprint": schema.fingerprint.hex(),
            "fields": [field["name"] for field in schema.definition["fields"]],
            "path": str(schema.path),
        }
        for subject in catalogue.subjects()
        for schema in catalogue.versions(subject)
    ]
    _show(format_, rows, lambda: schemas_table(rows))


@schemas_app.command("check")
def check_schemas() -> None:
    """Check that every version can read what any older one wrote (BACKWARD_TRANSITIVE); exit 1 where one can't."""
    from processor.catalogue import Catalogue

    catalogue = Catalogue.load(_settings().schemas_dir)
    problems = catalogue.incompatibilities()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise ProcessorError(f"{len(problems)} incompatible changes: history would not be readable")
    print(f"{sum(len(catalogue.versions(one)) for one in catalogue.subjects())} schemas are compatible")


@app.command()
def status(format_: Format = "table") -> None:
    """Lag by partition, rows, outbox depth and age, dead letters by reason."""
    _check_format(format_)
    settings = _settings()
    from processor.show import status_table
    from processor.status import collect_status

    document = collect_status(settings)
    if format_ == "json" or not document.keys().isdisjoint(("lag", "outbox")):
        _show(format_, document, lambda: status_table(document))
    if document["problems"]:
        _fail("; ".join(document["problems"]), 1)


Window = Annotated[
    str | None,
    typer.Option(
        "--window", help="offsets or ISO 8601 moments, TO exclusive, either side may be empty", metavar="FROM..TO"
    ),
]
Partition = Annotated[list[int] | None, typer.Option(help="only this partition; may be given again")]


@app.command()
def replay(
    earliest: Annotated[bool, typer.Option("--to-earliest", help="from the first record")] = False,
    latest: Annotated[bool, typer.Option("--to-latest", help="skip everything there is")] = False,
    moment: Annotated[
        str | None, typer.Option("--to-datetime", help="from the first record not older than this", metavar="ISO8601")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--by-duration", help="from this long ago, such as PT2H", metavar="ISO8601")
    ] = None,
    shift: Annotated[int | None, typer.Option("--shift-by", help="N records forward, -N back")] = None,
    offset: Annotated[int | None, typer.Option("--to-offset", help="from this offset")] = None,
    file: Annotated[
        Path | None, typer.Option("--from-file", help="lines topic,partition,offset as Kafka's own tool exports them")
    ] = None,
    window: Window = None,
    partition: Partition = None,
    execute: Annotated[bool, typer.Option("--execute", help="reset the offsets; without this only the plan")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="with --window: say what would change")] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="with --window: go on where the same command stopped, or anew")
    ] = True,
    format_: Format = "table",
) -> None:
    """Read a part of the raw topic again; rows and events stay as they are.

    With --to-..., --by-duration, --shift-by or --from-file the live group's offsets are reset (no ingest may run) and
    the next ingest reads from there. With --window the range is read at once, beside a running ingest whose offsets
    are not touched; stopped, the same command goes on where it was.
    """
    choices = (earliest or None, latest or None, moment, duration, shift, offset, file, window)
    if sum(choice is not None for choice in choices) != 1:
        raise UsageError(
            "say exactly one of --to-earliest --to-latest --to-datetime --by-duration --shift-by --to-offset "
            "--from-file --window"
        )
    if window is not None and execute:
        raise UsageError("--window needs no --execute; --dry-run says what it would do")
    if window is None and (dry_run or not resume):
        raise UsageError("--dry-run and --no-resume go with --window; without --execute a reset is only planned")
    _check_format(format_)
    settings = _settings("replay")
    if window is not None:
        from processor.cli_window import window_replay

        window_replay(settings, window, partitions=partition or (), dry_run=dry_run, format_=format_, resume=resume)
        return
    from processor.replay import GroupOffsets, plan_reset
    from processor.show import plan_table

    group = GroupOffsets(settings)
    choose = _choice(settings, earliest, moment, duration, shift, offset, file)
    plan = plan_reset(group, choose, partition or [])
    rows = [{**move._asdict(), "records": move.records} for move in plan]
    if execute:
        group.apply(plan)
    _show(format_, rows, lambda: plan_table(settings, rows, execute))


@app.command()
def verify(window: Window = None, partition: Partition = None, format_: Format = "table") -> None:
    """Fold the raw topic in bounded memory and compare it with the tables; writes nothing, exit 1 where they differ."""
    _check_format(format_)
    settings = _settings("verify")
    from processor.cli_window import verify as run_verify

    run_verify(settings, window=window, partitions=partition or (), format_=format_)


def _choice(
    settings: Settings,
    earliest: bool,
    moment: str | None,
    duration: str | None,
    shift: int | None,
    offset: int | None,
    file: Path | None,
) -> Choice:
    import time

    from processor import replay as plans

    if earliest:
        return plans.to_earliest
    if moment is not None:
        return plans.to_timestamp(plans.parse_datetime(moment))
    if duration is not None:
        since = time.time() - plans.parse_duration(duration).total_seconds()
        return plans.to_timestamp(int(since * 1000))
    if shift is not None:
        return plans.shift_by(shift)
    if offset is not None:
        return plans.to_offset(offset)
    if file is not None:
        return plans.from_file(plans.read_plan_file(file, settings.raw_topic))
    return plans.to_latest


@parked_app.command("list")
def list_parked(format_: Format = "table") -> None:
    """What is parked, and why."""
    settings = _settings()
    from processor.service import open_store
    from processor.show import parked_table
    from processor.store import Outbox

    with open_store(settings, "cerebros-parked") as store:
        rows = Outbox(store).parked()
    _show(format_, rows, lambda: parked_table(rows))


@parked_app.command("publish")
def publish_parked() -> None:
    """Put everything parked back into the outbox, once its cause is mended; the relay publishes it."""
    settings = _settings()
    from processor.service import open_store
    from processor.store import Outbox

    with open_store(settings, "cerebros-parked") as store:
        total = Outbox(store).unpark()
    print(f"{total} messages are back in the outbox" if total else "nothing is parked")


@local_app.command("up")
def local_up(
    data: Annotated[Path | None, typer.Option(help="keep the data here; without it, it goes when you stop")] = None,
) -> None:
    """Start both, print their addresses, stop both on Ctrl-C."""
    from processor.local import serve

    serve(data, lambda line: print(line, flush=True))


@app.command()
def demo(
    trials: Annotated[int, typer.Option(min=10, help="how many trials the search runs")] = 60,
    keep: Annotated[bool, typer.Option("--keep", help="leave all running and say how to look around")] = False,
) -> None:
    """A real search reports through a real Kafka into a real PostgreSQL; then all is replayed and reconciled."""
    from rich.console import Console

    from processor.demo import run_demo

    sys.exit(run_demo(trials=trials, keep=keep, console=Console()))
