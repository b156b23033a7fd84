"""Trees and trials for tests of filters, drawn by hypothesis from few values, so that they meet."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from processor.dashboard.filters.fields import COLUMNS, STATUSES
from processor.dashboard.filters.tree import Among, And, Compare, Contains, Is, Node, Not, Or, Path, Search

KEYS = ("a", "B b", 'c"c', "d.e", "0", "-1", "and", "é\\")
TEXTS = ("", "x", "Adam", "adaM w", "NaN", "Infinity", "5", "true", "50%_", "İ\N{SNOWMAN}'\"\\")
NUMBERS = ("0", "-0.0", "1", "0.1", "0.30000000000000004", "5", "-2.5e-7", "1e300", "12345678901234567890")
TIMES = tuple(datetime(2026, 11, day, 12, tzinfo=UTC) for day in (1, 2, 3))
ORDER = ("=", "!=", "<", "<=", ">", ">=")

numbers = st.sampled_from(NUMBERS).map(Decimal)
texts = st.sampled_from(TEXTS)
stored_numbers = st.sampled_from([0, 1, 5, -1, 0.1, 0.30000000000000004, -2.5e-7, 1e300, 2**70, Decimal("1e400")])
stored = st.recursive(
    st.none() | st.booleans() | texts | stored_numbers | st.sampled_from(["-Infinity", "Infinity", "NaN"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=4,
)
maps = st.dictionaries(st.sampled_from(KEYS), stored, max_size=4)
_OF_KIND = {
    "text": texts | st.none(),
    "texts": st.lists(texts, max_size=2),
    "number": st.sampled_from([0, 1, 5, 100, None]),
    "boolean": st.booleans(),
    "time": st.sampled_from(TIMES),
}
_REQUIRED: dict[str, Any] = {
    "run_id": st.sampled_from(("run-x", "Adam")),
    "trial_id": texts,
    "status": st.sampled_from(STATUSES),
    "revision": st.sampled_from([0, 1, 5]),
}
trials = st.fixed_dictionaries(
    {name: _REQUIRED.get(name, _OF_KIND[column.kind]) for name, column in COLUMNS.items()}
    | {"metrics": maps, "parameters": maps}
)

_inside = st.builds(
    Path,
    st.sampled_from(("metrics", "parameters", "either")),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple),
)


def _columns(*kinds: str) -> Any:
    return st.sampled_from([Path(name) for name, column in COLUMNS.items() if column.kind in kinds])


_texts = _columns("text").filter(lambda path: path.place != "status")
_leaves: Any = st.one_of(
    st.builds(Compare, _inside, st.sampled_from(ORDER), numbers),
    st.builds(Compare, _inside, st.sampled_from(ORDER[:2]), texts | st.booleans()),
    st.builds(Compare, _texts, st.sampled_from(ORDER[:2]), texts),
    st.builds(Compare, st.just(Path("status")), st.sampled_from(ORDER[:2]), st.sampled_from(STATUSES)),
    st.builds(Compare, _columns("number"), st.sampled_from(ORDER), numbers),
    st.builds(Compare, _columns("boolean"), st.sampled_from(ORDER[:2]), st.booleans()),
    st.builds(Compare, _columns("time"), st.sampled_from(ORDER), st.sampled_from(TIMES)),
    st.builds(Among, _inside, st.lists(numbers | texts | st.booleans(), min_size=1, max_size=3).map(tuple)),
    st.builds(Among, _texts, st.lists(texts, min_size=1, max_size=3).map(tuple)),
    st.builds(Contains, _inside | _columns("text", "texts"), texts),
    st.builds(Is, _inside, st.sampled_from(("missing", "finite", "nan", "empty"))),
    st.builds(Is, _columns("text", "texts"), st.sampled_from(("missing", "empty"))),
    st.builds(Is, _columns("number"), st.sampled_from(("missing", "finite", "nan"))),
    st.builds(Is, _columns("boolean", "time"), st.just("missing")),
    st.builds(Search, texts),
)
trees: st.SearchStrategy[Node] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
