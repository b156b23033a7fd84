"""Everything that touches Kafka: sources, topics, offsets, and the producer with transactions."""
