"""Outbox -> outlet, exactly once, between two protocols; what the broker never takes is parked."""
