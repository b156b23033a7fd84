"""Dead letters and the state of things, at a glance."""

from __future__ import annotations

from typing import Any

from processor.core.text import storable
from processor.store.dead_letters import LETTERS_COUNTED
from processor.store.pool import Pool

PAGE, MOST = 50, 200


async def letter_page(
    pool: Pool, before: int | None = None, reason: str | None = None, limit: int = PAGE, *, resolved_too: bool = False
) -> list[dict[str, Any]]:
    """The newest dead letters, or those before an id; 200 at the most, without their records' bytes."""
    bound = 2**63 - 1 if before is None else before
    return await pool.fetch("letter_page", bound, storable(reason), max(1, min(limit, MOST)), resolved_too)


async def health(pool: Pool) -> dict[str, Any]:
    """waiting, oldest (of the outbox), parked, run_changed_at, now; reasons of unresolved dead letters (reason, count,
    about, last_seen), and dead_letters: of all of them, dead_letters_about where of a reason it is about so many.
    """
    (row,) = await pool.fetch("health")
    reasons = await pool.fetch("dead_letter_reasons", LETTERS_COUNTED)
    total, about = sum(one["count"] for one in reasons), any(one["about"] for one in reasons)
    return {**row, "dead_letters": total, "dead_letters_about": about, "reasons": reasons}
