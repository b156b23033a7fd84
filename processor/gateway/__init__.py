"""HTTP -> raw topic: judged by the decoder before, answered when Kafka has confirmed, never earlier."""
