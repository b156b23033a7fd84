"""A real Apache Kafka and a real PostgreSQL without Docker, for the demo and the tests; never for production.

`stack` puts the two together; each is a `server.Server` under its `guard`.
"""

from processor.local.kafka import KafkaServer
from processor.local.postgres import PostgresServer
from processor.local.stack import LocalStack, serve

__all__ = ["KafkaServer", "LocalStack", "PostgresServer", "serve"]
