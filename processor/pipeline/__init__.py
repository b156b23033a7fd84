"""Source -> decode -> batch -> sink -> commit, between two protocols; knows neither Kafka nor Postgres."""
