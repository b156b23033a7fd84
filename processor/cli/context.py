"""What nearly every command begins with: its settings, logs, and a database that is up to date.

Importing the settings takes a quarter of a second, which a help text is not to wait for: they are imported when a
command runs, and named here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from processor.core.settings import DatabaseSettings, ProcessSettings
    from processor.store.session import Session

S = TypeVar("S", bound="ProcessSettings")

#: the settings of this process, once they are read
_loaded: list[ProcessSettings] = []


def load(kind: type[S], process: str = "cli") -> S:
    """The settings of this process, with its logs set up. Raises `UsageError`."""
    from processor.core.logs import configure_logs
    from processor.core.settings import load_settings

    settings = load_settings(kind)
    _loaded.append(settings)
    configure_logs(settings, process)
    return settings


def unset_addresses(said: str) -> str:
    """What is to be said behind a failure at a server that nobody has named; "" where it was named, or is not meant."""
    names = {"kafka_bootstrap_servers": "localhost:9092", "database_url": "localhost:5432/cerebros"}
    by_default = [
        f"PROCESSOR_{name.upper()}"
        for settings in _loaded
        for name, address in names.items()
        if name in type(settings).model_fields and name not in settings.model_fields_set and address in said
    ]
    return f" ({' and '.join(by_default)} not set, so this is the default)" if by_default else ""


def open_database(settings: DatabaseSettings, application: str) -> AbstractContextManager[Session]:
    """`service.wiring.open_migrated`, imported when it is needed."""
    from processor.service.wiring import open_migrated

    return open_migrated(settings, application)


def check_extra(extra: str, *modules: str) -> None:
    """Raises `SetupError` where what an extra brings is not installed."""
    from importlib.util import find_spec

    from processor.core.errors import SetupError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise SetupError(f"it needs {', '.join(missing)}: pip install 'cerebros-processor[{extra}]'")
