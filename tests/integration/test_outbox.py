"""What the outbox says of itself."""

from __future__ import annotations

from processor.store.outbox import Outbox
from processor.store.session import Session
from tests.conftest import execute

WAITS = (
    "insert into outbox (id, messages, payload, created_at) values (gen_random_uuid(), 3, '', now() {} interval '1 h')"
)


def test_how_long_the_oldest_waits_is_told_in_seconds(store: Session, database_url: str) -> None:
    assert Outbox(store).depth() == {"packets": 0, "messages": 0, "oldest_age_s": 0.0, "parked": 0}
    execute(database_url, WAITS.format("-"), WAITS.format("-"))
    depth = Outbox(store).depth()
    assert (depth["packets"], depth["messages"]) == (2, 6)
    assert 3600 <= depth["oldest_age_s"] < 3700


def test_nothing_waits_for_less_than_no_time_when_the_clock_of_the_server_steps_back(
    store: Session, database_url: str
) -> None:
    execute(database_url, WAITS.format("+"))
    assert Outbox(store).depth()["oldest_age_s"] == 0.0
