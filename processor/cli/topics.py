"""`processor topics`: the three Kafka topics."""

from __future__ import annotations

from typing import Annotated

import typer

from processor.cli.context import load

app = typer.Typer(help="The three Kafka topics.", no_args_is_help=True)


@app.command("create")
def create_topics(
    partitions: Annotated[int, typer.Option(min=1, help="partitions of each topic")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition")] = 1,
) -> None:
    """Create those of the topics that are missing."""
    from processor.core.settings import TopicSettings
    from processor.kafka.topics import create_topics as create

    settings = load(TopicSettings)
    created = create(settings, settings.topics, partitions=partitions, replication=replication)
    print(f"created {', '.join(created)}" if created else "nothing to do: all three topics are there")
