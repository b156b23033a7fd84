"""`processor topics`: the three Kafka topics."""

from __future__ import annotations

from typing import Annotated

import typer

from processor.cli.context import load
from processor.cli.output import tell_notes

app = typer.Typer(help="The three Kafka topics.", no_args_is_help=True)


@app.command("create")
def create_topics(
    partitions: Annotated[int | None, typer.Option(min=1, help="partitions of each topic  [default: 4]")] = None,
    replication: Annotated[int | None, typer.Option(min=1, help="copies of each partition  [default: 1]")] = None,
) -> None:
    """Create those of the topics that are missing. Those that are there stay as they are."""
    from processor.core.settings import TopicSettings
    from processor.kafka.topics import create_topics as create
    from processor.kafka.topics import unlike

    settings = load(TopicSettings)
    tell_notes(unlike(settings, settings.topics, partitions=partitions, replication=replication))
    created = create(settings, settings.topics, partitions=partitions or 4, replication=replication or 1)
    print(f"created {', '.join(created)}" if created else "nothing to do: all three topics are there")
