"""Everything that touches Postgres; the only user of asyncpg."""

from processor.store.connection import Store
from processor.store.migrations import check_migrated, migrate, pending_migrations
from processor.store.outbox import Outbox
from processor.store.writer import TrialStore

__all__ = ["Outbox", "Store", "TrialStore", "check_migrated", "migrate", "pending_migrations"]
