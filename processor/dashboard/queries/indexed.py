"""Which indexes of metrics and parameters there are: one look at the catalogue, which is to be kept for a while."""

from __future__ import annotations

from processor.dashboard.filters.indexed import Indexed
from processor.store.path_indexes import PREFIX
from processor.store.pool import Pool

#: an index that goes meanwhile makes a page slower, never wrong
HELD_SECONDS = 60.0


async def read_indexed(pool: Pool) -> Indexed:
    return Indexed(frozenset(row["name"] for row in await pool.fetch("whole_path_indexes", PREFIX)))
