"""Names that no trial has: said beside what was asked, with the one that was probably meant.

`acuracy is missing` holds every trial and `acuracy > 0.9` none: neither shows that the name is the mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from processor.core.errors import TransientError
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.indexed import show_path
from processor.dashboard.filters.text import called
from processor.dashboard.filters.tree import EVERYTHING, Path
from processor.dashboard.pages.views import Site
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.columns import known_runs
from processor.dashboard.queries.trials import MOST_KEYS, Key, newest_keys

#: names that are told, and characters of one that is compared with others: each costs a look at hundreds
MOST, LONGEST = 3, 100
#: how alike names are of which one was meant (of 1)
ALIKE = 0.7


async def unknown_names(site: Site, scope: Scope, keys: Sequence[Key], paths: Iterable[Path]) -> list[str]:
    """A sentence for each path whose name is in none of the trials that were looked at.

    `keys` are those of the filter's first trials; what they lack is looked for in the newest trials of the same runs,
    however few the filter holds. Empty where that takes too long: a hint is worth no wait.
    """
    asked = [path for path in dict.fromkeys(paths) if path.place not in COLUMNS]
    if not (asked := [path for path in asked if not _is_named(path, keys)]):
        return []
    whole = (await known_runs(site.pool, scope))[0]._replace(run_id=None, filter=EVERYTHING)
    try:
        found: list[Key] = await site.counts.get(("names", whole.runs), lambda: newest_keys(site.pool, whole))
    except TransientError:
        return []
    if not found or len(found) >= MOST_KEYS:  # there may be more names than were counted
        return []
    unknown = [path for path in asked if not _is_named(path, found)]
    return [_told(path, found) for path in unknown[:MOST]]


def _is_named(path: Path, keys: Iterable[Key]) -> bool:
    places = ("metrics", "parameters") if path.place == "either" else (path.place,)
    return any(key.place in places and _leads(path.keys, key) for key in keys)


def _leads(keys: tuple[str, ...], key: Key) -> bool:
    """Whether a path is that of a key, of what it stands in, or of what may stand in it."""
    return key.keys[: len(keys)] == keys or (key.nested > 0 and keys[: len(key.keys)] == key.keys)


def _told(path: Path, keys: Sequence[Key]) -> str:
    looked = keys[0].looked
    who = "no trial here has" if keys[0].in_all else f"none of the newest {looked:,} trials here has"
    meant = _meant(path, keys)
    return f"{who} {show_path(path)}" + (f": did you mean {meant}?" if meant else ".")


def _meant(path: Path, keys: Sequence[Key]) -> str | None:
    """The name that is most like it, as a filter writes it: of a column, or of a metric or parameter."""
    known = {key.name.lower(): key for key in reversed(keys) if len(key.name) <= LONGEST}
    name = called(path).lower()
    close = get_close_matches(name, [*known, *COLUMNS], 1, ALIKE) if len(name) <= LONGEST else []
    if not close:
        return None
    key = known.get(close[0])
    if key is None:
        return close[0]
    either = Path("either", key.keys)
    # without its place, unless a column of that name stands before it, or it is what was asked for of the other place
    return show_path(either if path.place in ("either", key.place) else key.path)
