"""`processor schemas`: the versioned Avro schemas."""

from __future__ import annotations

import typer

from processor.cli.context import load
from processor.cli.output import Format, check_format, show, tell_notes
from processor.core.errors import ProcessorError

app = typer.Typer(help="The versioned Avro schemas.", no_args_is_help=True)


@app.command("list")
def list_schemas(format_: Format = "table") -> None:
    """Every schema version with its fields and fingerprint."""
    check_format(format_)
    from processor.cli.tables import schemas_table
    from processor.contracts.catalogue import Catalogue
    from processor.core.settings import SchemaSettings

    catalogue = Catalogue.load(load(SchemaSettings).schemas_dir)
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
    show(format_, rows, lambda: [schemas_table(rows)])


@app.command("check")
def check_schemas() -> None:
    """Check that every version reads what older ones wrote. That is BACKWARD_TRANSITIVE; exit 1 where one can't."""
    from processor.contracts.catalogue import Catalogue
    from processor.core.settings import SchemaSettings

    catalogue = Catalogue.load(load(SchemaSettings).schemas_dir)
    problems = catalogue.incompatibilities()
    tell_notes([str(problem) for problem in problems])
    if problems:
        raise ProcessorError(f"{len(problems)} incompatible changes: history would not be readable")
    print(f"{sum(len(catalogue.versions(one)) for one in catalogue.subjects())} schemas are compatible")
