"""`processor dead-letters`: list, show, export, redrive. Wires only; what a command needs is imported in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from processor.cli.context import load, open_database
from processor.cli.output import Format, check_format, meter, show, tell_notes
from processor.core.errors import FatalError, TransientError, UsageError
from processor.core.text import printable

if TYPE_CHECKING:
    from processor.core.settings import PipelineSettings
    from processor.replay.redrive import Tally
    from processor.store.dead_letters import Selection
    from processor.store.session import Session

PROCESS, APPLICATION = "dead-letters", "cerebros-dead-letters"

app = typer.Typer(
    help="Rejected reports: list, export, send through again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Reason = Annotated[str | None, typer.Option(help="only those rejected for this reason")]
Since = Annotated[str | None, typer.Option(help="only those first seen since a moment, or PT2H", metavar="ISO8601")]
All = Annotated[bool, typer.Option("--all", help="those that are resolved too")]
LARGEST_ID = 2**63 - 1
#: a page of an export: as much as a batch of ingest
PAGE_LETTERS, PAGE_BYTES = 4000, 8 * 1024 * 1024


def _id(text: str) -> int:
    """Of a dead letter. Raises `typer.BadParameter`."""
    digits = text.removeprefix("+").replace(",", "")  # as our tables write large numbers
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and 1 <= int(digits) <= LARGEST_ID):
        raise typer.BadParameter(
            f"{printable(text[:60])} is no dead letter's number: `processor dead-letters list` shows them, with "
            "--reason one by one"
        )
    return int(digits)


@app.command("list")
def list_dead_letters(
    reason: Reason = None,
    everything: All = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="with --reason: the latest so many")] = 50,
    format_: Format = "table",
) -> None:
    """Dead letters by reason. An example of each; with --reason one by one."""
    check_format(format_)
    _check_reason(reason)
    from processor.cli.tables_letters import groups_table, letters_table
    from processor.core.settings import DatabaseSettings
    from processor.store.dead_letters import DeadLetters

    with open_database(load(DatabaseSettings, PROCESS), APPLICATION) as store:
        if reason is None:
            rows = DeadLetters(store).groups(resolved_too=everything)
        else:
            rows = DeadLetters(store).latest(reason, limit, resolved_too=everything)
    none = f"there is no {'' if everything else 'unresolved '}dead letter{f' of {reason}' if reason else ''}"
    table = partial(groups_table, rows) if reason is None else partial(letters_table, rows, reason)
    show(format_, rows, lambda: [table(everything) if rows else none])


@app.command("show")
def show_dead_letter(
    dead_letter_id: Annotated[int, typer.Argument(metavar="ID", parser=_id)], format_: Format = "table"
) -> None:
    """One dead letter. Its record as it came, why it was rejected, and the exact place."""
    check_format(format_)
    from processor.cli.tables_letters import facts_table, value_text
    from processor.contracts.catalogue import Catalogue
    from processor.core.settings import LetterSettings
    from processor.replay.reading import read_value
    from processor.service.wiring import make_registry
    from processor.store.dead_letters import DeadLetters, as_document

    settings = load(LetterSettings, PROCESS)
    with open_database(settings, APPLICATION) as store:
        letter = DeadLetters(store).get(dead_letter_id)
    registry = make_registry(settings)
    reading = read_value(letter, Catalogue.load(settings.schemas_dir), registry.writer_schema if registry else None)
    document = {**as_document(letter), "reading": reading.as_json()}
    show(format_, document, lambda: [facts_table(letter), value_text(letter, reading)])


@app.command("export")
def export(
    reason: Reason = None,
    since: Since = None,
    everything: All = False,
    output: Annotated[Path | None, typer.Option(help="to this file instead of stdout")] = None,
) -> None:
    """Dead letters as lines of JSON. With every original byte: as text, or base64 where it is none."""
    _check_reason(reason)
    import msgspec

    from processor.core.settings import DatabaseSettings
    from processor.core.text import printable_json
    from processor.store.dead_letters import DeadLetters, Selection, as_document

    selection = Selection(reason, _moment(since), resolved_too=everything)
    with open_database(load(DatabaseSettings, PROCESS), APPLICATION) as store, _writer(output) as write:
        letters, count = DeadLetters(store), 0
        for page in letters.pages(letters.bounded(selection), PAGE_LETTERS, PAGE_BYTES):
            for letter in page:
                write(printable_json(msgspec.json.encode(as_document(letter)).decode()).encode() + b"\n")
                count += 1
    if output is not None:
        tell_notes([f"{count:,} dead letter{'' if count == 1 else 's'} in {output}"])


@app.command("redrive")
def redrive(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID", parser=_id)] = None,
    reason: Reason = None,
    since: Since = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="so many at the most")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would happen")] = False,
    format_: Format = "table",
) -> None:
    """Send unresolved dead letters through the pipeline again. Without any condition all there are."""
    check_format(format_)
    _check_reason(reason)
    from processor.cli.tables_letters import tally_table
    from processor.core.settings import PipelineSettings
    from processor.store.dead_letters import DeadLetters, Selection

    selection = Selection(reason, _moment(since), ids or None)
    settings = load(PipelineSettings, PROCESS)
    with open_database(settings, APPLICATION) as store:
        letters = DeadLetters(store)
        resolved = letters.check_ids(ids or [])
        tally = _redrive(settings, store, letters.bounded(selection), most, dry_run)
    document = {"dry_run": dry_run, "resolved_before": len(resolved), **tally.as_json()}
    show(format_, document, lambda: [tally_table(document)])


def _redrive(
    settings: PipelineSettings, store: Session, selection: Selection, most: int | None, dry_run: bool
) -> Tally:
    from processor.contracts.catalogue import Catalogue
    from processor.replay.redrive import redrive as run
    from processor.service.wiring import make_decoder, make_event_writer
    from processor.store.dead_letters import DeadLetters
    from processor.store.redrive import RedriveStore

    catalogue, letters = Catalogue.load(settings.schemas_dir), DeadLetters(store)
    event_writer, create_runs = make_event_writer(settings, catalogue), settings.unknown_run == "create"
    sink = RedriveStore(store, event_writer, create_runs=create_runs, rehearses=dry_run)
    count = letters.count(selection)
    total = count if most is None else min(count, most)
    pages = letters.pages(selection, settings.batch_max_records, settings.batch_bytes, most)
    through = 0

    def done(number: int) -> None:
        nonlocal through
        through += number
        tell(through)

    with meter("rehearsing" if dry_run else "redriving", total, "dead letters") as tell:
        try:
            return run(pages, make_decoder(settings, catalogue), sink, settings.batch_max_records, done)
        except TransientError as error:
            raise TransientError(f"{error}; {through} of {total} dead letters are done, run it again") from error


def _check_reason(reason: str | None) -> None:
    from processor.core.messages import Reason as Known

    if reason is not None and reason not in list(Known):
        raise UsageError(f"{reason!r} is no reason; there are {', '.join(Known)}")


def _moment(since: str | None) -> int | None:
    """Milliseconds since the epoch."""
    from processor.core.times import before_now, parse_datetime

    if since is None:
        return None
    return before_now(since) if since.upper().startswith("P") else parse_datetime(since)


@contextmanager
def _writer(output: Path | None) -> Iterator[Callable[[bytes], Any]]:
    """Writes to stdout, or to a file that only has its name once it is complete."""
    if output is None:
        try:
            yield sys.stdout.buffer.write
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FatalError(f"what was exported can't be written: {error.strerror}") from None
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            yield file.write
        part.replace(output)
    except OSError as error:
        raise FatalError(f"{output} can't be written: {error.strerror}") from None
