"""What nearly every command begins with: its settings, logs, and a database that is up to date.

Importing the settings takes a quarter of a second, which a help text is not to wait for: they are imported when a
command runs, and named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from processor.core.settings import DatabaseSettings, ProcessSettings
    from processor.store.session import Session

S = TypeVar("S", bound="ProcessSettings")


def load(kind: type[S], process: str = "cli") -> S:
    """The settings of this process, with its logs set up. Raises `UsageError`."""
    from processor.core.logs import configure_logs
    from processor.core.settings import load_settings

    settings = load_settings(kind)
    configure_logs(settings, process)
    return settings


@contextmanager
def open_database(settings: DatabaseSettings, application: str) -> Iterator[Session]:
    """A session on a database that was migrated; raises `SetupError` where it was not."""
    from processor.service.wiring import open_session
    from processor.store.migrations import check_migrated

    with open_session(settings, application) as session:
        check_migrated(session)
        yield session
