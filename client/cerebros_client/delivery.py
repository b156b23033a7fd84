"""What a reporter hands its reports to: memory alone, or a spool in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from cerebros_client.direct import Direct
from cerebros_client.transport import Report, Target, connected


class Spool(NamedTuple):
    """A folder, and the most that one process keeps there."""

    folder: Path
    max_mib: int


class Delivery(Protocol):
    """Of one process; each call raises what `TrialReporter`'s of the same name does."""

    def accept(self, report: Report) -> None: ...

    def flush(self, timeout_s: float) -> None: ...

    def close(self, timeout_s: float) -> None: ...

    def confirm(self, timeout_s: float) -> None:
        """As `close`, but others go on with it: nothing is ended or dropped."""
        ...

    def abandon(self) -> None:
        """In a child after a fork: all of it is the parent's."""
        ...


def opened(target: Target, spool: Spool | None) -> Delivery:
    """Raises `ValueError` for a URL or an option that makes no sense."""
    transport = connected(target)
    if spool is None:
        return Direct(transport)
    from cerebros_client.spooled import Spooled

    return Spooled(target, transport, spool.folder, spool.max_mib)
